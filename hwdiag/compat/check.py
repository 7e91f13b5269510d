"""The check: every native package in children of its own, each end classified, each crash confirmed and explained."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from hwdiag.compat.children import ProbeEnd, Task, run_tasks
from hwdiag.compat.explain import NO_REPORT, STUCK, culprit_of, signal_name, unseen
from hwdiag.compat.model import Compatibility, Culprit, Cure, Interpreter, Package, Remedy, Survey
from hwdiag.compat.packages import list_packages
from hwdiag.compat.remedies import normalised
from hwdiag.core.errors import UsageError
from hwdiag.core.text import now
from hwdiag.process.environment.registry import can_force, is_read_by_libraries
from hwdiag.process.model import Outcome
from hwdiag.process.outcome import SIGNAL_MEANING, last_line

Progress = Callable[[str, float], None]

AT_ONCE = 2
TIMEOUT_S = 120.0
"""Seconds after which a child is killed: importing torch takes 2 s, under user-mode emulation half a minute."""
LIBRARIES = "libraries"
MAX_LIBRARIES = 300
"""Shared objects of one package that are loaded by themselves."""
NOT_ALONE = re.compile(r"(^|[_\d./-])(avx|sse|fma|bmi|neon|sve|amx|x86_64_v|tests?)[\w.-]*", re.IGNORECASE)
"""In the path of what a package chooses by the CPU, or tests itself with: loaded by hand it tells nothing."""
MAX_EXTENSIONS = 300
"""Extension modules of one package that are loaded by name: mypy, compiled with mypyc, has over 200."""
MAX_TOLD = 20
FIRST_OF_ALL = "torch"


def survey(
    python: str,
    *,
    packages: Sequence[str] = (),
    timeout_s: float = TIMEOUT_S,
    env: Mapping[str, str] | None = None,
    cpu: str | None = None,
    progress: Progress = lambda text, share: None,
) -> Survey:
    """Import each native package of an interpreter in a child, try its known operations, and explain what died.

    A package can crash, hang, exit or print without end: it becomes a row. Children run ``AT_ONCE`` at a time.

    Args:
        python: path of the interpreter; a script that puts an emulator in front of one serves as well.
        packages: names of distributions or modules; none takes all that have native code.
        timeout_s: seconds after which one child is killed.
        env: the environment of the children; None inherits ours.
        cpu: model name of the host's CPU, for the record.
        progress: called with what is being checked and the share done, 0..1.

    Raises:
        UsageError: a name that cannot be a package's.
    """
    for name in packages:
        if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|_\w+", name):
            raise UsageError(f"package {name!r} is not a name of a package")
    started, clock = now(), time.monotonic()
    environment = dict(os.environ if env is None else env)
    progress("installed packages", 0.0)
    interpreter = list_packages(python, env=environment, timeout_s=timeout_s)
    check = PackageCheck(interpreter, environment, timeout_s, progress)
    wanted = chosen(interpreter, packages) if interpreter.outcome.ok else []
    results = with_mismatches(check.run(wanted), interpreter.packages)
    cure = check.cure(wanted, results)
    progress("done", 1.0)
    return Survey(
        started_at=started,
        seconds=time.monotonic() - clock,
        interpreter=interpreter.model_copy(update={"packages": tuple(slim(p) for p in interpreter.packages)}),
        cpu=cpu,
        environment={k: v for k, v in sorted(environment.items()) if is_read_by_libraries(k)},
        results=results,
        cure=cure,
    )


def slim(package: Package) -> Package:
    """Return the package without the lists of its files, which are long and the same for all who have it."""
    return package.model_copy(update={"extensions": (), "shared_objects": ()})


def chosen(interpreter: Interpreter, names: Sequence[str]) -> list[Package]:
    """Return the packages to check, torch first: it takes longest, and people ask about it."""
    if not names:
        known = {normalised(p.name) for p in interpreter.packages}
        missing = () if FIRST_OF_ALL in known else (Package(name=FIRST_OF_ALL, imports=(FIRST_OF_ALL,)),)
        return sorted((*missing, *interpreter.packages), key=lambda p: normalised(p.name) != FIRST_OF_ALL)
    found = []
    for name in dict.fromkeys(names):
        of_that_name = [p for p in interpreter.packages if normalised(p.name) == normalised(name) or name in p.imports]
        found += of_that_name or [Package(name=name, imports=(name.replace("-", "_"),))]
    return found


class PackageCheck:
    """One run over packages: what is left to do, and what came out."""

    def __init__(self, interpreter: Interpreter, env: Mapping[str, str], timeout_s: float, progress: Progress) -> None:
        self.interpreter = interpreter
        self.env = env
        self.timeout_s = timeout_s
        self.progress = progress
        self.results: dict[str, list[Compatibility]] = {}
        self.done = 0

    def run(self, packages: Sequence[Package]) -> tuple[Compatibility, ...]:
        """Return all stages of all packages, and the environment that cures their crashes."""
        return tuple(self.confirmed(self.rows(packages), {p.name: p for p in packages}))

    def rows(self, packages: Sequence[Package]) -> list[Compatibility]:
        """Return all stages of all packages."""
        self.results = {p.name: [] for p in packages}

        def finished(task: Task, end: ProbeEnd) -> Sequence[Task]:
            package = next(p for p in packages if p.name == task.name)
            rows, rest = self.rows_of(package, task, end)
            self.results[package.name] += rows
            self.done += not rest
            self.progress(package.name, 0.9 * self.done / len(packages))
            return rest

        run_tasks(
            [self.task_of(p, self.stages(p)) for p in packages],
            timeout_s=self.timeout_s,
            at_once=AT_ONCE,
            done=finished,
        )
        return [r for p in packages for r in self.results[p.name]]

    # --- one package

    def stages(self, package: Package) -> list[str]:
        """Return the stages of a package, in the order in which they are tried."""
        extensions = ["extensions"] if package.extensions else []
        libraries = [LIBRARIES] if triable(package) else []
        return [
            "import",
            *extensions,
            *(n for n, needs in self.interpreter.operations.items() if needs in package.imports),
            *libraries,
        ]

    def task_of(self, package: Package, stages: Sequence[str], env: Mapping[str, str] | None = None) -> Task:
        """Return the task of a child that imports the package and goes through these stages."""
        return Task(
            package.name,
            self.interpreter.python,
            {
                "do": "probe.run",
                "imports": list(package.imports),
                "extensions": list(package.extensions[:MAX_EXTENSIONS]) if "extensions" in stages else [],
                "operations": [s for s in stages if s not in ("import", "extensions", LIBRARIES)],
                "libraries": triable(package)[:MAX_LIBRARIES] if LIBRARIES in stages else [],
            },
            self.env if env is None else env,
        )

    def rows_of(self, package: Package, task: Task, end: ProbeEnd) -> tuple[list[Compatibility], list[Task]]:
        """Return a row for each stage that the child went through, and start a child for the stages that its death left
        out."""
        imported = any(r.stage == "import" for r in self.results.get(package.name, ()))
        wanted = [s for s in self.stages(package) if s in ("import",) or self.wants(task, s)]
        rows, seen = [], []
        for event in end.all("done") + [e for e in end.all("failed") if "stage" in e]:
            seen.append(event["stage"])
            if event["stage"] == LIBRARIES:
                rows.append(libraries_row(package, end))
            elif not (imported and event["stage"] == "import"):
                rows.append(self.row(package, event))
        died = self.death(end, package)
        if died is not None and stage_of(end) == LIBRARIES:
            seen.append(LIBRARIES)
            rows.append(libraries_row(package, end))
        elif died is not None:
            stage = stage_of(end)
            seen.append(stage)
            outcome, culprit = died
            rows.append(
                Compatibility(
                    package=package.name, version=package.version, stage=stage, outcome=outcome, culprit=culprit
                )
            )
        failed_import = "import" not in [e["stage"] for e in end.all("done")]
        left = [] if failed_import or died is None else [s for s in wanted if s not in seen]
        return rows, [self.task_of(package, left)] if left else []

    @staticmethod
    def wants(task: Task, stage: str) -> bool:
        lists = {"extensions": "extensions", LIBRARIES: "libraries"}
        return bool(task.task[lists[stage]]) if stage in lists else stage in task.task["operations"]

    @staticmethod
    def row(package: Package, event: dict[str, Any]) -> Compatibility:
        """Return the row of a stage that ended by itself."""
        kind = event.get("kind")
        outcome = Outcome(kind="ok")
        if kind is not None:
            missing = kind in ("ImportError", "ModuleNotFoundError") and event["stage"] == "import"
            outcome = Outcome(kind="import-error" if missing else "error", detail=event["detail"])
        return Compatibility(
            package=package.name,
            version=package.version,
            stage=event["stage"],
            outcome=outcome,
            seconds=event.get("seconds"),
            skipped=tuple(event.get("skipped") or ()),
        )

    def death(self, end: ProbeEnd, package: Package) -> tuple[Outcome, Culprit | None] | None:
        """Return how the child died and what killed it, or None if it came to its end."""
        if end.returncode is None:
            return Outcome(kind="not-started", detail=end.ended_for or ""), None
        if end.stuck is not None:
            return Outcome(kind="signal", detail=signal_text(end.stuck)), unseen(end.stuck, STUCK, package.name)
        if end.ended_for is not None:
            return Outcome(kind="timeout", detail=f"{end.ended_for}: killed"), None
        report = next(iter(end.all("crash")), None)
        if end.returncode < 0 or report is not None:
            name = signal_name(report["signal"] if report else -end.returncode)
            note = next((e["note"] for e in end.all("ready") if e.get("note")), None)
            sent = f"{name} was not raised by an instruction that the probe watches for{last_line(end.stderr)}"
            why = note or (NO_REPORT if name in ("SIGILL", "SIGSEGV", "SIGBUS", "SIGFPE") else sent)
            culprit = culprit_of(report, self.interpreter, package.name) if report else unseen(name, why, package.name)
            return Outcome(kind="signal", detail=signal_text(name)), culprit
        if not end.all("end"):
            return Outcome(
                kind="error", detail=f"it ended the process, exit status {end.returncode}{last_line(end.stderr)}"
            ), None
        return None

    # --- what a crash goes away with

    def confirmed(self, results: list[Compatibility], packages: Mapping[str, Package]) -> list[Compatibility]:
        """Run each crashed stage again without suspicious variables, or with a cap, and note what helped."""
        crashed = [i for i, r in enumerate(results) if r.outcome.kind == "signal"]
        forced = [name for name in self.env if can_force(name)]
        if not crashed:
            return results
        self.progress("what the crashes go away with", 0.92)
        if forced:
            without = [(i, tuple(forced), self.without(forced)) for i in crashed]
            single = [(i, (v,), self.without([v])) for i in crashed for v in forced] if len(forced) > 1 else []
            ran = self.again(results, packages, [*without, *single])
            for i in crashed:
                mine = [(names, end) for j, names, end in ran if j == i]
                helped = [m for m in mine if ended_well(m[1])] or [m for m in mine if is_past(results[i], m[1])]
                if helped:
                    names, end = min(helped, key=lambda m: len(m[0]))  # one alone, where that is enough
                    results[i] = blame(results[i], names, self.env, ended_well(end))
        caps = [
            (i, n, {**self.env, **remedy.env})
            for i in crashed
            for n, remedy in enumerate(getattr(results[i].culprit, "remedies", ()))
            if remedy.kind == "cap"
        ]
        self.progress("what the crashes go away with", 0.96)
        for i, n, end in self.again(results, packages, caps):
            results[i] = tried(results[i], n, ended_well(end))
        return results

    def cure(self, packages: Sequence[Package], results: Sequence[Compatibility]) -> Cure | None:
        """Return all remedies that helped single stages, if together they hold for their packages from the import to
        the last operation: a setting may help one stage and hurt another."""
        helped = [(r, way) for r in results if (way := way_out(r)) is not None]
        if not helped:
            return None
        unset = tuple(dict.fromkeys(name for _, way in helped for name in way.unset))
        caps = {k: v for _, way in helped for k, v in way.env.items() if k not in unset}
        names = {r.package for r, _ in helped}
        self.progress("whether that holds for all of it", 0.98)
        again = PackageCheck(
            self.interpreter, {**self.without(unset), **caps}, self.timeout_s, lambda text, share: None
        )
        now_well = {(r.package, r.stage) for r in again.rows([p for p in packages if p.name in names]) if r.outcome.ok}
        cured = {(r.package, r.stage) for r, _ in helped}
        ran = {(r.package, r.stage) for r in results if r.outcome.ok and r.package in names}
        if not cured | ran <= now_well:
            return None
        return Cure(env=caps, unset=unset, stages=tuple(f"{r.package}: {r.stage}" for r, _ in helped))

    def without(self, names: Iterable[str]) -> dict[str, str]:
        return {k: v for k, v in self.env.items() if k not in set(names)}

    def again(
        self,
        results: Sequence[Compatibility],
        packages: Mapping[str, Package],
        runs: Sequence[tuple[int, Any, dict[str, str]]],
    ) -> list[tuple[int, Any, ProbeEnd]]:
        """Run stages again in other environments: ``(index, what, environment)`` gives ``(index, what, end)``."""
        said: list[tuple[int, Any, ProbeEnd]] = []
        tasks = [self.task_of(packages[results[i].package], [results[i].stage], env) for i, _, env in runs]
        what = {id(task): (i, key) for task, (i, key, _) in zip(tasks, runs, strict=True)}

        def finished(task: Task, end: ProbeEnd) -> Sequence[Task]:
            i, key = what[id(task)]
            said.append((i, key, end))
            return ()

        run_tasks(tasks, timeout_s=self.timeout_s, at_once=AT_ONCE, done=finished)
        return said


def triable(package: Package) -> list[str]:
    """Return the shared objects of a package that are tried; not variants for one instruction set, nor tests."""
    return [path for path in package.shared_objects if NOT_ALONE.search(path_in_package(path, package)) is None]


def path_in_package(path: str, package: Package) -> str:
    """Return a file's path below the folder of its package; its name alone where that folder is not in the path."""
    parts = PurePath(path).parts
    tops = [i for i, part in enumerate(parts[:-1]) if part.removesuffix(".libs") in (package.name, *package.imports)]
    return "/".join(parts[tops[-1] + 1 :] if tops else parts[-1:])


