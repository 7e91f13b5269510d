"""The verb that explains a person's program: explain."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwdiag.core.verbs import add, status, terminal_width

if TYPE_CHECKING:
    from hwdiag.explain.steps import Explained

EXAMPLES = """  hwdiag explain -- python train.py    # runs it once, as it is
  hwdiag explain --pid 4711            # one that runs already"""
DETAILS = """the command:
  runs once, as it is, with this terminal's input and output; nothing in it is changed, and it gets the signals that
  hwdiag gets, Ctrl-C too. Its exit status is hwdiag's, and all that it leaves running is ended. What hwdiag says goes
  to the standard error, behind what the command prints. hwdiag need not be installed in the command's Python.
  Its Python processes are looked at from inside by a sitecustomize at the front of PYTHONPATH, which records some
  seconds of PyTorch's operations; --no-inside looks from outside alone.

what it costs:
  from outside 1.3 to 1.9 % of one core, and from inside about 2 % of one for each process with torch, both measured on
  a busy machine; each run says what it took. While operations are recorded, for some seconds, small ones take longer;
  when the command has ended, its heaviest operations may be timed again for some seconds.

a process that runs:
  hwdiag explain --pid 4711    looks from outside for --seconds (20); it is not stopped and not changed.

The next steps are commands to copy: hwdiag tune, dataloader, devices, check."""


def register(verbs: Any) -> None:
    """Add this verb."""
    text = "what is wrong with my program here, slow or dead?"
    add(verbs, "explain", run_explain, text, options, examples=EXAMPLES, details=DETAILS)


def options(explain: argparse.ArgumentParser) -> None:
    """Add the options of ``explain``."""
    from hwdiag.core.command_line import add_options
    from hwdiag.parameters.watching import ExplainParams

    add_options(explain, ExplainParams)
    explain.add_argument("--out", type=Path, metavar="FOLDER", help="where to write (default: outputs/<host>/<time>)")
    explain.add_argument("--json", action="store_true", help="print all that was found as JSON")


def run_explain(args: argparse.Namespace) -> int:
    """Run hwdiag explain."""
    from hwdiag.core.command_line import given
    from hwdiag.core.verbosity import tell
    from hwdiag.explain import show
    from hwdiag.explain.explain import explain
    from hwdiag.explain.steps import Explained, load
    from hwdiag.parameters.watching import ExplainParams
    from hwdiag.record.store import writable
    from hwdiag.report.terminal import drawn

    params = load(given(args, ExplainParams))
    run = Explained(params, writable(args.out))
    stream = sys.stderr if params.command else sys.stdout  # what a command prints is its own
    if params.command:
        tell("the command runs once, as it is")
    program = run.look((sys.stdin.fileno(), sys.stdout.fileno(), sys.stderr.fileno()))
    run.done = explain(program, run.host)
    if args.json:
        print(run.done.model_dump_json(indent=1), file=stream)
    else:
        width = terminal_width(stream)
        tables = (show.looked_at(run.done), show.where_the_time_went(run.done), show.next_steps(run.done))
        looked, time, steps = (drawn(t, stream) if t is not None else "" for t in tables)
        said = show.time_words(run.done.shares)
        parts = (looked, time, said, show.findings_text(run.done, width), steps, show.cost(run.done))
        print("\n\n".join(part for part in parts if part), file=stream)
        print(f"\n{saved(run)}", file=stream)
    return status(program.ending.status, bool(params.command), False)


def saved(run: Explained) -> str:
    """Save what was found and return where; why not, where it cannot be written: the program is not run again for
    that."""
    from hwdiag.core.errors import HwdiagError
    from hwdiag.explain import show

    try:
        return run.save()
    except HwdiagError as error:
        return f"{show.verdict(run.done)}\nNot saved: {error}"
