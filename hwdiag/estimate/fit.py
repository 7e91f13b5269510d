"""Fits the constants of estimates to published points, and writes how far off they are on devices left out.

``python -m hwdiag.estimate.fit`` writes ``constants.json``; with ``--count`` it counts all nets anew first (minutes),
with ``--show`` it prints every point that is far off.

Each logarithm of a constant is a sum of effects: of CPUs or GPUs, of the class of devices, of the software, of the
width of numbers, and of class and software together. Each effect has a prior that draws it to what a roofline expects,
the finer the closer, so that a class with few points borrows from the others (ridge regression, as in hierarchical
models). Points of one device share its weight, so that many figures of one laboratory do not outvote the rest.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import combinations
from statistics import median
from typing import get_args

import numpy as np
from scipy.optimize import least_squares

from hwdiag.agent.nets import DECODERS, NAMES
from hwdiag.catalogue.parts import DeviceClass, Part, catalogue
from hwdiag.core.choices import Software
from hwdiag.estimate.comparison import NETS
from hwdiag.estimate.constants import FILE, Fitted, FittedConstants, wider, work_kind
from hwdiag.estimate.counts import counts_of, key_of, ship
from hwdiag.estimate.model import HoldoutError, WorkKind
from hwdiag.estimate.points import PublishedPoint, published_points
from hwdiag.estimate.types import TYPES, Width
from hwdiag.estimate.work import OTHER, SHARPNESS, Constants, Work, barrier, joined, seconds, usual_peak, work_of
from hwdiag.experiment.net_count import Count, NetSpec

Effect = tuple[str, ...]
"""One term of a constant's logarithm."""
Cell = tuple[DeviceClass, Software, Width]
SPREAD = 0.2
"""Of points around a right prediction, in the logarithm: runs of one device in several hands differ by so much."""
A_DEVICE = 6
"""Points of one device that count in full."""
ROBUST = 2.0
"""Spreads beyond which a point pulls less."""
ENOUGH = 1e-4
"""Relative change below which fitting ends."""
APART = 1.25
COVERED = 0.9
START_OTHER: dict[Software, float] = {"eager": 1.0, "compiled": 0.3, "engine": 0.1, "llama.cpp": 0.3}
PRIORS: dict[Effect, tuple[float, float]] = {
    ("conv", "cpu"): (0.4, 0.7), ("conv", "gpu"): (0.4, 0.7), ("gemm", "cpu"): (0.4, 0.7), ("gemm", "gpu"): (0.5, 0.7),
    ("depthwise", "cpu"): (0.2, 0.7), ("depthwise", "gpu"): (0.1, 0.7),
    ("attention", "cpu"): (0.6, 0.3), ("attention", "gpu"): (0.6, 0.3), ("attention", "unit"): (0.5, 0.5),
    ("memory", "cpu"): (0.75, 0.3), ("memory", "gpu"): (0.75, 0.3), ("unit",): (0.5, 0.4),
    ("eager",): (0.8, 0.3), ("compiled",): (0.9, 0.3), ("engine",): (1.0, 0.1), ("llama.cpp",): (0.7, 0.3),
    ("8 bits",): (0.8, 0.3), ("weights alone",): (0.6, 0.4), ("32 bits",): (1.0, 0.2), ("16 bits",): (1.0, 0.1),
    ("traffic", "gpu"): (0.6, 0.4), ("traffic", "cpu"): (0.3, 0.5),
    ("traffic_other", "eager"): (0.9, 0.3), ("traffic_other", "compiled"): (0.3, 0.4),
    ("traffic_other", "engine"): (0.15, 0.4), ("traffic_other", "llama.cpp"): (0.4, 0.4),
    ("start", "cpu", "eager"): (8e-6, 0.5), ("start", "cpu", "compiled"): (5e-6, 0.5),
    ("start", "cpu", "engine"): (4e-6, 0.5), ("start", "cpu", "llama.cpp"): (6e-6, 0.5),
    ("start", "gpu", "eager"): (6e-6, 0.5), ("start", "gpu", "compiled"): (4e-6, 0.5),
    ("start", "gpu", "engine"): (3e-6, 0.5), ("start", "gpu", "llama.cpp"): (4e-6, 0.5),
}  # fmt: skip
"""What each effect multiplies a constant by before any point is seen, and how sure that is, in the logarithm."""
CLOSER = {"class": 0.3, "class and software": 0.2, "work and width": 0.25}
"""Deviations of the finer effects from 1."""


