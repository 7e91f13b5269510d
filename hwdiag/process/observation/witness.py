"""Witness inside a command's Python processes: it is put there, and what it left is read.

All that is read was written by processes of the person's: it is bounded in size and number, and validated.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any

import numpy as np
from pydantic import ValidationError

from hwdiag.core.errors import HwdiagError, UsageError
from hwdiag.core.outside import parse_json, read_file
from hwdiag.core.value import Value
from hwdiag.process.agent import MAIN
from hwdiag.process.observation.inside_model import INPUT, InsideReport, Loader, Subnormal, ThreadActivity
from hwdiag.process.observation.rates import reached_rates
from hwdiag.process.observation.repeated import repeated
from hwdiag.process.trace import MEMORY_POINTS, AllocatedMemory, analyse, cut_trace, read_trace

CODE = MAIN.with_name("witness")
RECORD_FILE = CODE / "record_file.py"
"""Records what ``build()`` of a file gives."""
TASK = "HWDIAG_WITNESS"
PACKAGE = "_hwdiag_witness"
MOST_REPORTS = 64
MOST_REPORT_BYTES = 2 << 20
MOST_TRACES = 4
"""Traces that are read of one program, the largest first: the ranks of a training are alike."""
MOST_TRACE_BYTES = 256 << 20
MOST_EVENTS = 400_000
RESAMPLES = 1000
WAY = ("model", "backward", "optimizer")
"""Kinds that say that a thread is the one that trains."""


class TraceRecording(Value):
    """The options of torch's profiler for what is recorded."""

    seconds: float = 4.0
    """From the first operations on."""
    patience: float = 15.0
    """So many times the seconds are recorded while hardly any operations follow: a model is read, data are prepared."""
    after: float = 0.0
    """Seconds from the import of torch to the beginning."""
    growth: int = 16 << 20
    """Bytes by which a process may grow while it is recorded, from 0.3 s after the first operations on. An event takes
    half a KiB while it is recorded, and writing one takes 10 µs, for which the program stands still."""
    memory: bool = False
    """Whether each allocation is an event. The profiler cannot do that and record all threads."""
    all_threads: bool = True
    events: int = MOST_EVENTS


class Witness:
    """A witness that is put into a command's Python processes. Use it in a ``with`` statement."""

    def __init__(
        self,
        recording: TraceRecording | None = TraceRecording(),  # noqa: B008  (frozen)
        *,
        rate: float = 50.0,
        objects: bool = True,
        folder: Path | None = None,
    ) -> None:
        """Prepare it.

        Args:
            recording: None: no profiler.
            rate: looks at the stacks a second; 0 is none.
            objects: whether live objects are looked at.
            folder: where traces and reports go and stay; None: to a temporary folder.

        Raises:
            HwdiagError: nothing can be written to the temporary folder.
        """
        try:
            self._place = tempfile.TemporaryDirectory(prefix="hwdiag-inside-", ignore_cleanup_errors=True)
            place = Path(self._place.name)
            place.chmod(0o755)
            shutil.copy(CODE / "entry.py", place / "sitecustomize.py")
            shutil.copytree(CODE, place / PACKAGE, ignore=shutil.ignore_patterns("__pycache__", "entry.py"))
            self.folder = folder or place / "told"
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise HwdiagError(f"cannot write to {tempfile.gettempdir()}: {error.strerror}") from None
        self.recording = recording
        self.task = {
            "folder": str(self.folder.resolve()),
            "record": None if recording is None else recording.model_dump(),
            "sample": {"rate": rate} if rate else None,
            "look": {"most": 1_000_000} if objects else None,
        }

    def __enter__(self) -> Witness:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._place.cleanup()

    @property
    def variables(self) -> Mapping[str, str]:
        """Return the variables that put it into each Python process of a command."""
        path = os.pathsep.join(filter(None, (self._place.name, os.environ.get("PYTHONPATH"))))
        return {**self.own_variables, "PYTHONPATH": path}

    @property
    def own_variables(self) -> Mapping[str, str]:
        """Return the witness's own variables, without those that put it into a process."""
        return {TASK: json.dumps(self.task), "KINETO_LOG_LEVEL": "99"}  # or the profiler's messages are printed

    def collect(self, is_over: Callable[[], bool] = lambda: False) -> tuple[tuple[InsideReport, ...], str]:
        """Return what each process left, those that imported torch first, and why there is nothing.

        ``is_over``: whether the person has asked for the end; nothing more is measured then.
        """
        reports = self.reports()
        if self.recording is not None:
            reports = tuple(measured(with_traces(reports, self.folder, self.recording.events), is_over))
        return reports, "" if any(r.torch for r in reports) else why_nothing(reports)

    def reports(self) -> tuple[InsideReport, ...]:
        """Return what each process left, without its trace; takes the reports away, and leaves the traces."""
        reports = read_reports(self.folder)
        for path in (*self.folder.glob("hwdiag_*.report.json*"), *self.folder.glob("hwdiag_*.started")):
            with contextlib.suppress(OSError):
                path.unlink()
        return reports


