"""Recommendations: a Plan for each workload and one for all, or "keep what you have"."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from statistics import median

from hwdiag.core.choices import ACCURACIES, Accuracy
from hwdiag.core.finding import Recommendation
from hwdiag.core.interval import Interval
from hwdiag.core.text import capitalised, plural
from hwdiag.experiment.lever import BASELINE, Plan, plan_by_id, within
from hwdiag.experiment.model import OVERALL, Comparison
from hwdiag.experiment.techniques import BY_NAME
from hwdiag.tune.evidence import Evidence


def recommend(e: Evidence) -> tuple[Recommendation, ...]:
    """Return the overall recommendation first, then those for single workloads in order of their gain."""
    if not any(m.outcome.ok for m in e.measurements):
        return ()
    single = [for_scope(e, name) for name in e.overall_of if len(e.overall_of) > 1]
    rest = [*single, *offers(e), *by_accuracy(e)]
    rest.sort(key=lambda r: r.speedup.median if r.plan and r.speedup else 0, reverse=True)
    return (for_scope(e, OVERALL), *rest)


def offers(e: Evidence) -> Iterator[Recommendation]:
    """Yield plans that were shown to be faster on all workloads together, but carry a risk that nobody chose to
    take."""
    risky = {plan.id: plan for plan in e.plans if is_left_to_choose(plan, e)}
    for c in e.comparisons:
        if c.phase == "confirm" and c.workload == OVERALL and c.verdict == "better" and c.candidate in risky:
            plan = risky[c.candidate]
            single = [s for s in e.comparisons if s.phase == "confirm" and s.candidate == c.candidate]
            each = ", ".join(f"{s.workload} {ratio_text(s.speedup)}" for s in single if s.workload != OVERALL)
            yield Recommendation(
                id=f"offer-{OVERALL}",
                scope=OVERALL,
                plan=plan.id,
                title=f"Unsupported: {gain_text(plan, c.speedup, called=plan.title)}",
                why=f"{interval_text(c.speedup)}: {each}. {errors_text(e, plan)}{latency_text(e, plan, OVERALL)}",
                speedup=c.speedup,
                instances=len(plan.launch.members),
                risk=risk_of(plan, e),
                offered=True,
                undo=undo_of(plan),
                evidence=c.measurements,
            )


WORDS: dict[Accuracy, str] = {
    "same": "With unchanged results",
    "reduced": "At lower precision (bf16, fp16 or TF32)",
    "quantised": "Quantised to integers",
}
"""What an accuracy is called at the start of a sentence."""


def by_accuracy(e: Evidence) -> Iterator[Recommendation]:
    """Yield the best plan of each accuracy that was not asked for, where it was shown to be faster overall."""
    for accuracy in ACCURACIES:
        best = best_of_accuracy(e, accuracy)
        if accuracy == e.profile.accuracy or best is None:
            continue
        plan = plan_by_id(e.plans, best.candidate)
        yield Recommendation(
            id=f"accuracy-{accuracy}",
            scope=OVERALL,
            plan=plan.id,
            title=f"{WORDS[accuracy]}: {gain_text(plan, best.speedup)}",
            why=f"{interval_text(best.speedup)}{single_text(e, plan)}. {errors_text(e, plan)}"
            f"{latency_text(e, plan, OVERALL)}",
            speedup=best.speedup,
            instances=len(plan.launch.members),
            accuracy=accuracy,
            shares=shares_of(e, plan),
            risk=risk_of(plan, e),
            offered=True,
            undo=undo_of(plan),
            evidence=best.measurements,
        )


def best_of_accuracy(e: Evidence, accuracy: Accuracy) -> Comparison | None:
    """Return the surest gain overall of the plans of just this accuracy, without a risk that nobody chose."""
    mine = {p.id for p in e.plans if p.accuracy == accuracy and not is_left_to_choose(p, e)}
    confirmed = (c for c in e.comparisons if c.phase == "confirm" and c.workload == OVERALL and c.candidate in mine)
    better = (c for c in confirmed if c.verdict == "better" and not harms(e, c))
    return max(better, key=lambda c: c.speedup.low, default=None)


def single_text(e: Evidence, plan: Plan) -> str:
    """Return what a plan gives on each workload, where there are several."""
    single = [c for c in e.comparisons if c.phase == "confirm" and c.candidate == plan.id and c.workload != OVERALL]
    return f": {', '.join(f'{c.workload} {ratio_text(c.speedup)}' for c in single)}" if single else ""


def shares_of(e: Evidence, plan: Plan) -> dict[str, float]:
    """Return what each lever of a plan gave, by its title."""
    ratios = e.shares.get(plan.id, {})
    return {lever.title: ratios[lever.id] for lever in plan.levers if lever.id in ratios}


def largest_error(e: Evidence, plan: str) -> float | None:
    """Return the largest relative error of a plan's results on what counts; None where none was compared."""
    mine = (m for m in e.measurements if m.plan == plan and m.workload in e.overall_of)
    return max((m.max_error for m in mine if m.max_error is not None), default=None)