def effects(constant: str, cell: Cell) -> tuple[Effect, ...]:
    """Return the terms of one constant's logarithm in one cell."""
    device_class, software, width = cell
    side = "cpu" if "CPU" in device_class else "gpu"
    if constant == "start":
        return (("start", side, software),)
    if constant == "traffic":
        return (("traffic", side), ("class", "traffic", software, side))
    if constant == "traffic_other":
        return (("traffic_other", software), ("class", "traffic_other", software, side))
    both = ("class and software", constant if constant == "memory" else "compute", device_class, software)
    if constant == "memory":
        return ("memory", side), ("class", "memory", device_class), ("class", "memory", side, software), both
    work = "gemm" if constant == "attention" else constant
    terms: list[Effect] = [(work, side), ("class", work, device_class), (software,), both]
    terms += [("class", "compute", side, software), (width,), ("work and width", work, side, width)]
    terms += [("work and width", "compute", device_class, width)]
    if constant == "attention":
        terms += [("attention", side), ("work and width", "attention", side, width)]
    if device_class == "server CPU with AMX" and width != "32 bits":
        terms += [("unit",)] + ([("attention", "unit")] if constant == "attention" else [])
    return tuple(terms)


def prior(effect: Effect) -> tuple[float, float]:
    """Return an effect's logarithm before any point is seen, and its deviation."""
    if effect in PRIORS:
        value, deviation = PRIORS[effect]
        return math.log(value), deviation
    return 0.0, CLOSER[effect[0]]


CONSTANTS = ("conv", "gemm", "attention", "depthwise", "memory", "traffic", "traffic_other", "start")


@dataclass(frozen=True)
class PreparedPoint:
    """One published point, ready to be predicted."""

    name: str
    point: PublishedPoint
    part: Part
    cell: Cell
    works: tuple[tuple[Work, float], ...]
    """What runs, and how often: a prompt, and each token after it."""
    kind: WorkKind


def prepared(points: Mapping[str, PublishedPoint], counts: Mapping[str, Count]) -> list[PreparedPoint]:
    """Return the points with their counts in their own type."""
    found = []
    for name, point in points.items():
        part, numeric = catalogue()[point.part], TYPES[point.dtype]
        works = [(work_of(counts[key_of(point.spec)], numeric, point.weight_bits), 1.0)]
        if point.following is not None:
            following = counts[key_of(point.following)]
            works.append((work_of(following, numeric, point.weight_bits), float(point.new_tokens or 0)))
        cell = (part.device_class, point.software, numeric.width)
        kind = work_kind(counts[key_of(point.spec)]) if point.following is None else "decoding"
        found.append(PreparedPoint(name, point, part, cell, tuple(works), kind))
    return found


