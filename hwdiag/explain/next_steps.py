"""Commands that a person may try next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from hwdiag.core.finding import Finding
from hwdiag.explain.model import Case, NextStep
from hwdiag.process.outcome import SIGNAL_MEANING

INPUT_BOUND = "input-bound"
"""Beginning of the ids of findings about data that comes too late."""
DIES_OF_CODE = ("SIGILL", "SIGSEGV", "SIGABRT", "SIGFPE")
"""Signals after which the packages are worth a look."""
assert set(DIES_OF_CODE) <= set(SIGNAL_MEANING)


def next_steps(case: Case, findings: Sequence[Finding]) -> tuple[NextStep, ...]:
    """Return the commands that may help further, the most promising first."""
    return tuple(dict.fromkeys(_steps(case, findings)))


def _steps(case: Case, findings: Sequence[Finding]) -> Iterator[NextStep]:
    program = case.program
    outcome = program.ending.outcome
    if not outcome.ok:
        if any(name in outcome.detail for name in DIES_OF_CODE):
            yield NextStep(command=f"hwdiag check{python_option(case)}", why="which package and which instruction died")
        return
    if any(f.id.startswith(INPUT_BOUND) for f in findings):
        yield NextStep(
            command=f"hwdiag dataloader --data FOLDER{python_option(case)}",
            why="measures storage, decoders and settings of the DataLoader on your data",
        )
    if any(p.torch for p in program.processes) and program.command:
        yield NextStep(
            command=f"hwdiag tune -- {shlex.join(program.command)}",
            why="measures threads, binding and allocators on this very command, which it runs many times",
        )
        yield NextStep(command=f"hwdiag devices{python_option(case)}", why="what precision and compilation give here")


def python_option(case: Case) -> str:
    """Return ``--python`` with the program's own interpreter; nothing where it is not known."""
    interpreters = (p for p in case.computing if "python" in p.executable.rpartition("/")[2])
    process = next(interpreters, None)
    if process is None:
        return ""
    # The link of a virtual environment, not what it points to: that one has other packages.
    called = process.command[0] if process.command and "/" in process.command[0] else process.executable
    return f" --python {shlex.quote(called)}"
