"""From questions to evidence: the noise first, then the search, then what it found against today's default, afresh."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from hwdiag.measure.campaign import Campaign
from hwdiag.measure.compare import Hope, compare_all, pair
from hwdiag.measure.launch import Launch
from hwdiag.measure.model import BASELINE, OVERALL, Comparison, Measurement, Noise, Phase, Step, Workload
from hwdiag.measure.search import CONFIRM_SHARE, Exploration, Question, pairs_to_confirm
from hwdiag.measure.stats import ALPHA, MIN_PAIRS, autocorrelation, drift_p, geometric_mean, spread

DEFAULT = Launch(name=BASELINE)
TWIN = Launch(name="default, a second time")
"""Today's default once more: what it seems to gain is noise."""
GRACE_SHARE = 0.25
"""Share of the budget by which a confirmation may exceed it to reach the pairs without which nothing is decided."""
HOPE_SIGMA = 1.0
"""Standard errors by which a candidate must have looked better on one workload to be measured again for it alone."""


@dataclass(frozen=True)
class Tuned:
    """What a search on this host gave; the measurements themselves are the campaign's."""

    launches: tuple[Launch, ...]
    """Today's default first, then all that were tried."""
    steps: tuple[Step, ...]
    comparisons: tuple[Comparison, ...]
    noise: Noise | None


def tune(
    campaign: Campaign,
    questions: Sequence[Question],
    workloads: Sequence[Workload],
    overall_of: Sequence[str],
    min_effect: float,
    *,
    risky: bool = False,
) -> Tuned:
    """Find the Launch that is fastest on the workloads of ``overall_of`` together, and others for single ones.

    A Launch with a risk takes part in the search only if ``risky``; else it is measured beside the winner, as an offer.
    """
    deciding = [w for w in workloads if w.name in overall_of]
    begun = campaign.remaining_s
    others = [w for w in workloads if w.name not in overall_of]
    for _ in range(campaign.budget.noise_blocks if begun > 0 else 0):
        campaign.run([DEFAULT, TWIN], deciding, "noise")
        if others:
            campaign.run([DEFAULT], others, "noise")
    if not any(m.outcome.ok for m in campaign.measurements if m.launch == BASELINE and m.workload in overall_of):
        questions = ()  # there is nothing to compare with
    tried = Tried(campaign, deciding)
    deadline = campaign.clock() + campaign.remaining_s - CONFIRM_SHARE * begun
    exploration = Exploration(tried.measure, DEFAULT, deadline, campaign.budget.rounds, campaign.clock)
    exploration.explore(questions if risky else [without_risk(question) for question in questions])
    offers = [] if risky else [o for q in questions for o in q.options if o.risk]
    finalists = choose(exploration, tried, min_effect, offers)[: campaign.budget.finalists]
    noise = noise_of(campaign.measurements, overall_of)
    if finalists:
        seen = max(exploration.noise, noise.spread if noise else 0)
        confirm(campaign, finalists, deciding, pairs_to_confirm(seen, min_effect, campaign.budget.most_pairs))
    if finalists and others:
        campaign.run([DEFAULT, *finalists], others, "screen")
    hopes = {(launch.name, scope) for launch in finalists for scope in (OVERALL, *overall_of)}
    return Tuned(
        launches=(DEFAULT, TWIN, *tried.launches(finalists)),
        steps=tuple(exploration.steps),
        comparisons=tuple(all_comparisons(campaign.measurements, overall_of, min_effect, hopes)),
        noise=noise_of(campaign.measurements, overall_of),
    )


def without_risk(question: Question) -> Question:
    """The question without the options that nobody chose to risk."""
    return Question(question.name, tuple(o for o in question.options if not o.risk), question.refine)


