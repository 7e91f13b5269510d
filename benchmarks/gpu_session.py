"""One session on a GPU, prepared: what ``benchmarks/gpu_session.sh`` runs. It ends with an archive and a table.

Each step has a time limit, writes what it printed into the folder, and cannot end the others. ``--rehearse`` takes
small sizes and leaves out what only a real GPU has to show: with it the session runs on a simulated device.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from hwdiag.core.text import now
from hwdiag.devices.kernels import precision, product
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
NEAR = 0.03
"""Of the time by events: the target of copies and products."""
LEAST_S = 5
SECONDS = 580
"""For all of it; a step that would go beyond is left out, and the table says so."""
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
        return min(most, SECONDS - (time.monotonic() - self.begun))

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
    session.rows.append(Row("CUDA_VISIBLE_DEVICES= hides it, and that is said", wrong or text.strip()[:90], right))


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


def outcomes(session: Session, name: str, text: str) -> None:
    """Say of a study which outcomes are not ok, and whether each has its reason."""
    try:
        study = json.loads(text)
        measured = study["studies"]["devices"]["measurements"]
    except (ValueError, KeyError, TypeError):
        session.rows.append(Row(f"{name} can be read", "it printed no study", False))
        return
    failed = {m["workload"]: m["outcome"] for m in measured if m["outcome"]["kind"] != "ok"}
    (session.folder / f"{name}-failed.json").write_text(json.dumps(failed, indent=1))
    bare = [w for w, outcome in failed.items() if not outcome["detail"]]
    wrong = [w for w, outcome in failed.items() if outcome["kind"] == "wrong-result"]
    found = f"{len(measured)} measurements, {len(failed)} workloads failed; wrong: {', '.join(wrong) or 'none'}"
    session.rows.append(Row(f"{name}: no outcome without its reason, no wrong result", found, not bare and not wrong))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the session and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", default=sys.executable, help="interpreter whose torch is measured")
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--out", help="a folder that is not there yet")
    parser.add_argument("--rehearse", action="store_true")
    session = Session(parser.parse_args(argv))
    session.ran("snapshot", [*HWDIAG, "snapshot", str(session.folder / "host.tar.gz")], 60)
    kernels(session)
    for step in (assertion, sustained) if session.given.rehearse else (assertion, hidden, sustained):
        try:
            step(session)
        except Exception as error:  # one step costs no other
            session.rows.append(Row(step.__name__, f"{type(error).__name__}: {error}"[:90], False))
    for budget, most_s, minutes in () if session.given.rehearse else (("quick", 150, "0.3"), ("standard", 300, "0.3")):
        name = f"devices-{budget}"
        chosen = ["--budget", budget, "--minutes", minutes, "--python", session.given.python]
        outcomes(session, name, session.ran(name, [*HWDIAG, "devices", *chosen, "--json"], most_s))
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
