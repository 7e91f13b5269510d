"""Check of the estimator on this host: it predicts nets from single operations alone, then measures them, and says how
far off it was.

Calibration never sees a net. In each block every setting (threads and type) has a turn: fresh children time half of the
single operations, then all nets, then the other half, each in an order drawn anew. A net's error is the median over
blocks of what they predict over what was measured between them: drift of the machine meets both.

What a turn measured is kept until all turns are done, so a check can be made in pieces of some minutes.
"""

from __future__ import annotations

import json
import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from statistics import median

from pydantic import ValidationError

from hwdiag.core.errors import HwdiagError
from hwdiag.core.outside import parse_json, read_file
from hwdiag.core.text import now, plural
from hwdiag.core.value import Value
from hwdiag.estimate.calibrate import (
    LARGEST,
    USUAL_LLC,
    Timed,
    combined,
    largest_operation,
    time_grid,
    why_disturbed,
)
from hwdiag.estimate.estimate import estimate_here
from hwdiag.estimate.model import Calibration, Checked, CheckRow, NetEstimate
from hwdiag.estimate.rates import Rates
from hwdiag.experiment.campaign import Progress
from hwdiag.experiment.net_count import Count, NetSpec, count_nets
from hwdiag.experiment.statistics import median_interval
from hwdiag.host.model import Host
from hwdiag.process.launch import Launch
from hwdiag.process.net_child import ask_each

BLOCKS = 3
SAMPLE_S = 0.5
NET_S = 120.0
"""For one net, building it included; one that takes longer is left out, and the others go on."""
LEAST_QUIET = 2
"""Processes in which nobody disturbed, without which a net's time decides nothing."""
MAX_BYTES = 2**26

NETS: tuple[tuple[str, dict[str, object]], ...] = (
    ("resnet18", {}),
    ("resnet50", {}),
    ("mobilenetv2", {}),
    ("deeplabv3-r50", {"side": 256}),
    ("vit-b", {}),
    ("vit-l", {}),
    ("convnext-t", {}),
    ("bert-base", {"tokens": 128}),
    ("bert-large", {"tokens": 128}),
    ("gpt2", {"tokens": 128}),
    ("gpt2", {"tokens": 128, "phase": "decode"}),
    ("gpt2", {"tokens": 128, "phase": "decode", "batch": 8}),
    ("whisper-base", {"tokens": 16}),
    ("tinyllama-1.1b", {"tokens": 128, "phase": "decode"}),
)
"""The nets that are checked: the two of the workbook, and those of the comparison that fit a small machine."""
OUTSIDE: tuple[tuple[str, dict[str, object]], ...] = (
    ("resnet101", {}),
    ("regnet-y-8g", {}),
    ("efficientnet-b0", {}),
    ("swin-t", {}),
    ("distilbert", {"tokens": 128}),
    ("t5-base", {"tokens": 64}),
    ("clip-vit-b32", {}),
    ("opt-125m", {"tokens": 128, "phase": "decode"}),
)
"""Nets with which nothing was ever improved: they say what to expect of others."""

Times = dict[int, tuple[float, str]]
"""Of each net by its number: its median seconds in one child, and what disturbed that child."""
Net = tuple[str, dict[str, object]]


class CheckedSetting(Value):
    """The measurements of one setting in one block."""

    block: int
    dtype: str
    threads: int
    operations: tuple[float | None, ...]
    why: str
    """What disturbed the single operations."""
    nets: Times
    lost: dict[int, str] = {}
    """Nets that gave no answer, and why."""

    @property
    def timed(self) -> Timed:
        """Return the single operations."""
        return Timed(self.operations, self.why)


@dataclass(frozen=True)
class PredictedAndMeasured:
    """One net in one block: the time that the operations around it predict, and what was measured, in seconds."""

    predicted: float
    measured: float
    is_quiet: bool


