"""What is each technique worth? Each against the default, in turns; what looks good is measured again, afresh."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence

from hwdiag.devices.model import HOPE, Device, Gain
from hwdiag.devices.techniques import TECHNIQUES, Technique
from hwdiag.measure.campaign import Campaign
from hwdiag.measure.compare import Pairing, compared, pair
from hwdiag.measure.launch import Launch
from hwdiag.measure.model import BASELINE, Measurement, Outcome, Phase, Workload
from hwdiag.measure.stats import ALPHA, MIN_PAIRS, faster_p, geometric_mean, holm
from hwdiag.measure.tune import GRACE_SHARE

DEFAULT = Launch(name=BASELINE)
MOST_HOPES = 3
"""Techniques on one workload that are measured again: the more there are, the more pairs each needs."""

Todo = dict[str, list[str]]
"""Workloads of each technique."""


def measure_gains(
    campaign: Campaign,
    device: Device,
    workloads: Sequence[Workload],
    *,
    rounds: int,
    slow_rounds: int,
    slow_on: int,
    techniques: Sequence[Technique] = TECHNIQUES,
) -> set[tuple[str, str]]:
    """Measure on this device. Gives the pairs of technique and workload that were planned to be decided.

    What compiles first is tried on the first ``slow_on`` workloads alone, in ``slow_rounds`` blocks in place of
    ``rounds``.
    """
    todo: Todo = {t.name: names for t in techniques if (names := [w.name for w in workloads if t.applies(w, device)])}
    by_name = {t.name: t for t in techniques}
    quick = {name: of for name, of in todo.items() if not by_name[name].slow_start}
    slow = {name: of for name, of in todo.items() if by_name[name].slow_start}
    planned: set[tuple[str, str]] = set()
    for share, times, on in ((quick, rounds, workloads), (slow, slow_rounds, workloads[:slow_on])):
        took, runs = 0.0, 0
        for workload in on:  # one at a time, so that a process's peak of memory is this workload's
            mine = {name: [workload.name] for name, of in share.items() if workload.name in of}
            for _ in range(times):
                took += run(campaign, by_name, [workload], device, mine, "screen")
                runs += 1 + len(mine)
        hopes = hopeful(campaign.measurements, by_name, share, device.name)
        planned |= confirm(campaign, by_name, workloads, device, hopes, took / max(1, runs))
    return planned


def confirm(
    campaign: Campaign,
    by_name: dict[str, Technique],
    workloads: Sequence[Workload],
    device: Device,
    hopes: Sequence[tuple[str, str]],
    each_s: float,
) -> set[tuple[str, str]]:
    """Measure these afresh, or the first of them for which the time suffices, where one of a block takes ``each_s``.

    All of ``MOST_HOPES`` and what compiles, if all pairs are faster, pass Holm's correction with so many pairs. Fewer
    would be wasted, so they get some grace.
    """
    least = max(MIN_PAIRS, math.ceil(math.log2((MOST_HOPES + 1) / ALPHA)))
    grace = GRACE_SHARE * campaign.budget.total_s
    most = (campaign.remaining_s + grace) / (least * each_s) if each_s else 0  # of one block, the default's included
    while hopes and len(hopes) + len({workload for _, workload in hopes}) > most:
        hopes = hopes[:-1]
    if not hopes:
        return set()
    again: Todo = defaultdict(list)
    for name, workload in hopes:
        again[name].append(workload)
    for _ in range(least):
        took = run(campaign, by_name, workloads, device, again, "confirm")
        if campaign.remaining_s + grace < took:
            break
    return set(hopes)


def run(
    campaign: Campaign,
    by_name: dict[str, Technique],
    workloads: Sequence[Workload],
    device: Device,
    todo: Todo,
    phase: Phase,
) -> float:
    """Each once, with the default on all that any of them does; gives the seconds that it took."""
    if not todo or (phase == "screen" and campaign.remaining_s <= 0):
        return 0.0
    before = campaign.remaining_s
    wanted = {name for names in todo.values() for name in names}
    launches = [DEFAULT, *(by_name[name].launch for name in todo)]
    campaign.run(launches, [w for w in workloads if w.name in wanted], phase, device.name, only=todo)
    return before - campaign.remaining_s


def hopeful(
    measurements: Sequence[Measurement], by_name: dict[str, Technique], todo: Todo, device: str
) -> list[tuple[str, str]]:
    """The best of each workload that looked better in the screening, the largest gain first."""
    seen: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for name, names in todo.items():
        for workload in names:
            ratios = paired(measurements, by_name[name], workload, device, "screen").ratios
            if ratios and geometric_mean(ratios) > HOPE:
                seen[workload].append((geometric_mean(ratios), name))
    best = [(ratio, name, workload) for workload, of in seen.items() for ratio, name in sorted(of)[-MOST_HOPES:]]
    return [(name, workload) for _, name, workload in sorted(best, reverse=True)]


def paired(
    measurements: Iterable[Measurement], technique: Technique, workload: str, device: str, phase: Phase
) -> Pairing:
    """The time without over the time with it, block by block."""
    seen = [m for m in measurements if m.phase == phase and m.device == device]
    found = pair(seen, technique.name, workload, [workload])
    if not technique.is_default:
        return found
    return Pairing(workload, technique.name, tuple(1 / r for r in found.ratios), found.measurements)


def gains(
    measurements: Sequence[Measurement],
    workloads: Sequence[Workload],
    devices: Sequence[Device],
    hopes: Collection[tuple[str, str, str]],
    min_effect: float,
    techniques: Sequence[Technique] = TECHNIQUES,
) -> tuple[Gain, ...]:
    """Each technique on each workload and device. ``hopes``: device, technique and workload, planned to be decided."""
    found = []
    for device in devices:
        for workload in workloads:
            mine = [t for t in techniques if t.applies(workload, device)]
            tested = [t for t in mine if (device.name, t.name, workload.name) in hopes]
            ratios = [paired(measurements, t, workload.name, device.name, "confirm").ratios for t in tested]
            corrected = holm([faster_p(r) if r else 1.0 for r in ratios])
            p_values = {t.name: p for t, p in zip(tested, corrected, strict=True)}
            for technique in mine:
                of = gain(measurements, technique, workload, device, p_values.get(technique.name), min_effect)
                found += [of] if of else []
    return tuple(found)


def gain(
    measurements: Sequence[Measurement],
    technique: Technique,
    workload: Workload,
    device: Device,
    p_value: float | None,
    min_effect: float,
) -> Gain | None:
    """One technique on one workload; None where its turn did not come."""
    own, default = (
        [m for m in measurements if (m.workload, m.device, m.launch) == (workload.name, device.name, name)]
        for name in (technique.name, BASELINE)
    )
    if not own:
        return None
    phase: Phase = "screen" if p_value is None else "confirm"
    pairing = paired(measurements, technique, workload.name, device.name, phase)
    if not pairing.ratios:  # it was to be confirmed, and died
        p_value, phase = None, "screen"
        pairing = paired(measurements, technique, workload.name, device.name, phase)
    comparison = compared(pairing, p_value, phase, min_effect, device.name) if pairing.ratios else None
    failed = next((m.outcome for m in own if not m.outcome.ok), None)
    with_it, without = (default, own) if technique.is_default else (own, default)
    first = [m.first_s for m in own if m.first_s is not None] if technique.slow_start else []
    return Gain(
        technique=technique.name,
        workload=workload.name,
        device=device.name,
        mode="training" if workload.kind == "training" else "inference",
        comparison=comparison,
        planned=p_value is not None,
        outcome=failed or Outcome(kind="ok"),
        max_error=error_of(with_it),
        default_error=error_of(without),
        peak_bytes=peak_of(with_it),
        default_peak_bytes=peak_of(without),
        cold_s=first[0] if first else None,
        warm_s=float(sorted(first[1:])[len(first[1:]) // 2]) if len(first) > 1 else None,
    )


def error_of(measurements: Iterable[Measurement]) -> float | None:
    """The error that the first process found."""
    return next((m.max_error for m in measurements if m.max_error is not None), None)


def peak_of(measurements: Sequence[Measurement]) -> int | None:
    """The median peak: of the device's memory where torch counts it, else of processes that measured nothing else."""
    own = [m.peak_device_bytes for m in measurements if m.peak_device_bytes]
    alone = [m for m in measurements if m.phase == "screen" and m.max_error is None]
    known = own or [m.peak_rss_bytes for m in alone if m.peak_rss_bytes]
    return sorted(known)[len(known) // 2] if known else None
