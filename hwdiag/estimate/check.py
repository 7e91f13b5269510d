"""Is the estimator right here? Predicts nets from single operations alone, then measures them, and says how far off.

Calibration never sees a net. In each block every setting (threads and type) has fresh children: one that times half of
the single operations, one that runs all nets, and one for the other half, each in an order drawn anew. A net's error is
the median over blocks of what they predict over what was measured between them: drift of the machine meets both.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median

from hwdiag.core.errors import HwdiagError
from hwdiag.core.text import now, plural
from hwdiag.estimate.calibrate import USUAL_LLC, Timed, combined, time_grid, why_disturbed
from hwdiag.estimate.estimate import estimate_here
from hwdiag.estimate.model import Calibration, Checked, CheckRow, NetEstimate
from hwdiag.estimate.rates import Rates
from hwdiag.experiment.campaign import Progress
from hwdiag.experiment.net_count import Count, NetSpec, count_nets
from hwdiag.experiment.statistics import median_interval
from hwdiag.host.model import Host
from hwdiag.process.launch import Launch
from hwdiag.process.net_child import ask_once

BLOCKS = 3
SAMPLE_S = 0.5
TIMEOUT_S = 900.0
LEAST_QUIET = 2
"""Processes in which nobody disturbed, without which a net's time decides nothing."""

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


Times = dict[int, tuple[float, str]]
"""Of each net by its number: its median seconds in one child, and what disturbed that child."""


@dataclass(frozen=True)
class Block:
    """One net in one block: the time that the operations around it predict, and what was measured, in seconds."""

    predicted: float
    measured: float
    is_quiet: bool


def specs_of(dtype: str, nets: Sequence[tuple[str, dict[str, object]]] = NETS) -> list[NetSpec]:
    """These nets in one type."""
    return [NetSpec.model_validate({"net": net, "dtype": dtype, **more}) for net, more in nets]


def check(
    python: str,
    host: Host,
    *,
    threads: Sequence[int] | None = None,
    dtypes: Sequence[str] = ("float32", "bfloat16"),
    nets: Sequence[tuple[str, dict[str, object]]] = NETS,
    blocks: int = BLOCKS,
    seed: int = 1,
    progress: Progress = lambda text, share: None,
) -> tuple[Checked, tuple[Calibration, ...]]:
    """Calibrate, predict, measure, compare.

    Raises:
        HwdiagError: a child died, or a net could not be counted.
    """
    started = now()
    all_threads = max(1, len(host.usable_cores))
    wanted = list(dict.fromkeys(threads or (1, all_threads)))
    settings = [(dtype, n) for dtype in dtypes for n in wanted]
    progress("counting", 0)
    counts = {dtype: count_nets(python, specs_of(dtype, nets)) for dtype in dtypes}
    llc = host.cpu.llc_bytes or USUAL_LLC
    timed: dict[tuple[str, int], list[Timed]] = defaultdict(list)
    times: dict[tuple[str, int], list[Times]] = defaultdict(list)
    shuffle = random.Random(seed)
    for block in range(blocks):
        for i, (dtype, n) in enumerate(shuffle.sample(settings, len(settings))):
            said = f"block {block + 1} of {blocks}: {dtype}, {plural(n, 'thread')}"
            progress(said, (block + i / len(settings)) / blocks)
            found: Times = {}
            measure = partial(time_nets, python, dtype, n, nets, shuffle, found)
            drawn = shuffle.randrange(2**31)
            timed[dtype, n].append(time_grid(python, dtype, n, llc_bytes=llc, seed=drawn, between=measure))
            times[dtype, n].append(found)
    calibrations = {s: combined(*s, timed[s], llc_bytes=llc) for s in settings}
    rows = [
        found
        for dtype, n in settings
        for found in rows_of(counts[dtype], calibrations[dtype, n], timed[dtype, n], times[dtype, n])
    ]
    disturbed = [t.why for several in timed.values() for t in several if t.why]
    disturbed += [why for several in times.values() for found in several for _, why in found.values() if why]
    result = Checked(
        host=host.label,
        cpu=host.cpu.model or "unknown",
        started_at=started,
        rows=tuple(rows),
        quiet=not disturbed,
        why="; ".join(dict.fromkeys(disturbed))[:400],
    )
    return result, tuple(calibrations.values())


def time_nets(
    python: str,
    dtype: str,
    threads: int,
    nets: Sequence[tuple[str, dict[str, object]]],
    shuffle: random.Random,
    found: Times,
) -> None:
    """Measure each net in one fresh child, and add them to ``found``.

    Raises:
        HwdiagError: the child died, or a net failed.
    """
    specs = specs_of(dtype, nets)
    order = shuffle.sample(range(len(specs)), len(specs))
    wanted = [{**specs[i].model_dump(), "seconds": SAMPLE_S} for i in order]
    report = ask_once(python, "time_nets", wanted, timeout_s=TIMEOUT_S, launch=Launch(threads=threads))
    failed = next((e for e in report.events if e["event"] == "failed"), None)
    if failed is not None:
        raise HwdiagError(f"{failed['workload']} could not be measured: {failed['detail']}")
    if not report.outcome.ok:
        raise HwdiagError(f"measuring failed: {report.outcome.detail}")
    for event in report.events:
        if event["event"] == "done":
            found[order[event["index"]]] = median(event["found"]["samples"]), why_disturbed(report.disturbance)


def rows_of(
    counts: Sequence[Count], calibration: Calibration, timed: Sequence[Timed], times: Sequence[Times]
) -> Iterator[CheckRow]:
    """All nets under one setting: predicted from all blocks together, and from each beside what was measured in it."""
    dtype, n, llc = calibration.dtype, calibration.threads, calibration.llc_bytes
    each = [combined(dtype, n, [t], llc_bytes=llc) for t in timed]
    rates, *rates_of_blocks = [Rates(c) for c in (calibration, *each)]
    for i, count in enumerate(counts):
        blocks = [
            Block(estimate_here(count, c, "here", r).likely, found[i][0], is_quiet=c.quiet and not found[i][1])
            for c, r, found in zip(each, rates_of_blocks, times, strict=True)
        ]
        yield row(estimate_here(count, calibration, "here", rates), n, blocks)


def row(estimate: NetEstimate, threads: int, blocks: Sequence[Block]) -> CheckRow:
    """One net under one setting: what was predicted, what was measured."""
    quiet = [b for b in blocks if b.is_quiet]
    used = quiet or blocks
    return CheckRow(
        spec=estimate.spec,
        threads=threads,
        floor=estimate.floor,
        likely=estimate.likely,
        pessimistic=estimate.pessimistic,
        bound=estimate.bound,
        utilisation=estimate.utilisation,
        measured=median_interval([b.measured for b in used]),
        ratio=median_interval([b.predicted / b.measured for b in used]),
        decided=len(quiet) >= LEAST_QUIET,
    )