def specs_of(dtype: str, nets: Sequence[Net] = NETS) -> list[NetSpec]:
    """Return these nets in one type."""
    return [NetSpec.model_validate({"net": net, "dtype": dtype, **more}) for net, more in nets]


def check(
    python: str,
    host: Host,
    *,
    threads: Sequence[int] | None = None,
    dtypes: Sequence[str] = ("float32", "bfloat16"),
    nets: Sequence[Net] = (*NETS, *OUTSIDE),
    blocks: int = BLOCKS,
    seed: int = 1,
    minutes: float | None = None,
    kept: Path | None = None,
    progress: Progress = lambda text, share: None,
) -> tuple[Checked, tuple[Calibration, ...]]:
    """Calibrate, predict, measure, compare.

    After ``minutes`` no further turn begins, but one is always made; ``kept`` is the file in which what was measured
    waits for the next call.

    Raises:
        HwdiagError: no child could be started, or a net could not be counted.
    """
    started, begun = now(), time.monotonic()
    all_threads = max(1, len(host.usable_cores))
    wanted = list(dict.fromkeys(threads or (1, all_threads)))
    settings = [(dtype, n) for dtype in dtypes for n in wanted]
    llc = host.cpu.llc_bytes or USUAL_LLC
    features = host.cpu.isa.features if host.cpu.isa else ()
    largest = {(dtype, n): largest_operation(features, dtype, n) for dtype, n in settings}
    about = json.dumps([host.cpu.model, sorted(largest.items()), llc, [*map(str, nets)], blocks, seed, python])
    turns = read_measurements(kept, about)
    shuffle = random.Random(seed)
    order = [(block, *s) for block in range(blocks) for s in shuffle.sample(settings, len(settings))]
    done = {(t.block, t.dtype, t.threads) for t in turns}
    for i, (block, dtype, n) in enumerate(order):
        if (block, dtype, n) in done:
            continue
        if minutes is not None and len(turns) > len(done) and time.monotonic() - begun > 60 * minutes:
            break
        progress(f"block {block + 1} of {blocks}: {dtype}, {plural(n, 'thread')}", i / len(order))
        turns.append(one_turn(python, block, dtype, n, nets, seed + i, llc, largest[dtype, n]))
        write_measurements(kept, about, turns)
    rows: list[CheckRow] = []
    calibrations = []
    for dtype, n in settings:
        own = [t for t in turns if (t.dtype, t.threads) == (dtype, n)]
        if own:
            counts = count_nets(python, specs_of(dtype, nets))
            calibrations.append(combined(dtype, n, [t.timed for t in own], llc_bytes=llc, largest=largest[dtype, n]))
            rows += rows_of(counts, calibrations[-1], own, largest[dtype, n])
    left = len(order) - len(turns)
    if not left and kept is not None:
        kept.unlink(missing_ok=True)
    disturbed = [t.why for t in turns if t.why] + [why for t in turns for _, why in t.nets.values() if why]
    result = Checked(
        host=host.label,
        cpu=host.cpu.model or "unknown",
        started_at=started,
        rows=tuple(rows),
        quiet=not disturbed,
        why="; ".join(dict.fromkeys(disturbed))[:400],
        open=left,
        lost=tuple(dict.fromkeys(f"{nets[i][0]} ({why})" for t in turns for i, why in t.lost.items())),
    )
    return result, tuple(calibrations)


def one_turn(
    python: str, block: int, dtype: str, threads: int, nets: Sequence[Net], seed: int, llc: int, largest: float
) -> CheckedSetting:
    """Measure one setting once."""
    shuffle = random.Random(seed)
    found: Times = {}
    lost: dict[int, str] = {}
    measure = partial(time_nets, python, dtype, threads, nets, shuffle, found, lost)
    timed = time_grid(
        python, dtype, threads, llc_bytes=llc, seed=shuffle.randrange(2**31), between=measure, largest=largest
    )
    return CheckedSetting(
        block=block, dtype=dtype, threads=threads, operations=timed.seconds, why=timed.why, nets=found, lost=lost
    )