def errors_text(e: Evidence, plan: Plan) -> str:
    """Return a sentence with the largest relative errors of a plan's results against float64, beside today's."""
    errors = {
        name: max((m.max_error for m in e.measurements if m.plan == name and m.max_error is not None), default=None)
        for name in (BASELINE, plan.id)
    }
    if None in errors.values():
        return "Its results were not compared with a reference."
    return f"Largest relative error against float64: {errors[plan.id]:.1e}, today {errors[BASELINE]:.1e}."


def is_left_to_choose(plan: Plan, e: Evidence) -> bool:
    """Return whether a plan has a risk of its own which the person did not choose to take."""
    return bool(plan.risk) and not e.profile.unsupported


def for_scope(e: Evidence, scope: str) -> Recommendation:
    """Return the recommendation for one workload, or overall."""
    left = {p.id for p in e.plans if is_left_to_choose(p, e) or not within(p.accuracy, e.profile.accuracy)}
    of_scope = [c for c in e.comparisons if c.workload == scope and c.candidate not in left]
    confirmed = [c for c in of_scope if c.phase == "confirm"]
    better = [c for c in confirmed if c.verdict == "better" and not harms(e, c)]
    if not better:
        return keep(e, scope, confirmed or of_scope)
    # The gain that is surest, not the one that happened to look largest.
    best = max(better, key=lambda c: c.speedup.low)
    plan = plan_by_id(e.plans, best.candidate)
    return Recommendation(
        id=f"launch-{scope}",
        scope=scope,
        plan=plan.id,
        title=f"{subject(e, scope)}: {gain_text(plan, best.speedup)}",
        why=f"{interval_text(best.speedup)}, measured again after the search: {best.why}."
        f"{latency_text(e, plan, scope)}",
        speedup=best.speedup,
        instances=len(plan.launch.members),
        accuracy=plan.accuracy,
        shares=shares_of(e, plan),
        risk=risk_of(plan, e),
        undo=undo_of(plan),
        evidence=best.measurements,
    )


def gain_text(plan: Plan, speedup: Interval, *, called: str = "") -> str:
    """Return what it brings, as a clause; ``called`` is a name to put before what it sets."""
    sets = plan.describe()
    what = f"{called} ({sets})" if called else sets
    if plan.launch.instances:
        return f"{what}, give {ratio_text(speedup)} the throughput of one process as it runs today"
    return f"{what} is {ratio_text(speedup)} as fast as today's default"


def latency_text(e: Evidence, plan: Plan, scope: str) -> str:
    """Return a sentence on the time of one iteration in each of many instances; empty for one process."""
    names = e.overall_of if scope == OVERALL else (scope,)
    parts = []
    for workload in (w for w in e.workloads if w.name in names and plan.launch.instances):
        seen = [m for m in e.measurements if m.workload == workload.name and m.phase == "confirm" and m.outcome.ok]
        each = [m.latency_s for m in seen if m.plan == plan.id and m.latency_s is not None]
        today = [m.median_s for m in seen if m.plan == BASELINE]
        if each and today:
            values = (f"{workload.value(median(times)):.3g} {workload.unit}" for times in (each, today))
            parts.append("{}: {} in each instance, {} in one process today".format(workload.name, *values))
    return f" One iteration of {'; of '.join(parts)}." if parts else ""