def libraries_row(package: Package, end: ProbeEnd) -> Compatibility:
    """Return how loading each shared object of a package went. One that ended the child by it is not held against the
    package, which may never load it in that way."""
    tried = triable(package)[:MAX_LIBRARIES]
    unloaded = [f"{PurePath(e['library']).name}: {reason(e)}" for e in end.all("unloaded")]
    left = len(package.shared_objects) - len(tried)
    if not any(e.get("stage") == LIBRARIES for e in end.all("done")):
        last = [str(e["library"]) for e in end.all("trying")][-1:]
        unloaded += [f"{PurePath(path).name}: loaded by itself, it ended the process" for path in last]
        rest = tried[tried.index(last[0]) + 1 :] if last and last[0] in tried else []
        left += len(rest)
        tried = [path for path in tried if path not in rest]
    seconds = next((e.get("seconds") for e in end.all("done") if e.get("stage") == LIBRARIES), None)
    return Compatibility(
        package=package.name,
        version=package.version,
        stage=LIBRARIES,
        outcome=Outcome(kind="ok"),
        seconds=seconds,
        libraries=len(tried) - len(unloaded),
        unloaded=tuple(unloaded[:MAX_TOLD]),
        untried=left,
    )


def reason(event: Mapping[str, Any]) -> str:
    """Return the loader's reason without the path before it, in at most 200 characters."""
    text = str(event.get("detail", "")).removeprefix("OSError: ").removeprefix(f"{event['library']}: ")
    return text[:200]


