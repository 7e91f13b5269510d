"""Findings, checks and the Launch that follow from a check of the packages that a run needs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hwdiag.compat.explain import advice, explain
from hwdiag.compat.instructions import title
from hwdiag.compat.model import Compatibility, Cure, Interpreter, Survey
from hwdiag.core.finding import Check, Finding, Recommendation
from hwdiag.core.text import listed
from hwdiag.experiment.lever import Lever, Plan
from hwdiag.experiment.model import OVERALL
from hwdiag.process.launch import Launch
from hwdiag.process.preflight import CPU_TYPE_HOST

NEEDED = ("torch", "numpy")
"""What a diagnosis checks by itself, in about 4 s; ``hwdiag compat`` does all packages."""
NEEDED_TITLE = "what it needs"


def consult(survey: Survey) -> Iterator[Finding | Check]:
    """Yield a finding for each stage that died or failed, with its cause; a check where all of it runs."""
    yield from about_cpu(survey.interpreter)
    for r in survey.failed:
        if r.outcome.kind == "import-error" and r.version is None:
            continue  # not installed: whoever needs it says so
        ways = " ".join(remedy.text for remedy in advice(r.culprit)) if r.culprit else fitting(survey, r)
        yield Finding(
            id=f"compat-{slug(f'{r.package}-{r.stage}')}",
            severity="problem" if r.stage == "import" else "warning",
            title=f"{r.package}: {r.stage} {'dies' if r.outcome.kind == 'signal' else 'fails'}"
            + (f"; it is {r.mismatch}" if r.mismatch else ""),
            detail=f"{explain(r)} {ways}".rstrip(),
            evidence=("studies.compat.results",),
        )
    yield from about_libraries(survey)
    if survey.cure is not None:
        yield Finding(
            id="compat-cure",
            severity="note",
            title=f"The launch scripts {setting(survey.cure)}",
            detail=f"With that, checked in fresh children, what died ran to its end: {', '.join(survey.cure.stages)}.",
            evidence=("studies.compat.cure",),
        )
    for package in dict.fromkeys(r.package for r in survey.results):
        of_it = [r for r in survey.results if r.package == package]
        if all(r.outcome.ok and not r.mismatch for r in of_it) and not any(r in survey.unloadable for r in of_it):
            yield Check(
                id=f"compat-{package}",
                state="fine",
                title=f"{package} {of_it[0].version or ''} runs on this CPU".replace("  ", " "),
                detail=f"{', '.join(r.stage for r in of_it)}: each ran to its end.{without_avx2(survey, of_it[0])}",
            )


SINCE_2011 = ("pni", "ssse3", "sse4_1", "sse4_2", "popcnt")
"""Features that every x86 processor has had since Intel's Nehalem and AMD's Bulldozer, in /proc/cpuinfo's words."""


def about_cpu(interpreter: Interpreter) -> Iterator[Finding]:
    """Yield a finding where the CPU that the interpreter sees lacks what no processor of today lacks: something hides
    it."""
    features = interpreter.features
    if interpreter.machine != "x86_64" or features is None:
        return
    lacking = [title(name) for name in SINCE_2011 if name not in features]
    if lacking:
        called = f", {interpreter.cpu}," if interpreter.cpu else ""
        yield Finding(
            id="cpu-type-hides-features",
            severity="problem",
            title=f"The CPU that this Python sees{called} lacks {listed(lacking)}: a virtual CPU type such as kvm64 or "
            "qemu64 hides them",
            detail="Every x86 processor made since 2011 has them, and wheels of NumPy 2.4 and newer need them "
            f"(x86-64-v2): without them they end with SIGILL, illegal instruction. {CPU_TYPE_HOST} Where that cannot "
            "be, x86-64-v2 is the least that serves.",
            evidence=("studies.compat.interpreter",),
        )