def harms(e: Evidence, winner: Comparison) -> bool:
    """Return whether the overall winner makes one of its workloads slower."""
    return winner.workload == OVERALL and any(
        c.verdict == "worse" and c.candidate == winner.candidate and c.workload in e.overall_of
        for c in e.comparisons
        if c.phase == "confirm"
    )


def keep(e: Evidence, scope: str, looked_at: list[Comparison]) -> Recommendation:
    """Return the recommendation to keep what the person has."""
    best = best_of(looked_at)
    if best is None:
        why = "No other way to start it was compared: the time was used up, or there was none to try."
    else:
        nearest = plan_by_id(e.plans, best.candidate).title
        why = f"The nearest, {nearest!r}, gave {interval_text(best.speedup)}: {best.why}."
    return Recommendation(
        id=f"launch-{scope}",
        scope=scope,
        plan=None,
        title=f"{subject(e, scope)}: {kept_text(e, best)}",
        why=why,
        evidence=best.measurements if best else (),
    )


def kept_text(e: Evidence, best: Comparison | None) -> str:
    """Return what is said where nothing was shown to be faster, by how much was looked at."""
    if best is None:
        return "no other way was compared"
    return "keep what you have, undecided" if is_open(best) or e.open_levers else "keep what you have"


def best_of(comparisons: Iterable[Comparison]) -> Comparison | None:
    """Return the candidate that looked fastest."""
    return max(comparisons, key=lambda c: c.speedup.median, default=None)


def is_open(best: Comparison) -> bool:
    """Return whether the best candidate looked faster, but was not shown to be."""
    return best.verdict == "undecided" and best.speedup.median > 1 and best.phase == "confirm"


def subject(e: Evidence, scope: str) -> str:
    """Return the subject of a recommendation, as the start of a sentence."""
    return f"Overall ({', '.join(e.overall_of)})" if scope == OVERALL else scope


def ratio_text(speedup: Interval) -> str:
    """Return a ratio with its interval: ``1.25x (1.23 to 1.27)``."""
    return f"{speedup.median:.2f}x ({speedup.low:.2f} to {speedup.high:.2f})"


def interval_text(speedup: Interval) -> str:
    """Return a ratio with its interval, and the number of pairs that it rests on."""
    interval = f"95 % interval {speedup.low:.2f} to {speedup.high:.2f}"
    return f"{speedup.median:.2f}x ({interval}, {plural(speedup.processes, 'pair')} of processes)"


def undo_of(plan: Plan) -> str:
    """Return how a plan is undone: in what starts the program, in the program, or in both."""
    inside = ["remove the import of the settings file from the program"] if plan.techniques else []
    outside = [] if inside and plan.launch.is_default else ["start the program without the launch script"]
    words = " and ".join([*inside, *outside])
    return f"{capitalised(words)}. Nothing on the host was changed."


def risk_of(plan: Plan, e: Evidence) -> str:
    """Return a plan's risks in sentences."""
    launch, risks = plan.launch, [plan.risk] if plan.risk else []
    cautions = (BY_NAME[name].caution for name in plan.techniques if name in BY_NAME)
    risks += [f"{capitalised(caution)}." for caution in cautions if caution]
    if launch.instances:
        risks.append(f"{len(launch.instances)} processes hold that many times the memory of one.")
    if launch.preloaded:
        risks.append("A preloaded library reaches every program that the command starts.")
    if launch.memory is not None:
        risks.append("A memory policy ties the process to nodes: other processes there compete with it.")
    if launch.cpus is not None:
        risks.append("DataLoader workers inherit the CPU binding.")
    if launch.threads is not None:
        risks.append("Every process that the command starts takes the same thread count.")
        if e.profile.role != "headless" and launch.threads >= len(e.host.usable_cpus):
            risks.append(f"It keeps every CPU busy, which is felt on a {e.profile.role} host.")
    return " ".join(risks) or "None known."
