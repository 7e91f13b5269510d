"""The compatibility check as a person sees it: sections with a verdict each, drawn from a Survey."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePath

from hwdiag.compat.advice import about_cpu, fitting
from hwdiag.compat.explain import advice, explain, place
from hwdiag.compat.instructions import title
from hwdiag.compat.model import Compatibility, Culprit, Interpreter, Survey
from hwdiag.compat.static import Content
from hwdiag.core.finding import Check, Finding
from hwdiag.core.text import listed
from hwdiag.process.environment.registry import known_variable
from hwdiag.report.answers import answers_table
from hwdiag.report.format import UNKNOWN, outcome_text, plural, seconds
from hwdiag.report.section import Section
from hwdiag.report.table import Table, join_few


def interpreter(found: Interpreter) -> Section:
    """Return the section on the packages with native code."""
    if not found.outcome.ok:
        return Section(f"Its packages could not be listed: {found.outcome.detail}.", (interpreter_table(found),))
    count = plural(len(found.packages), "installed package")
    return Section(f"Python {found.version} has {count} with native code.", (interpreter_table(found),))


def interpreter_table(found: Interpreter) -> Table:
    """Return a table of the interpreter, its packages, and the CPU that it sees."""
    features = UNKNOWN if found.features is None else join_few([title(f) for f in found.features], 60)
    packages = join_few([f"{p.name} {p.version}" for p in found.packages], 100)
    rows = (
        ("Interpreter", found.python),
        ("Python", f"{found.version or UNKNOWN}, {found.machine or UNKNOWN}"),
        ("What the CPU reports to it", features),
        ("Native packages", packages or "none"),
    )
    return Table("The interpreter", ("Fact", "Value"), rows)


def verdict(survey: Survey) -> str:
    """Return one sentence on what dies, and of what."""
    if not survey.interpreter.outcome.ok:
        return f"Nothing could be checked: {survey.interpreter.outcome.detail}."
    packages = {r.package for r in survey.results}
    crashed = list(dict.fromkeys(r.package for r in survey.crashed))
    failed = [p for p in dict.fromkeys(r.package for r in survey.failed) if p not in crashed]
    took = f"{plural(len(packages), 'package')} checked in {seconds(survey.seconds)}"
    if not crashed and not failed:
        misfits = list(dict.fromkeys(r.package for r in survey.unloadable))
        if misfits:
            return f"All of them import, but {listed(misfits)} cannot load all of its native code: {took}, none died."
        return f"All that was tried runs: {took}, none died."
    said = []
    causes: dict[str, list[str]] = {}
    for r in survey.crashed:
        cause = r.culprit.variable if r.culprit and r.culprit.variable else ""
        if r.package not in causes.setdefault(cause, []):
            causes[cause].append(r.package)
    for cause, names in sorted(causes.items()):
        because = f" because of the inherited {cause}" if cause else ""
        said.append(f"{listed(names)} {'dies' if len(names) == 1 else 'die'}{because}")
    if failed:
        said.append(f"{listed(failed)} {'does' if len(failed) == 1 else 'do'} not work, without a crash")
    return f"{'; '.join(said)}; {took}."


def results(survey: Survey) -> Section:
    """Return the section on the packages that import and work, and on those that fail."""
    return Section(
        verdict(survey),
        (failures_table(survey) if survey.failed or survey.unloadable else None, packages_table(survey)),
    )


def crashes(survey: Survey) -> Section:
    """Return the section on what killed each package that died."""
    if not survey.crashed:
        return Section("No signal ended any of them: there is no crash to explain.", ())
    tables = tuple(culprit_table(r, r.culprit) for r in survey.crashed if r.culprit)
    return Section(explain(survey.crashed[0]), tables)


def culprit_table(result: Compatibility, culprit: Culprit) -> Table:
    """Return a table of all that was seen of one crash."""
    has = {True: "the CPU reports it", False: "the CPU lacks it", None: "unknown whether the CPU has it"}
    rows = [
        ("What happened", explain(result)),
        ("Instruction", culprit.instruction or UNKNOWN),
        ("Needs", f"{title(culprit.needs)}: {has[culprit.cpu_has]}" if culprit.needs else UNKNOWN),
        ("Where", place(culprit) if culprit.code or culprit.object else UNKNOWN),
        ("File", culprit.object or UNKNOWN),
        ("Bytes", culprit.code or UNKNOWN),
        ("Thread", culprit.thread or UNKNOWN),
        ("Python stack", "; ".join(short(frame) for frame in culprit.stack[:3]) or UNKNOWN),
        *(("What to do", remedy_text(r.text, r.works, r.source)) for r in advice(culprit, 3)),
    ]
    return Table(f"{result.package}, {result.stage}", ("Fact", "Value"), [r for r in rows if r[1] != UNKNOWN])


def remedy_text(text: str, works: bool | None, source: str) -> str:
    return f"{text} {'Tried here: it helps.' if works else f'Not tried here (source: {source}).'}"


def short(frame: str) -> str:
    """Return a frame with the last two parts of its path."""
    function, _, place_ = frame.partition(", ")
    return f"{function}, {'/'.join(PurePath(place_).parts[-2:])}"


def environment(survey: Survey) -> Section:
    """Return the section on variables of the environment that mislead the packages."""
    blamed = " ".join(r.culprit.variable or "" for r in survey.results if r.culprit)
    judged = {f.evidence[0].rpartition(".")[2]: f for f in survey.findings if f.id.startswith("inherited-")}
    was_judged = bool(survey.findings or survey.checks)
    rows, guilty = [], []
    for name, value in survey.environment.items():
        known, found = known_variable(name), judged.get(name)
        if known is None or (found is None and f"{name}={value}" not in blamed and was_judged):
            continue
        if not was_judged and known.severity == "note" and known.reader != "nothing":
            continue
        here = f"{name}={value}"
        caused = here in blamed
        guilty += [here] if caused else []
        role = "the cause of a crash above, confirmed by a run without it" if caused else known.severity
        effect = f"{known.effect} {known.advice}" if found is None else f"{found.title}. {found.detail}"
        rows.append((here, role, known.reader, effect, known.source))
    table = Table("Inherited variables", ("Variable", "What it is here", "Read by", "Effect", "Source"), rows)
    if guilty:
        return Section(f"{listed(guilty)} {'kills' if len(guilty) == 1 else 'kill'} what would run without.", (table,))
    if rows:
        return Section(f"{plural(len(rows), 'inherited variable')} worth a look, and none was seen to kill.", (table,))
    told = next((c.title for c in survey.checks if c.id == "environment"), "")
    return Section(f"{told or 'No inherited variable forces or caps an instruction set'}.", ())


def shell_table(survey: Survey) -> Table:
    """Return a table of what the shell, the host and the CPU hand to a program that is started here."""
    answers: tuple[Finding | Check, ...] = (*about_cpu(survey.interpreter), *survey.findings, *survey.checks)
    return answers_table("What a program that is started here gets", answers)


def static_table(contents: Sequence[Content], level: str) -> Table:
    """Return a table of the shared objects with code above a level, and of those that could not be looked at."""
    rows = tuple((PurePath(c.path).name, c.text()) for c in contents if c.found or c.note)
    quiet = len(contents) - len(rows)
    caption = f"Shared objects with code above {level}; in {quiet} others none was seen"
    return Table(caption, ("File", "What it contains"), rows)


def failures_table(survey: Survey) -> Table:
    """Return a table of the stages that did not end well."""
    rows = []
    for r in survey.failed:
        help_ = advice(r.culprit, 1) if r.culprit else ()
        what = f"{explain(r)} It is {r.mismatch}." if r.mismatch else explain(r)
        rows.append((r.package, r.version or UNKNOWN, what, help_[0].text if help_ else fitting(survey, r)))
    rows += [
        (r.package, r.version or UNKNOWN, f"Imports, but {text}" + (f". It is {r.mismatch}." if r.mismatch else ""),
         fitting(survey, r))
        for r in survey.unloadable for text in r.unloaded if "undefined symbol" in text
    ]  # fmt: skip
    return Table("What does not run", ("Package", "Version", "What was seen", "What to do"), rows)


def stage_text(result: Compatibility) -> str:
    """Return a stage that ended well with how much of it was left out: ``libraries (3 of 4; 1 not tried)``."""
    if result.libraries is not None:
        count = result.libraries + len(result.unloaded) + result.untried
        left = f"; {result.untried} not tried" if result.untried else ""
        return f"{result.stage} ({result.libraries} of {count}{left})"
    if result.skipped:
        return f"{result.stage} ({len(result.skipped)} cannot be imported by themselves)"
    return result.stage


def packages_table(survey: Survey) -> Table:
    """Return a table with one row per package."""
    rows = []
    for name in dict.fromkeys(r.package for r in survey.results):
        of_it = [r for r in survey.results if r.package == name]
        good, bad = [stage_text(r) for r in of_it if r.outcome.ok], [r for r in of_it if not r.outcome.ok]
        misfits = [n.partition(":")[0] for r in of_it for n in r.unloaded if "undefined symbol" in n]
        said = join_few([f"{r.stage} {outcome_text(r.outcome.kind, '')}" for r in bad])
        lacking = sorted({m[1] for r in of_it for n in r.unloaded if (m := re.search(r": (\S+): cannot open", n))})
        said = said or (f"cannot load {join_few(misfits)}" if misfits else "ok")
        said += f"; what needs {join_few(lacking)} does not load" if lacking else ""
        total = sum(r.seconds or 0 for r in of_it)
        rows.append((name, of_it[0].version or UNKNOWN, said, join_few(good) or "nothing", f"{total:.2f} s"))
    header = ("Package", "Version", "Outcome", "What ran to its end", "Time")
    return Table("Packages with native code", header, rows, frozenset({4}))
