"""The report's first screen: what to do next, as commands to copy, and what was not looked at."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import PurePath

from hwdiag.core.finding import Recommendation
from hwdiag.core.text import capitalised
from hwdiag.diagnose.model import Asked, Triage
from hwdiag.experiment.model import OVERALL
from hwdiag.record.model import Record
from hwdiag.record.store import FILE
from hwdiag.record.tuning import recommended_plan, tuning
from hwdiag.report.format import ratio
from hwdiag.tune.launch_script import script_path
from hwdiag.tune.settings_file import settings_path

MORE_TIME = "hwdiag diagnose --budget thorough"
PROGRAM = "python your_program.py"
MEANS = (
    "That is the speed over how PyTorch starts today, with the 95 % interval. "
    "All recommended changes were measured together."
)


@dataclass(frozen=True)
class Action:
    """One thing to do next."""

    words: str
    command: str
    """To copy; it runs in the folder of the report."""
    file: str = ""
    """A file of the record that it is about."""
    why: str = ""
    """Id of the part of the report that explains it."""


FILES = (
    ("scripts/gpu_optimize.sh", "See what it would change on the GPUs, then apply it", "sudo {path} diff", "audit"),
    ("scripts/system_optimize.sh", "See what it would change on the host, then apply it", "sudo {path} diff", "audit"),
    ("dataloader.py", "Take the DataLoader over", "cat {path}", "dataloader"),
)
"""Of each file beside those of recommendations, what to do with it, and the topic that explains it."""


def actions(record: Record) -> list[Action]:
    """Return what to do next, what gains most first: what was shown to help, what was chosen, and what would tell
    more."""
    found = [*recommended(record), *handed_over(record)]
    worst = next((f for f in record.findings if f.severity != "note"), None)
    if worst is not None:
        found.append(Action(f"Mend what was found: {worst.title.rstrip('.')}", "", why="findings"))
    return [*found, *undecided(record)]


def recommended(record: Record) -> Iterator[Action]:
    """Yield how each recommendation is taken on; one for a single workload only where it differs from that for all."""
    for_all = next((r.plan for r in record.recommendations if r.scope == OVERALL), None)
    for r in record.recommendations:
        if r.scope == OVERALL or r.plan != for_all:
            yield from (replace(a, words=f"{a.words}{gain_of(r)}.") for a in taken_on(record, r))


def taken_on(record: Record, r: Recommendation) -> Iterator[Action]:
    """Yield how one recommendation is taken on, where its script was written: by that, where it sets something, and by
    what the program imports."""
    script = file_named(record, script_path(r)) if r.plan is not None else None
    if script is None:
        return
    plan, inside = recommended_plan(record, r), file_named(record, settings_path(r))
    what = f"{'instances of ' if r.instances > 1 else ''}your program{where_of(r)}"
    either = "Or" if r.is_of_other_accuracy else ""
    if inside is None or plan is None or not plan.launch.is_default:
        words = f"{either} start {what} with this script"
        yield Action(capitalised(words.strip()), f"{script} -- {program_of(record)}", script, "opportunities")
        either = "Also"
    if inside is not None:
        words = f"{either} copy {PurePath(inside).name} beside {what}, and add the calls that its first lines show"
        yield Action(capitalised(words.strip()), f"cat {inside}", inside, "opportunities")


def where_of(r: Recommendation) -> str:
    """Return which programs a recommendation is about, as the end of a clause; empty where it is about all."""
    return "" if r.scope == OVERALL else f" if it is like {r.scope}"


def gain_of(r: Recommendation) -> str:
    """Return what a recommendation gains, as the end of a sentence."""
    gain = f": {ratio(r.speedup.median)} as fast here" if r.speedup else ""
    return f"{gain} at lower precision. Compare your results" if r.accuracy != "same" else gain


def handed_over(record: Record) -> Iterator[Action]:
    """Yield what to do with the other files of a run."""
    for name, words, command, topic in FILES:
        path = file_named(record, name)
        if path is not None:
            yield Action(words, command.format(path=path), path, topic if topic in record.studies else "")


def undecided(record: Record) -> Iterator[Action]:
    """Yield what would decide what is open, and the question that only the person's program answers."""
    confirmed = [c for c in tuning(record).comparisons if c.phase == "confirm" and c.workload == OVERALL]
    verdicts = {c.verdict for c in confirmed}
    settled = "better" in verdicts or ("same" in verdicts and not tuning(record).open_levers)
    if "tune" in record.studies and record.host.is_here and not settled:
        yield Action("Decide what is open: measure for longer, while nothing else runs", MORE_TIME, why="opportunities")
    if "explain" not in record.studies or len(record.studies) > 1:
        yield Action("Ask what holds your own program back", f"hwdiag explain -- {program_of(record)}")


def heading(verdict: str, recommendations: Iterable[Recommendation]) -> tuple[str, list[str]]:
    """Return the verdict's first line, and those below it: what the figures in it mean, and what else was found."""
    first, *rest = verdict.split("\n")
    is_gain = any(r.plan and r.speedup and not r.offered for r in recommendations if r.scope == OVERALL)
    return first, [MEANS, *rest] if is_gain else rest


def asked(record: Record) -> tuple[Asked, ...]:
    """Return what a run asked of each topic; nothing where an older version made the record.

    What another run of the same host looked at is told by its own section, and is not called left out.
    """
    triage = record.study("diagnose", Triage)
    return () if triage is None else tuple(a for a in triage.asked if a.looked_at or a.topic not in record.studies)


def program_of(record: Record) -> str:
    """Return the person's command for a shell, or what stands for it."""
    command = record.params.get("tune", {}).get("command")
    words = command if isinstance(command, (list, tuple)) else ()
    return shlex.join(map(str, words)) or PROGRAM


def file_named(record: Record, path: str) -> str | None:
    """Return a file of the record by its path below a run's folder; of several runs' the first."""
    return next((f.path for f in record.files if f.path == path or f.path.endswith(f"/{path}")), None)


def record_file(record: Record) -> str | None:
    """Return the record's own file, told from the report's folder."""
    return file_named(record, FILE)