class ConstantsFit:
    """Constants of all cells as one vector of effects, fitted to some of the points."""

    def __init__(self, points: Sequence[PreparedPoint]) -> None:
        self.points = points
        self.cells: list[Cell] = list(dict.fromkeys(p.cell for p in points))
        names = [e for cell in self.cells for constant in CONSTANTS for e in effects(constant, cell)]
        self.names = list(dict.fromkeys(names))
        place = {name: i for i, name in enumerate(self.names)}
        self.mean = np.array([prior(name)[0] for name in self.names])
        self.deviation = np.array([prior(name)[1] for name in self.names])
        self.terms = np.zeros((len(CONSTANTS), len(self.cells), len(self.names)))
        for i, constant in enumerate(CONSTANTS):
            for j, cell in enumerate(self.cells):
                for effect in effects(constant, cell):
                    self.terms[i, j, place[effect]] += 1
        self.work = joined([w for p in points for w, _ in p.works])
        self.of_point = np.concatenate([np.full(sum(len(w.kind) for w, _ in p.works), i) for i, p in enumerate(points)])
        self.repeat = np.concatenate([np.full(len(w.kind), n) for p in points for w, n in p.works]) * self.work.times
        self.cell_of_point = np.array([self.cells.index(p.cell) for p in points])
        self.cell = self.cell_of_point[self.of_point]
        peaks = [usual_peak(p.part, computed(p), p.point.software) for p in points]
        self.slower = np.array([barrier(p.part) for p in points])[self.of_point]
        self.peak, self.bandwidth = (
            np.array(peaks)[self.of_point],
            np.array([p.part.bandwidth for p in points])[self.of_point],
        )
        self.truth = np.log([p.point.seconds for p in points])
        of_part: dict[str, int] = defaultdict(int)
        for p in points:
            of_part[p.point.part] += 1
        self.weight = np.sqrt([min(1.0, A_DEVICE / of_part[p.point.part]) for p in points])
        self.start_other = np.array([START_OTHER[cell[1]] for cell in self.cells])

    def predicted(self, theta: np.ndarray) -> np.ndarray:
        """Return the logarithm of the seconds of every point."""
        return self.with_slopes(theta)[0]

    def with_slopes(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the logarithm of the seconds of every point, and its slope by every effect."""
        conv, gemm, attention, depthwise, memory, traffic, traffic_other, start = np.exp(self.terms @ theta)
        work, cell, other = self.work, self.cell, self.work.kind == OTHER
        share = np.stack([conv, gemm, attention, depthwise, np.ones_like(conv)])[work.kind, cell]
        moving = np.where(other, traffic_other[cell], traffic[cell])
        begin = self.slower * start[cell] * np.where(other, np.maximum(self.start_other[cell], work.steps), 1.0)
        each = seconds(work, self.peak, self.bandwidth, share, memory[cell], moving, begin)
        arithmetic = work.flops / (share * self.peak)
        streaming = (work.weights + moving * work.moved) / (memory[cell] * self.bandwidth)
        busy = np.maximum(each - begin, 1e-30)
        by_share = -busy * (arithmetic / busy) ** SHARPNESS
        by_memory = -busy * (streaming / busy) ** SHARPNESS
        activations = moving * work.moved / np.maximum(work.weights + moving * work.moved, 1e-30)
        by_traffic = -by_memory * activations

        def summed(values: np.ndarray) -> np.ndarray:
            return np.bincount(self.of_point, values * self.repeat, minlength=len(self.points))

        whole = summed(each)
        slopes = [summed(np.where(work.kind == kind, by_share, 0.0)) for kind in range(OTHER)]
        slopes += [
            summed(by_memory),
            summed(np.where(other, 0.0, by_traffic)),
            summed(np.where(other, by_traffic, 0.0)),
        ]
        slopes.append(summed(begin))
        at = self.cell_of_point
        jacobian = sum(s[:, None] * self.terms[i, at] for i, s in enumerate(slopes)) / whole[:, None]
        return np.log(whole), np.asarray(jacobian)

    def solve(self, keep: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
        """Return the effects that explain the points where ``keep`` holds."""
        scale = (self.weight / SPREAD)[keep]

        def residuals(theta: np.ndarray) -> np.ndarray:
            off = (self.predicted(theta) - self.truth)[keep] * scale
            return np.concatenate([off, (theta - self.mean) / self.deviation])

        def jacobian(theta: np.ndarray) -> np.ndarray:
            slopes = self.with_slopes(theta)[1][keep] * scale[:, None]
            return np.vstack([slopes, np.diag(1 / self.deviation)])

        begin = self.mean if start is None else start
        solved = least_squares(
            residuals, begin, jacobian, loss="soft_l1", f_scale=ROBUST, x_scale=self.deviation, ftol=ENOUGH, xtol=ENOUGH
        )
        return np.asarray(solved.x)


def computed(p: PreparedPoint) -> str:
    """Return the type that a point's arithmetic is done in."""
    found = TYPES[p.point.dtype].computed_in(p.part)
    if found is None:
        raise ValueError(f"{p.name}: {p.part.name} does not compute in {p.point.dtype}")
    return found


def left_out(fit: ConstantsFit, whole: np.ndarray, progress: bool = False) -> np.ndarray:
    """Return each point's logarithm of predicted over published time, by constants that never saw its device."""
    found = np.zeros(len(fit.points))
    parts = list(dict.fromkeys(p.point.part for p in fit.points))
    for part in parts:
        mine = np.array([p.point.part == part for p in fit.points])
        found[mine] = (fit.predicted(fit.solve(~mine, whole)) - fit.truth)[mine]
        if progress:
            print(f"{part}: " + " ".join(f"{math.expm1(-x):+.0%}" for x in found[mine]), file=sys.stderr)
    return found


def constants_in(cell: Cell, values: Mapping[Effect, float]) -> Constants:
    """Return the constants of a cell; an effect that no point told of has its prior."""
    logs = {c: sum(values.get(e, prior(e)[0]) for e in effects(c, cell)) for c in CONSTANTS}
    rounded = {name: float(f"{math.exp(log):.4g}") for name, log in logs.items()}
    rounded["start_s"] = rounded.pop("start")
    return Constants(**rounded, start_other=START_OTHER[cell[1]])


def all_cells() -> Iterator[Cell]:
    """Return every class of devices with every software and width."""
    for device_class in get_args(DeviceClass):
        for software in get_args(Software):
            for width in get_args(Width):
                yield device_class, software, width


def groups(points: Sequence[PreparedPoint]) -> Iterator[tuple[str, WorkKind | None, np.ndarray]]:
    """Return the classes, their wider groups and all devices, each by kind of work and as a whole."""
    of = {"all devices": np.ones(len(points), bool)}
    for p in points:
        for name in (p.part.device_class, wider(p.part.device_class)):
            of.setdefault(name, np.array([name in (q.part.device_class, wider(q.part.device_class)) for q in points]))
    for name, mask in of.items():
        yield name, None, mask
        for kind in get_args(WorkKind):
            this = mask & np.array([p.kind == kind for p in points])
            if this.any():
                yield name, kind, this


def evidence(points: Sequence[PreparedPoint], off: np.ndarray) -> Iterator[HoldoutError]:
    """Return what the points that were left out tell of each group."""
    for name, kind, mask in groups(points):
        errors = np.abs(np.expm1(-off[mask]))
        yield HoldoutError(
            device_class=name,
            work=kind,
            points=int(mask.sum()),
            devices=len({p.point.part for p, m in zip(points, mask, strict=True) if m}),
            median=round(float(np.median(errors)), 4),
            ninetieth=round(float(np.quantile(errors, 0.9)), 4),
            factor=round(interval_factor(off[mask]), 4),
        )


def interval_factor(off: np.ndarray) -> float:
    """Return the factor by which the likely time is divided and multiplied so that nine of ten points lie inside.

    With the correction of split conformal prediction for few points.
    """
    size = np.sort(np.abs(off))
    rank = min(len(size), math.ceil((len(size) + 1) * COVERED))
    return math.exp(float(size[rank - 1]))


def same_work(p: PreparedPoint) -> tuple[object, ...]:
    """Return what two points must share to be ranked: the net, its sizes, its type, the software."""
    point = p.point
    return point.net, point.phase, point.tokens, point.new_tokens, point.batch, point.dtype, point.software


def ranked(points: Sequence[PreparedPoint], off: np.ndarray) -> tuple[int, int]:
    """Return how many pairs on the same work that differ enough come in the published order, and how many there are."""
    right = pairs = 0
    by_work: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for i, p in enumerate(points):
        by_work[same_work(p)].append(i)
    for among in by_work.values():
        for i, j in combinations(among, 2):
            apart = math.log(points[i].point.seconds / points[j].point.seconds)
            if points[i].point.part != points[j].point.part and abs(apart) > math.log(APART):
                pairs += 1
                right += (apart + off[i] - off[j]) * apart > 0
    return right, pairs


def fitted(points: Sequence[PreparedPoint], progress: bool = False) -> tuple[FittedConstants, np.ndarray]:
    """Return constants and evidence, and each point's logarithm of predicted over published, its device left out."""
    fit = ConstantsFit(points)
    whole = fit.solve(np.ones(len(points), bool))
    off = left_out(fit, whole, progress)
    values = dict(zip(fit.names, whole, strict=True))
    known = list(evidence(points, off))
    right, pairs = ranked(points, off)
    result = FittedConstants(
        fitted=tuple(
            Fitted(device_class=c[0], software=c[1], width=c[2], constants=constants_in(c, values)) for c in all_cells()
        ),
        evidence=tuple(known),
        points=len(points),
        devices=len({p.point.part for p in points}),
        ranked=round(right / pairs, 4),
        held_out={p.name: round(math.expm1(-x), 4) for p, x in zip(points, off, strict=True)},
    )
    return result, off


def specs_needed(points: Iterable[PublishedPoint]) -> list[NetSpec]:
    """Return what the points run, each once, and every net with a name as it runs by default."""
    specs = [s for p in points for s in (p.spec, p.following) if s is not None]
    specs += [NetSpec(net=n) for n in NAMES] + [NetSpec(net=n, phase="decode") for n in DECODERS]
    specs += [*NETS.values()]
    return list({key_of(s): s for s in specs}.values())


def main() -> None:
    """Fit, write, and print how far off."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--count", action="store_true", help="count all nets again first")
    arguments.add_argument("--show", action="store_true", help="print every point that is far off")
    arguments.add_argument("--dry", action="store_true", help="write nothing")
    options = arguments.parse_args()
    points = published_points()
    specs = specs_needed(points.values())
    counts = counts_of(sys.executable, specs, fresh=options.count)
    if options.count:
        ship(counts, ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers")))
    ready = prepared(points, dict(zip(map(key_of, specs), counts, strict=True)))
    result, off = fitted(ready, options.show)
    for e in result.evidence:
        print(
            f"{e.device_class:24} {e.work or 'all work':13} {e.points:4} points {e.devices:3} devices  median "
            f"{e.median:6.1%}  90 % below {e.ninetieth:6.1%}  interval x/÷ {e.factor:.2f}"
        )
    right, pairs = ranked(ready, off)
    print(f"order right in {right} of {pairs} pairs on the same work that differ by more than 25 %")
    if options.show:
        for x, p in sorted(zip(off, ready, strict=True), key=lambda pair: -abs(pair[0])):
            if abs(math.expm1(-x)) > 0.3:
                print(f"{math.expm1(-x):+6.0%} {p.name}")
    print(f"median over devices: {median(abs(math.expm1(-x)) for x in off):.1%}")
    if not options.dry:
        FILE.write_text(result.model_dump_json(indent=None, exclude_defaults=True) + "\n")


if __name__ == "__main__":
    main()