def with_mismatches(results: Iterable[Compatibility], packages: Iterable[Package]) -> tuple[Compatibility, ...]:
    """Return the results with what was built for another torch than the installed one marked as such."""
    packages = tuple(packages)
    torch = next((p.version for p in packages if normalised(p.name) == FIRST_OF_ALL), None)
    wrong = {p.name: text for p in packages if torch and p.built_for and (text := mismatch(p, p.built_for, torch))}
    return tuple(r.model_copy(update={"mismatch": wrong[r.package]}) if r.package in wrong else r for r in results)


def mismatch(package: Package, built_for: str, torch: str) -> str:
    """Return how a package and the installed torch do not fit, in a clause; empty where they do."""
    (wanted, _, _), (has, _, build) = built_for.partition("+"), torch.partition("+")
    own = (package.version or "").partition("+")[2]
    if wanted != has:
        return f"built for torch {built_for}, and torch {torch} is installed"
    if own and build and own != build:
        return f"a build for {own}, and torch {torch} is one for {build}"
    return ""


def stage_of(end: ProbeEnd) -> str:
    """Return the stage that a child was in when it died."""
    begun = [e["stage"] for e in end.all("begin")]
    return begun[-1] if begun else "import"


def signal_text(name: str) -> str:
    meaning = SIGNAL_MEANING.get(name)
    return f"killed by {name} ({meaning})" if meaning else f"killed by {name}"