def measured(reports: Sequence[InsideReport], is_over: Callable[[], bool]) -> Iterator[InsideReport]:
    """Yield the reports with what some of their operations take by themselves; of ranks, which are alike, of one."""
    busiest = max((r for r in reports if r.traced), key=work, default=None)
    for r in reports:
        if r.traced is None or is_over():
            yield r
            continue
        rates = reached_rates(r, is_over) if r is busiest else None
        yield r.model_copy(update={"repeated": repeated(r, is_over), "rates": rates})


def work(report: InsideReport) -> float:
    """Return the seconds in recorded operations."""
    return sum(o.cpu_s for o in report.traced.operations) if report.traced else 0.0


def why_nothing(reports: Sequence[InsideReport]) -> str:
    """Return why no process was seen from inside."""
    if not reports:
        return "it started no Python that reads PYTHONPATH (one with -I, -E or -S does not)"
    return "none of its Python processes imported torch"


# What was left


def read_reports(folder: Path) -> tuple[InsideReport, ...]:
    """Return the reports in a folder; what is no report is left out."""
    found: dict[str, InsideReport] = {}
    for path in sorted(folder.glob("hwdiag_*.report.json"))[:MOST_REPORTS]:
        with contextlib.suppress(OSError, ValueError, UsageError, RecursionError):
            told = parse_json(read_file(path, MOST_REPORT_BYTES), infinite=True)
            name = path.name.replace(".report.json", ".pt.trace.json")
            found[path.name] = report(told, name)
    known = {r.pid for r in found.values()}
    for path in sorted(folder.glob("hwdiag_*.started"))[: MOST_REPORTS - len(found)]:
        with contextlib.suppress(OSError, ValueError):
            pid = int(path.name[len("hwdiag_") :].split(".")[0])
            words = read_file(path, MOST_REPORT_BYTES).decode(errors="replace")[:10_000].split("\0")
            if pid not in known:
                found[path.name] = InsideReport(pid=pid, command=tuple(words), state="started")
    return tuple(sorted(found.values(), key=lambda r: (not r.torch, r.pid)))


