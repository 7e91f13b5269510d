"""One session on a GPU, prepared: what ``benchmarks/gpu_session.sh`` runs. It ends with an archive and a table.

Each step has a time limit, writes what it printed into the folder, and cannot end the others. ``--rehearse`` takes
small sizes, so that the same steps run on a simulated device, whose values a CPU computes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from hwdiag.api import load_record
from hwdiag.core.text import listed, now
from hwdiag.devices.kernels import precision, product
from hwdiag.devices.model import Study
from hwdiag.experiment.interleaved import Candidate, InterleavedBlock, Turn
from hwdiag.experiment.model import Workload
from hwdiag.experiment.workloads import conv2d, exact_conv2d, memory_workloads
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.process.launch import Launch
from hwdiag.report.table import Table
from hwdiag.tune.user_workloads import file_workload

HERE = Path(__file__).parent
HWDIAG = [sys.executable, "-m", "hwdiag"]
SMALL = [sys.executable, "-m", "benchmarks.gpu_session_small"]
NEAR = 0.03
"""Of the time by events: the target of copies and products."""
LEAST_S = 5
SECONDS = 580
"""For all of it; a step that would go beyond is left out, and the table says so."""
BUDGETS = {"quick": 0.35, "standard": 1.0}
"""Of ``hwdiag devices``, with the most of the time for each: the last one has all that is left."""
ASSERTS = """
import torch

def build():
    table, rows = torch.randn(4, 4, device="{device}"), torch.tensor([7]).to("{device}")
    return lambda: torch.nn.functional.embedding(rows, table)
"""
OWN = """
import torch

def build():
    a = torch.randn({n}, {n}, device="{device}")
    return lambda: torch.mm(a, a)