class Tried:
    """Speed-ups over today's default on several workloads together, as the search asks for them."""

    def __init__(self, campaign: Campaign, workloads: Sequence[Workload]) -> None:
        self.campaign, self.workloads = campaign, workloads
        self.by_name: dict[str, Launch] = {}

    def measure(self, launches: Sequence[Launch], blocks: int, phase: Phase) -> Mapping[str, Sequence[float]]:
        """Geometric mean over the workloads of the speed-ups, per block."""
        self.by_name |= {launch.name: launch for launch in launches}
        fresh = [m for _ in range(blocks) for m in self.campaign.run([DEFAULT, *launches], self.workloads, phase)]
        names = [w.name for w in self.workloads]
        ratios = {launch.name: pair(fresh, launch.name, OVERALL, names).ratios for launch in launches}
        return {name: of for name, of in ratios.items() if of}

    def on(self, launch: str, workload: str) -> tuple[float, ...]:
        """What it gave on one workload in the screening."""
        screened = [m for m in self.campaign.measurements if m.phase == "screen"]
        return pair(screened, launch, workload, [workload]).ratios

    def launches(self, more: Iterable[Launch]) -> tuple[Launch, ...]:
        """All that were measured, in that order."""
        return tuple((self.by_name | {launch.name: launch for launch in more}).values())


def choose(exploration: Exploration, tried: Tried, min_effect: float, offers: Sequence[Launch]) -> list[Launch]:
    """What to measure afresh, the most important first: the best of the search, the offers, then those that looked
    better still on one workload alone."""
    best = exploration.best
    chosen = [*([] if best.name == BASELINE else [best]), *offers]
    for workload in tried.workloads if len(tried.workloads) > 1 else ():
        gains = {name: tried.on(name, workload.name) for name in exploration.seen}
        gains = {name: ratios for name, ratios in gains.items() if len(ratios) > 1}
        if not gains:
            continue
        leader = max(gains, key=lambda name: geometric_mean(gains[name]))
        to_beat = geometric_mean(gains[best.name]) if best.name in gains else 1.0
        error = HOPE_SIGMA * exploration.noise / math.sqrt(len(gains[leader]))
        if geometric_mean(gains[leader]) / to_beat > 1 + min_effect + error:
            chosen.append(tried.by_name[leader])
    return list({launch.name: launch for launch in chosen}.values())


def confirm(campaign: Campaign, finalists: Sequence[Launch], workloads: Sequence[Workload], pairs: int) -> None:
    """Measure them afresh against today's default, in so many blocks or as many as there is time for.

    Too few to decide would be wasted, so a slow host gets a little more time for those.
    """
    least = max(MIN_PAIRS, math.ceil(math.log2(len(finalists) / ALPHA)))  # so many, all faster, pass Holm's correction
    grace = GRACE_SHARE * campaign.budget.total_s
    for done in range(1, max(pairs, least) + 1):
        before = campaign.remaining_s
        campaign.run([DEFAULT, *finalists], workloads, "confirm")
        took = before - campaign.remaining_s
        if campaign.remaining_s + (grace if done < least else 0) < took:
            break


def all_comparisons(
    measurements: Sequence[Measurement], overall_of: Sequence[str], min_effect: float, hopes: Collection[Hope]
) -> Iterable[Comparison]:
    """Of the screening, then of the confirmation."""
    yield from compare_all(measurements, "screen", overall_of, min_effect)
    yield from compare_all(measurements, "confirm", overall_of, min_effect, hopes)


def noise_of(measurements: Sequence[Measurement], overall_of: Sequence[str]) -> Noise | None:
    """The noise that today's default shows against itself in turns, and by itself over the run.

    None where it was not measured twice.
    """
    ok = [m for m in measurements if m.workload in overall_of and m.outcome.ok and m.device == "cpu"]
    twins = [m for m in ok if m.phase == "noise"]
    ratios = [r for name in overall_of for r in pair(twins, TWIN.name, name, [name]).ratios]
    if len(ratios) < 2:
        return None
    alone = [[m.median_s for m in ok if (m.launch, m.workload) == (BASELINE, name)] for name in overall_of]
    return Noise(
        pairs=len(ratios),
        spread=spread(ratios),
        alone=spread([value / median(values) for values in alone for value in values]),
        drift_p=min(drift_p(values) for values in alone),
        autocorrelation=max(autocorrelation(values) for values in alone),
    )