def report(told: Any, trace: str) -> InsideReport:
    """Return the report that a process wrote.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(told, dict):
        raise ValueError("no report")
    facts = plain(told.get("facts")) if isinstance(told.get("facts"), dict) else {}
    distributed = plain(told["group"]) if isinstance(told.get("group"), dict) else {}
    growth: dict[str, Any] = told["growth"] if isinstance(told.get("growth"), dict) else {}
    try:
        return InsideReport(
            pid=told["pid"],
            command=tuple(str(word)[:1000] for word in list(told.get("argv") or ())[:40]),
            state=str(told.get("state", ""))[:20],
            why=str(told.get("why", ""))[:100],
            error=str(told.get("error", ""))[:500],
            torch=str(told.get("torch", ""))[:60],
            python=str(told.get("python") or "")[:1000],
            seconds=told.get("at_s", 0.0),
            ended=bool(told.get("ended")),
            facts=facts,
            loaders=tuple(Loader(**one) for one in list(told.get("loaders") or ())[:8]),
            activities=activities(told.get("threads")),
            growth=pairs(growth.get("looks")),
            subnormal=subnormal(growth),
            memory=memory(told.get("memory")),
            trace=trace,
            all_threads=told.get("all_threads"),
            not_all=str(told.get("not_all", ""))[:300],
            written_s=told.get("written_s"),
            cost_s=told.get("cost_s", 0.0),
            rank=distributed.get("rank"),
            world=distributed.get("world"),
            steps=told.get("steps"),
            loop_s=told.get("loop_s", 0.0),
        )
    except (ValidationError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(str(error)) from None


def plain(facts: Any, depth: int = 3) -> Any:
    """Return facts of bounded size: numbers, short texts, and short lists and dictionaries of them."""
    if isinstance(facts, dict):
        return {str(k)[:160]: plain(v, depth - 1) for k, v in list(facts.items())[:40]} if depth else {}
    if isinstance(facts, list):
        return [plain(v, depth - 1) for v in facts[:40]] if depth else []
    if isinstance(facts, float) and not math.isfinite(facts):
        return None
    return facts if isinstance(facts, bool | int | float) or facts is None else str(facts)[:300]


def activities(told: Any) -> tuple[ThreadActivity, ...]:
    """Return what the threads were seen doing: the one that trains most first, else the one whose loop is longest."""
    found = [activity(one) for one in list(told or ())[:8] if isinstance(one, dict)]
    return tuple(sorted(found, key=lambda a: (-sum(a.shares.get(k, 0.0) for k in WAY) * a.seconds, -a.seconds)))


def activity(told: Mapping[str, Any]) -> ThreadActivity:
    """Return what one thread was seen doing."""
    blocks = [(int(count), kinds_of(kinds)) for count, kinds in list(told.get("blocks") or ())[:1000]]
    total: dict[str, float] = {}
    for _, kinds in blocks:
        for kind, seconds in kinds.items():
            total[kind] = total.get(kind, 0.0) + seconds
    length = sum(total.values())
    low, high = interval([kinds for _, kinds in blocks])
    places = list(told.get("places") or ())[:20]
    seen = sum(kinds_of(told.get("before")).values()) + length + sum(kinds_of(told.get("after")).values())
    return ThreadActivity(
        thread=str(told.get("thread", ""))[:60],
        looks=sum(count for count, _ in blocks),
        seconds=length,
        shares={kind: seconds / length for kind, seconds in total.items()} if length else {},
        low=low,
        high=high,
        before=kinds_of(told.get("before")),
        places={str(name)[:160]: float(s) / seen for name, s in places} if seen else {},
    )


def kinds_of(told: Any) -> dict[str, float]:
    """Return seconds by kind."""
    return {str(k)[:160]: max(0.0, float(v)) for k, v in list((told or {}).items())[:60]}


def interval(blocks: Sequence[Mapping[str, float]]) -> tuple[float, float]:
    """Return the 95 % interval of the share of input, by resampling blocks of about a second (Efron & Tibshirani 1993).

    0 and 1, which is no knowledge, of fewer than three seconds' worth.
    """
    each = max(1, math.ceil(len(blocks) / 60)) if len(blocks) > 60 else 1
    joined = [blocks[i : i + each] for i in range(0, len(blocks), each)]
    inputs = np.array([sum(s for b in some for k, s in b.items() if k.startswith(INPUT)) for some in joined])
    whole = np.array([sum(sum(b.values()) for b in some) for some in joined])
    if len(joined) < 3 or whole.sum() <= 0:
        return 0.0, 1.0
    chosen = np.random.default_rng(0).integers(0, len(joined), size=(RESAMPLES, len(joined)))
    lengths = whole[chosen].sum(1)
    low, high = np.quantile(inputs[chosen].sum(1) / np.maximum(lengths, 1e-9), [0.025, 0.975])
    return float(low), float(min(1.0, high))


def pairs(looks: Any) -> dict[str, Any]:
    """Return an earlier and a later value of what was counted: medians of the first and the last half of the looks."""
    seen = [look for look in list(looks or ())[:20] if isinstance(look, dict)]
    if len(seen) < 2:
        return {}
    half = len(seen) // 2
    names = {"graph_nodes": "graph_nodes", "tensors": "live_tensors", "tensor_bytes": "tensor_bytes"}
    names["objects"] = "python_objects"
    return {
        name: [median(float(s[key]) for s in seen[:half]), median(float(s[key]) for s in seen[-half:])]
        for key, name in names.items()
    }


def subnormal(growth: Mapping[str, Any]) -> Subnormal | None:
    """Return how many of the sampled values are subnormal; None where nothing was sampled."""
    seen = growth.get("subnormal")
    if not isinstance(seen, dict):
        return None
    counts = {name: (int(v["subnormal"]), int(v["looked_at"])) for name, v in seen.items()}
    shares = {name: small / of if of else None for name, (small, of) in counts.items()}
    return Subnormal(
        parameters=shares.get("parameters"),
        others=shares.get("others"),
        looked_at=sum(of for _, of in counts.values()),
        examples={str(k)[:160]: float(v) for k, v in list((growth.get("examples") or {}).items())[:12]},
    )


def memory(told: Any) -> tuple[AllocatedMemory, ...]:
    """Return the memory over time of the process, and of what torch has on GPUs."""
    points = [(float(at), sizes) for at, sizes in list(told or ())[:MEMORY_POINTS] if isinstance(sizes, dict)]
    devices = list(dict.fromkeys(str(name)[:20] for _, sizes in points for name in sizes))[:17]
    found = {d: [(at, int(sizes[d])) for at, sizes in points if d in sizes] for d in devices}
    return tuple(
        AllocatedMemory(
            device=device,
            peak_bytes=max(size for _, size in line),
            seconds=tuple(at for at, _ in line),
            bytes=tuple(size for _, size in line),
        )
        for device, line in found.items()
    )


def with_traces(reports: Sequence[InsideReport], folder: Path, events: int) -> tuple[InsideReport, ...]:
    """Return the reports with what their traces say; of many traces the largest are read."""
    sizes = {
        r.trace: size for r in reports if r.trace and r.state == "written" and (size := bytes_of(folder / r.trace))
    }
    chosen = sorted(sizes, key=lambda name: -sizes[name])[:MOST_TRACES]
    return tuple(traced(r, folder / r.trace, events) if r.trace in chosen else r for r in reports)


def traced(report: InsideReport, path: Path, events: int) -> InsideReport:
    """Return the report with what its trace says, or why that cannot be read."""
    try:
        trace, _ = cut_trace(read_trace(path, MOST_TRACE_BYTES), events)
        return report.model_copy(update={"traced": analyse(trace, from_first=True, after_s=report.loop_s)})
    except (UsageError, KeyError, TypeError, ValueError, RecursionError) as error:
        return report.model_copy(update={"error": str(error)[:300]})


def bytes_of(path: Path) -> int:
    """Return a file's size; 0 where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0
