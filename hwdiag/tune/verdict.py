"""The verdict, in words for a newcomer: the first line is the heading of a report, the lines below it say the rest."""

from __future__ import annotations

from collections.abc import Iterator

from hwdiag.agent.nets import TITLES
from hwdiag.core.choices import ACCURACIES, Accuracy
from hwdiag.core.finding import Recommendation
from hwdiag.core.text import listed, plural
from hwdiag.experiment.lever import Plan, plan_by_id, within
from hwdiag.experiment.model import OVERALL, Comparison
from hwdiag.tune.evidence import Evidence
from hwdiag.tune.glance import WORTH
from hwdiag.tune.recommend import (
    WORDS,
    best_of,
    best_of_accuracy,
    is_left_to_choose,
    is_open,
    largest_error,
    ratio_text,
)

WOULD_DECIDE = "More time (BUDGET=thorough) or a quieter machine would decide it"


def verdict(e: Evidence, recommendations: tuple[Recommendation, ...]) -> str:
    """Return the run in a line, what that rests on, and a line for each accuracy that would give more."""
    return "\n".join([first_sentence(e, recommendations), *(accuracy_sentences(e) if recommendations else ())])


def first_sentence(e: Evidence, recommendations: tuple[Recommendation, ...]) -> str:
    """Return what is faster at the accuracy that was asked for, or why nothing is known to be: one line or two."""
    if not e.host.is_here:
        what = e.host.cpu.model or f"a host of architecture {e.host.system.arch}"
        return f"Facts and findings of {what}, read from a snapshot: nothing was measured on this machine."
    if not recommendations:
        return f"Nothing could be measured: {why_nothing(e)}."
    overall, *single = recommendations
    if overall.plan is not None:
        return f"{overall.title if overall.speedup is None else faster(e, overall)}."
    best = next((r for r in single if r.plan is not None and not r.is_of_other_accuracy), None)
    if best is not None and best.offered:
        return f"{faster(e, best, 'an unsupported option')}.\nNo supported option was shown to help."
    if best is not None:
        return f"{faster(e, best)}.\nFor all workloads together nothing was shown to help."
    return nothing_better(e)


def nothing_better(e: Evidence) -> str:
    """Return that what there is stays, by how much was looked at."""
    able = {p.id for p in e.plans if not is_left_to_choose(p, e) and within(p.accuracy, e.profile.accuracy)}
    looked_at = [c for c in e.comparisons if c.workload == OVERALL and c.candidate in able]
    nearest = best_of(c for c in looked_at if c.phase == "confirm")
    if nearest is not None and is_open(nearest):
        named = plan_by_id(e.plans, nearest.candidate).title
        pairs = plural(nearest.speedup.processes, "pair")
        return (
            f"Undecided: {named} may be faster.\nIt looked "
            f"{ratio_text(nearest.speedup)} as fast in {pairs} of processes. That does not decide it, since "
            f"{nearest.why}. {WOULD_DECIDE}."
        )
    if not looked_at and len(e.plans) > 1:
        return (
            "Not compared: no other way to run PyTorch is known to be faster or slower than today's.\n"
            f"The time was used up before one was measured. {WOULD_DECIDE}."
        )
    if e.open_levers:
        changes = plural(len(e.open_levers), "change")
        return (
            f"Undecided: nothing was shown to be faster{at_accuracy(e)}, but {changes} may be.\n"
            f"Too few measurements exclude a gain of {e.profile.min_effect:g} %. {WOULD_DECIDE}."
        )
    if at_accuracy(e):
        return f"Keep what you have:{at_accuracy(e)} nothing was shown to be faster."
    return "Keep what you have: no other way to run PyTorch was shown to be faster on this host."


def at_accuracy(e: Evidence) -> str:
    """Return at which accuracy, where that leaves something out; empty where it does not."""
    is_bounded = e.profile.accuracy == "same" and any(p.accuracy != "same" for p in e.plans)
    return " with unchanged results" if is_bounded else ""


def why_nothing(e: Evidence) -> str:
    """Return why nothing could be measured."""
    failures = (f"{m.workload}: {m.outcome.detail}" for m in e.measurements if not m.outcome.ok)
    late = "the time was used up first; give it more (BUDGET=thorough) or a quieter machine"
    other = late if e.workloads and e.software.outcome.ok else "no workload was there to measure"
    return next(failures, e.software.outcome.detail or other)


def faster(e: Evidence, r: Recommendation, what: str = "") -> str:
    """Return by how much something runs faster, and with what, as a clause; ``what`` is said of it first."""
    assert r.plan is not None
    assert r.speedup is not None
    names = e.overall_of if r.scope == OVERALL else (r.scope,)
    plan = plan_by_id(e.plans, r.plan)
    of = f"{what}: {plan.title}" if what else called(plan)
    verb = "runs" if len(names) == 1 else "run"
    if plan.launch.instances:
        return f"{subjects(e, names)}: {plan.describe()}, give {ratio_text(r.speedup)} the throughput of one process"
    return f"{subjects(e, names)} {verb} {ratio_text(r.speedup)} as fast with {of}"


def called(plan: Plan) -> str:
    """Return a plan's levers as words, and what they set where the names do not say it."""
    sets, titles = plan.describe(), [x.title for x in plan.levers]
    return listed(titles) if sets == ", ".join(titles) else f"{listed(titles)} ({sets})"


def subjects(e: Evidence, names: tuple[str, ...]) -> str:
    """Return the names of workloads as people know them, as the start of a sentence."""
    own = {w.name for w in e.workloads if w.family == "own"}
    words = [f"Your {name}" if name in own else TITLES.get(name, name) for name in names]
    return listed(words)


def accuracy_sentences(e: Evidence) -> Iterator[str]:
    """Yield what the accuracies that were not asked for would give, as sentences of a verdict."""
    best_ratio = 1.0
    for accuracy in ACCURACIES:
        if accuracy == e.profile.accuracy:
            continue
        best = best_of_accuracy(e, accuracy)
        seen = promise_of(e, accuracy) if best is None else None
        if best is not None:
            plan = plan_by_id(e.plans, best.candidate)
            error = largest_error(e, plan.id)
            of = "error not measured" if error is None else f"largest error {100 * error:.2g} %"
            yield f"{WORDS[accuracy]}: {best.speedup.median:.2f}x as fast with {plan.title} ({of})."
        elif seen is not None and seen.speedup.median > best_ratio:
            plan, pairs = plan_by_id(e.plans, seen.candidate), plural(seen.speedup.processes, "pair")
            yield (
                f"{WORDS[accuracy]}, undecided: {seen.speedup.median:.2f}x as fast with {plan.title} in {pairs} of "
                "processes, which does not decide it."
            )
        told = best or seen
        best_ratio = max(best_ratio, told.speedup.median if told else 1.0)


def promise_of(e: Evidence, accuracy: Accuracy) -> Comparison | None:
    """Return the plan of just this accuracy that looked much faster overall and was not decided; None where none
    did."""
    mine = {p.id for p in e.plans if p.accuracy == accuracy and not is_left_to_choose(p, e)}
    seen = [c for c in e.comparisons if c.workload == OVERALL and c.candidate in mine]
    told = {c.candidate: c for c in seen if c.phase == "confirm"}
    latest = {**{c.candidate: c for c in seen}, **told}
    best = best_of(c for c in latest.values() if c.verdict == "undecided")
    return best if best is not None and best.speedup.median >= WORTH else None