def time_nets(
    python: str,
    dtype: str,
    threads: int,
    nets: Sequence[Net],
    shuffle: random.Random,
    found: Times,
    lost: dict[int, str],
) -> None:
    """Measure each net within a time of its own, and add them to ``found``, or to ``lost`` with the reason.

    Raises:
        HwdiagError: no child could be started.
    """
    specs = specs_of(dtype, nets)
    order = shuffle.sample(range(len(specs)), len(specs))
    wanted = [{**specs[i].model_dump(), "seconds": SAMPLE_S} for i in order]
    report = ask_each(python, "time_nets", wanted, each_s=NET_S, launch=Launch(threads=threads))
    if not report.outcome.ok:
        raise HwdiagError(f"measuring failed: {report.outcome.detail}")
    why = why_disturbed(report.disturbance)
    for event in report.events:
        i = order[event["index"]]
        if event["event"] == "done":
            found[i] = median(event["found"]["samples"]), why
        else:
            lost[i] = event["detail"]


def kept_measurements(host: Host, chosen: str) -> Path:
    """Return where the turns of an unfinished check of these nets and types wait."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = sha256(f"{host.label}\n{chosen}".encode()).hexdigest()[:16]
    return base / "hwdiag" / "check" / f"{name}.json"


def read_measurements(path: Path | None, about: str) -> list[CheckedSetting]:
    """Return what an earlier call measured; nothing where the host, the nets or the operations are others now."""
    if path is None:
        return []
    try:
        values = parse_json(read_file(path, MAX_BYTES))
        return [CheckedSetting.model_validate(t) for t in values["turns"]] if values.get("about") == about else []
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ValidationError):
        return []


def write_measurements(path: Path | None, about: str, turns: Sequence[CheckedSetting]) -> None:
    """Keep what was measured so far; where nothing can be written, the next call begins anew."""
    if path is None:
        return
    text = json.dumps({"about": about, "turns": [t.model_dump(mode="json") for t in turns]})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, suffix=".new") as file:
            file.write(text)
        Path(file.name).replace(path)
    except OSError:
        return


def rows_of(
    counts: Sequence[Count], calibration: Calibration, turns: Sequence[CheckedSetting], largest: float = LARGEST
) -> Iterator[CheckRow]:
    """Yield all nets under one setting: predicted from all blocks together, and from each beside what was measured in
    it."""
    dtype, n, llc = calibration.dtype, calibration.threads, calibration.llc_bytes
    each = [combined(dtype, n, [t.timed], llc_bytes=llc, largest=largest) for t in turns]
    rates, *rates_of_blocks = [Rates(c) for c in (calibration, *each)]
    for i, count in enumerate(counts):
        blocks = [
            PredictedAndMeasured(
                estimate_here(count, c, "here", r).likely, t.nets[i][0], is_quiet=c.quiet and not t.nets[i][1]
            )
            for c, r, t in zip(each, rates_of_blocks, turns, strict=True)
            if i in t.nets
        ]
        if blocks:
            yield row(estimate_here(count, calibration, "here", rates), n, blocks)


def row(estimate: NetEstimate, threads: int, blocks: Sequence[PredictedAndMeasured]) -> CheckRow:
    """Return the row of one net under one setting: its predicted and its measured time."""
    quiet = [b for b in blocks if b.is_quiet]
    used = quiet or blocks
    return CheckRow(
        spec=estimate.spec,
        threads=threads,
        held_out=estimate.spec.net in {net for net, _ in OUTSIDE},
        floor=estimate.floor,
        likely=estimate.likely,
        pessimistic=estimate.pessimistic,
        bound=estimate.bound,
        utilisation=estimate.utilisation,
        measured=median_interval([b.measured for b in used]),
        ratio=median_interval([b.predicted / b.measured for b in used]),
        decided=len(quiet) >= LEAST_QUIET,
    )