"""


@dataclass(frozen=True)
class Row:
    """One line of the table; ``reached`` is None where it could not be seen."""

    target: str
    found: str
    reached: bool | None


class Session:
    """The folder and the clock that all steps share."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.begun = given, time.monotonic()
        self.folder = Path(given.out or f"outputs/gpu-session-{now().replace(':', '').replace('-', '')}").absolute()
        self.folder.mkdir(parents=True)
        self.rows: list[Row] = []

    def left_s(self, most: float) -> float:
        return min(most, float(self.given.seconds) - (time.monotonic() - self.begun))

    def run(self, name: str, command: Sequence[str], most_s: float, **env: str) -> tuple[str, str]:
        """Run a command for so long at most; return what went wrong with it, empty where nothing did, and its output so
        far."""
        limit_s = self.left_s(most_s)
        if limit_s < LEAST_S:
            return "the time was up", ""
        print(f"{name} ...", flush=True)
        log, errors = self.folder / f"{name}.txt", self.folder / f"{name}.err"
        with log.open("w") as out, errors.open("w") as err:
            try:
                done = subprocess.run(
                    [*command], stdout=out, stderr=err, stdin=subprocess.DEVNULL, timeout=limit_s, check=False,
                    env={**os.environ, **env},
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                return f"it took longer than {limit_s:.0f} s", log.read_text(errors="replace")
        wrong = f"status {done.returncode}, see {errors.name}" if done.returncode else ""
        return wrong, log.read_text(errors="replace")

    def ran(self, name: str, command: Sequence[str], most_s: float, **env: str) -> str:
        """Run a command that must end well, as a row of its own; return its output."""
        wrong, text = self.run(name, command, most_s, **env)
        self.rows.append(Row(f"{name} ends well", wrong or "yes", not wrong))
        return text


def workloads(session: Session) -> list[Workload]:
    """Return the kernels that are timed in several ways."""
    host, small = read_host(Root.live()), session.given.rehearse
    copy, triad = memory_workloads(host)
    elements = 20_000 if small else 2**26
    n = 128 if small else 8192
    arrays = [
        w.model_copy(update={"size": {"elements": elements}, "bytes": w.bytes / w.size["elements"] * elements})
        for w in (copy, triad)
    ]
    convolutions = [conv2d(), exact_conv2d()]
    if small:
        convolutions = [w.model_copy(update={"size": {**w.size, "batch": 2, "side": 32}}) for w in convolutions]
    named = [precision(name, n) for name in ("fp32", "tf32", "bf16", "int8")]
    return [*arrays, *named, *convolutions, file_workload(own_file(session, "own", OWN, n=256 if small else 4096))]


def own_file(session: Session, name: str, text: str, **values: Any) -> Path:
    path = session.folder / f"{name}.py"
    path.write_text(text.format(device=session.given.device, **values))
    return path


def kernels(session: Session) -> None:
    """Compare the agent's figures with events and do_bench, in one process."""
    told = session.folder / "workloads.json"
    told.write_text(json.dumps([w.model_dump() for w in workloads(session)]))
    inside = [session.given.python, str(HERE / "gpu_session_inside.py"), session.given.device, str(told)]
    text = session.ran("kernels", inside, 120)
    for line in text.splitlines():
        if line.startswith("{"):
            session.rows += rows_of(json.loads(line))


def rows_of(found: dict[str, Any]) -> Iterator[Row]:
    """Yield what follows from one kernel's figures."""
    name = found["name"]
    if "failed" in found:
        yield Row(f"{name} runs", found["failed"][:90], False)
        return
    ratio = found["wall_s"] / found["events_s"]
    yield Row(f"{name} within {NEAR:.0%} of events", f"{ratio - 1:+.2%}", abs(ratio - 1) <= NEAR)
    if found["warm_s"]:
        off = median(found["warm_s"]) / found["events_s"] - 1
        yield Row(f"{name}, held queue, within {NEAR:.0%} of events", f"{off:+.2%}", abs(off) <= NEAR)
    if found["cold_s"] and found["do_bench_s"]:
        off = median(found["cold_s"]) / found["do_bench_s"] - 1
        yield Row(f"{name}, cold cache, within 5% of do_bench", f"{off:+.2%}", abs(off) <= 0.05)
    if found["max_error"] is not None:
        right = found["max_error"] <= found["tolerance"]
        yield Row(f"{name} within its tolerance", f"{found['max_error']:.1e} of {found['tolerance']:.1e}", right)
    yield Row(f"{name} leaves the flags as they were", ", ".join(found["changed"]) or "yes", not found["changed"])


def assertion(session: Session) -> None:
    """Let a kernel's assertion end one of three workloads, and see that it costs no other."""
    asserts = file_workload(own_file(session, "asserts", ASSERTS))
    todo = [product(128), asserts, product(256)]
    candidate = Candidate(Launch(), todo, check=True)
    turn = Turn(warmup_s=0.0, window_s=0.01, windows=1, min_samples=1)
    block = InterleavedBlock(session.given.python, turn, timeout_s=max(10.0, session.left_s(60)))
    block.run([candidate], device=session.given.device, seed=1)
    kinds = {name: r.outcome.kind for name, r in candidate.results.items()}
    right = [name for name, kind in kinds.items() if kind != "ok"] == [asserts.name]
    said = "; ".join(f"{name}: {kind}" for name, kind in kinds.items())
    session.rows.append(Row("an assertion in a kernel costs one workload", said, right))


def hidden(session: Session) -> None:
    """Ask what torch sees where a variable hides all GPUs: none, and the reason names the variable."""
    command = [
        sys.executable, "-c",
        "import sys; from hwdiag.devices.discovery import find; from hwdiag.host.read import read_host;"
        "from hwdiag.host.root import Root; f = find(sys.argv[1], read_host(Root.live()), 60);"
        "print([d.name for d in f[1]], '; '.join(a.why for a in f[2]))",
        session.given.python,
    ]  # fmt: skip
    wrong, text = session.run("hidden", command, 60, CUDA_VISIBLE_DEVICES="")
    right = not wrong and "['cpu']" in text and "CUDA_VISIBLE_DEVICES is empty" in text
    found = None if session.given.rehearse and not wrong else right  # the variable hides no simulated device
    session.rows.append(Row("CUDA_VISIBLE_DEVICES= hides it, and that is said", wrong or text.strip()[:90], found))


def sustained(session: Session) -> None:
    """Watch the machine while a product goes on, and compare what both say of the clock."""
    seconds = 2 if session.given.rehearse else 12
    monitor = subprocess.Popen(
        [*HWDIAG, "monitor", "--hz", "5", "--seconds", str(seconds + 8), "--out", str(session.folder / "monitor")],
        stdout=(session.folder / "monitor.txt").open("w"), stderr=subprocess.STDOUT,
    )  # fmt: skip
    workload = precision("bf16", 128 if session.given.rehearse else 8192)
    candidate = Candidate(Launch(), [workload], check=False)
    turn = Turn(warmup_s=0.0, window_s=0.0, windows=0, min_samples=1, sustain_s=seconds)
    found = InterleavedBlock(session.given.python, turn, timeout_s=60).run(
        [candidate], device=session.given.device, seed=1
    )
    monitor.wait(timeout=seconds + 60)
    points = candidate.results[workload.name].sustained
    told = {"points": points, "gpus": [g.model_dump() for g in found.gpus]}
    (session.folder / "sustained.json").write_text(json.dumps(told))
    reasons = "; ".join(f"{g.mhz} MHz, {g.watts} W, {', '.join(g.reasons) or 'no reason'}" for g in found.gpus)
    fell = f"{points[0][1] / points[-1][1]:.0%} of the rate at the start; {reasons}" if points else "nothing"
    told_why = bool(points) and (bool(found.gpus) or None)
    session.rows.append(Row("burst and sustained, with the clock's reasons", fell, told_why))


def devices(session: Session, budget: str) -> None:
    """Let hwdiag compare the devices, and say which outcomes are not ok, and whether each has its reason."""
    name, small = f"devices-{budget}", session.given.rehearse
    home = session.folder / name
    home.mkdir()
    options = ["--budget", budget, "--minutes", "0.05" if small else "0.3", "--python", session.given.python]
    most_s = BUDGETS[budget] * session.given.seconds
    session.ran(name, [*(SMALL if small else HWDIAG), "devices", *options], most_s, HWDIAG_HOME=str(home))
    records = [*home.glob("outputs/*/*/record.json")]
    if not records:
        session.rows.append(Row(f"{name} writes its record", "it wrote none", False))
        return
    study = load_record(records[0]).study("devices", Study)
    assert study is not None
    failed = {f"{m.workload} under {m.plan} on {m.device}": m.outcome for m in study.measurements if not m.outcome.ok}
    (session.folder / f"{name}-failed.json").write_text(json.dumps({k: o.model_dump() for k, o in failed.items()}))
    session.rows += rows_of_study(name, study, session.given.device)


def rows_of_study(name: str, study: Study, device: str) -> Iterator[Row]:
    """Yield what follows from a comparison of the devices."""
    failed = [m for m in study.measurements if not m.outcome.ok]
    bare = [m for m in failed if not m.outcome.detail]
    wrong = sorted({m.workload for m in failed if m.outcome.kind == "wrong-result"})
    found = f"{len(study.measurements)} measurements, {len(failed)} failed; wrong: {', '.join(wrong) or 'none'}"
    yield Row(f"{name}: no outcome without its reason, no wrong result", found, not bare and not wrong)
    seen = {m.device for m in study.measurements if m.outcome.ok}
    yield Row(f"{name} measures {device}", listed(sorted(seen)) or "nothing", device in seen)
    for s in (s for s in study.sustained if s.device == device):
        share = f"{s.burst_s / s.sustained_s:.0%} of the rate at the start" if s.points else s.outcome.detail
        yield Row(f"{name}: burst and sustained", share, bool(s.points))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the session and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="interpreter whose torch is measured")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--out", help="a folder that is not there yet")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for all of it (%(default)g)")
    parser.add_argument("--rehearse", action="store_true", help="small sizes, for a simulated device")
    session = Session(parser.parse_args(argv))
    steps: list[tuple[str, Callable[[], object]]] = [
        ("snapshot", lambda: session.ran("snapshot", [*HWDIAG, "snapshot", str(session.folder / "host.tar.gz")], 60)),
        *((step.__name__, partial(step, session)) for step in (kernels, assertion, hidden, sustained)),
        *((f"devices {budget}", partial(devices, session, budget)) for budget in BUDGETS),
    ]
    for name, step in steps:
        try:
            step()
        except Exception as error:  # one step costs no other
            session.rows.append(Row(name, f"{type(error).__name__}: {error}"[:90], False))
    seen = {True: "yes", False: "NO", None: "not seen"}
    rows = [(row.target, row.found, seen[row.reached]) for row in session.rows]
    took_s = time.monotonic() - session.begun
    table = Table(f"{session.given.device}, {took_s:.0f} s", ("Target", "Found", "Reached"), rows).to_text()
    (session.folder / "table.txt").write_text(table)
    archive = session.folder.with_suffix(".tar.gz")
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(session.folder, arcname=session.folder.name)
    print(table)
    print(f"archive: {archive}")


if __name__ == "__main__":
    main()