def ended_well(end: ProbeEnd) -> bool:
    """Return whether a child went through all its stages."""
    return end.returncode == 0 and end.ended_for is None and bool(end.all("end")) and not end.all("failed")


def way_out(result: Compatibility) -> Remedy | None:
    """Return the environment that was seen to help, or None where none did."""
    remedies = result.culprit.remedies if result.culprit and result.outcome.kind == "signal" else ()
    return next((r for r in remedies if r.works and r.kind in ("unset", "cap")), None)


def is_past(result: Compatibility, end: ProbeEnd) -> bool:
    """Return whether a child got past the crash, though it died elsewhere or raised an exception."""
    culprit = result.culprit
    if culprit is None or culprit.object is None or end.returncode is None or end.ended_for or end.stuck:
        return False
    crash = next(iter(end.all("crash")), None)
    if crash is None:
        return end.returncode == 0 and bool(end.all("end"))
    return (crash.get("object"), crash.get("offset")) != (culprit.object, culprit.offset)


def blame(result: Compatibility, names: Sequence[str], env: Mapping[str, str], ended: bool) -> Compatibility:
    """Return a culprit with inherited variables as the cause, and unsetting them as the first remedy."""
    culprit = result.culprit or Culprit(signal="")
    setting = " ".join(f"{name}={env[name]}" for name in names)
    them = "it" if len(names) == 1 else "them"
    remedy = Remedy(
        kind="unset",
        unset=tuple(names),
        text=f"Unset {' and '.join(names)}: without {them} the same stage "
        + ("ran to its end." if ended else "got past this crash, and ended elsewhere."),
        source="run again here without it",
        works=True if ended else None,
    )
    others = tuple(r for r in culprit.remedies if r.kind not in ("compile", "cap"))
    return result.model_copy(
        update={"culprit": culprit.model_copy(update={"variable": setting, "remedies": (remedy, *others)})}
    )


def tried(result: Compatibility, index: int, works: bool) -> Compatibility:
    """Return a culprit with a remedy marked as tried."""
    culprit = result.culprit
    if culprit is None or index >= len(culprit.remedies) or culprit.remedies[index].kind != "cap":
        return result
    remedies = tuple(r.model_copy(update={"works": works}) if n == index else r for n, r in enumerate(culprit.remedies))
    return result.model_copy(update={"culprit": culprit.model_copy(update={"remedies": remedies})})