def about_libraries(survey: Survey) -> Iterator[Finding]:
    """Yield a finding for each package whose shared objects do not fit, or that was built for another torch."""
    failed = {r.package for r in survey.failed}
    for r in survey.unloadable:
        names = [text for text in r.unloaded if "undefined symbol" in text]
        yield Finding(
            id=f"compat-{slug(r.package)}-libraries",
            severity="problem" if r.mismatch else "warning",
            title=f"{r.package} {r.version or ''}: {listed(n.partition(':')[0] for n in names)} cannot be loaded"
            + (f"; it is {r.mismatch}" if r.mismatch else ""),
            detail=f"{names[0]}. The import succeeds all the same, and what is in it fails when it is first used, with "
            f"messages such as 'operator {r.package}::nms does not exist'. {fitting(survey, r)}".rstrip(),
            evidence=("studies.compat.results",),
        )
    told = failed | {r.package for r in survey.unloadable}
    for r in survey.results:
        if r.mismatch and r.stage == "import" and r.package not in told:
            yield Finding(
                id=f"compat-{slug(r.package)}-mismatch",
                severity="warning",
                title=f"{r.package} {r.version or ''} is {r.mismatch}",
                detail=f"All that was tried ran, but its native code was made for the other. {fitting(survey, r)}",
                evidence=("studies.compat.results",),
            )


def fitting(survey: Survey, result: Compatibility) -> str:
    """Return how to install a package and a torch that fit, in a sentence; empty where they are not known to misfit."""
    if result.mismatch is None:
        return ""
    package = next((p for p in survey.interpreter.packages if p.name == result.package), None)
    pinned = package.built_for.partition("+")[0] if package and package.built_for else None
    exact = f" `pip install torch=={pinned} {result.package}=={result.version}`" if pinned else ""
    return (
        f"Install both together from one index, `pip install --upgrade torch {result.package}` with the same "
        f"--index-url{', or the torch that it was built for,' if exact else ''}{exact}."
    )


def slug(name: str) -> str:
    return re.sub("[^a-z0-9]+", "-", name.lower())


def without_avx2(survey: Survey, ran: Compatibility) -> str:
    """Return a sentence where a package ran on a CPU without AVX2; empty elsewhere."""
    found = survey.interpreter
    if found.machine != "x86_64" or found.features is None or "avx2" in found.features:
        return ""
    return f" This CPU has no AVX2: {ran.package} {ran.version or ''} does not need it.".replace("  ", " ")


def setting(cure: Cure) -> str:
    """Return what to set and unset as text: ``unset OPENBLAS_CORETYPE and set ATEN_CPU_CAPABILITY=default``."""
    parts = []
    if cure.unset:
        parts.append(f"unset {', '.join(cure.unset)}")
    if cure.env:
        parts.append(f"set {', '.join(f'{name}={value}' for name, value in sorted(cure.env.items()))}")
    return " and ".join(parts)


def with_cure(launch: Launch, cure: Cure | None) -> Launch:
    """Return a Launch that also sets and unsets what was shown to be needed."""
    if cure is None:
        return launch
    unset = tuple(dict.fromkeys((*launch.unset, *cure.unset)))
    return launch.model_copy(update={"env": {**cure.env, **launch.env}, "unset": unset})


def needed_plan(cure: Cure) -> tuple[Plan, Recommendation]:
    """Return the plan under which PyTorch runs at all, for a host where nothing could be measured."""
    launch = with_cure(Launch(), cure)
    plan = Plan.of(Lever(id="needed", factor="environment", title=NEEDED_TITLE, launch=launch))
    recommendation = Recommendation(
        id="launch-overall",
        scope=OVERALL,
        plan=plan.id,
        title=f"Needed here: {setting(cure)}",
        why=f"Without that these die; with it, in fresh children, they ran to their end: {', '.join(cure.stages)}. "
        "How fast it then is was not measured: start hwdiag itself through the script for that.",
        risk="None known." if not cure.env else "A cap keeps a library from faster code that the CPU may have.",
        undo="Start the program without the launch script: nothing on the host is changed.",
    )
    return plan, recommendation
