"""The command line: the workbook's steps for a terminal. Imports what a verb needs only when it runs."""

from __future__ import annotations

import argparse
import contextlib
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from hwdiag import __version__
from hwdiag.audit import verb as audit
from hwdiag.cli import about, machine
from hwdiag.cli.parser import SUPPORT, CommandParser, parse
from hwdiag.compare import verb as compare
from hwdiag.compare.fleet import verb as fleet
from hwdiag.compat import verb as compat
from hwdiag.core.errors import HwdiagError
from hwdiag.core.printing import PrintingError, abandon_output, printable
from hwdiag.core.verbosity import choose, is_verbose
from hwdiag.core.verbs import add_options
from hwdiag.dataloader import verb as dataloader
from hwdiag.devices import verb as devices
from hwdiag.diagnose import emit_verb as emit
from hwdiag.diagnose import report_verb as report
from hwdiag.diagnose import verb as diagnose
from hwdiag.estimate import verb as estimate
from hwdiag.explain import verb as explain
from hwdiag.monitor import verb as monitor
from hwdiag.profile import verb as profile
from hwdiag.verify import verb as verify

TOPICS = (
    diagnose,
    explain,
    machine,
    audit,
    compat,
    dataloader,
    devices,
    monitor,
    profile,
    estimate,
    verify,
    compare,
    fleet,
    report,
    emit,
    about,
)
"""Modules that add verbs, in the order in which help lists them."""
EPILOG = f"""examples:
  hwdiag host                          # what is this machine?
  hwdiag diagnose --budget quick       # measure, recommend, write a report: a minute and a half
  hwdiag explain -- python train.py    # what is wrong with this program here?
  hwdiag tune -- python train.py       # what makes this command faster?

'hwdiag VERB --help' shows a verb's options and examples, 'hwdiag help VERB' all of its manual.
Nothing here changes the host, and nothing needs root.
{SUPPORT}"""


def main(argv: Sequence[str] | None = None, loaded: Callable[[], object] = lambda: None) -> int:
    """Run the command line and return the exit status: 0 done, 1 nothing useful came out, 2 wrong usage, 130
    interrupted.

    ``loaded`` is called when everything is imported that the verb needs, and nothing has begun.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        try:
            args = parsed(words)
            choose(args.quiet, args.verbose)
            load_steps(args.verb.__module__)
            loaded()
            return int(args.verb(args) or 0)
        finally:
            sys.stdout.flush()  # here, where it can be told that there is no space
    except HwdiagError as error:
        return failed(str(error), error.exit_status)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        abandon_output()
        return 0
    except OSError as error:  # of this host: no space, no more processes or files, a file that went away
        return failed(": ".join(filter(None, (str(error.filename or ""), error.strerror or str(error)))), 1)
    except MemoryError:
        return failed("there is not enough memory for it (ulimit -v, or the machine's)", 1)
    except KeyboardInterrupt:
        print("hwdiag: interrupted; nothing is left running", file=sys.stderr)
        return 130
    except Exception as error:
        if is_verbose():
            raise
        return failed(internal(error), 1)


def internal(error: Exception) -> str:
    """Return the line that tells a fault of hwdiag's own."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(last.filename).name}, line {last.lineno}"
    return (
        f"a fault of hwdiag: {type(error).__name__} in {where}: {' '.join(str(error).split())[:200]}; the same command "
        "with -v shows more, and 'hwdiag bugreport' writes a file to report it with"
    )


def failed(why: str, status: int) -> int:
    """Say in one line why nothing came of it, and return the exit status."""
    try:
        sys.stdout.flush()
    except (OSError, PrintingError):
        abandon_output()
    with contextlib.suppress(OSError, ValueError):  # nobody hears it
        print(f"hwdiag: {printable(why)}", file=sys.stderr)
    return status


def load_steps(module: str) -> None:
    """Import the steps of the topic that a verb's module belongs to, where it has some."""
    steps = f"{module.rpartition('.')[0]}.steps"
    if find_spec(steps):
        import_module(steps)


def parsed(words: list[str]) -> argparse.Namespace:
    """Return what was asked for. ``hwdiag`` and ``hwdiag help`` ask for help, ``hwdiag help VERB`` for all of it."""
    asks, verb = words[:1] == ["help"], next((w for w in words if w != "help"), "")
    top, verbs = make_parser(verb)
    if asks and verb in verbs:
        verbs[verb].epilog = "\n\n".join(filter(None, (verbs[verb].epilog, verbs[verb].get_default("details"))))
    return parse(top, verbs, [*([verb] if verb else []), "--help"] if asks or not words else words)


def make_parser(verb: str = "") -> tuple[CommandParser, dict[str, CommandParser]]:
    """Return the parser of all verbs with theirs by name; this one has its options, since what it needs is imported for
    no other."""
    top = CommandParser(
        prog="hwdiag",
        usage="hwdiag VERB [OPTIONS]",
        description="Diagnoses how PyTorch runs on this Linux host, and measures what makes it faster.",
        epilog=EPILOG,
    )
    top.add_argument("--version", action="version", version=f"hwdiag {__version__}")
    verbs = top.add_subparsers(title="verbs", required=True, metavar="VERB", prog="hwdiag", parser_class=CommandParser)

    for topic in TOPICS:
        topic.register(verbs)
    add_options(verbs, verb)
    verbs.choices["completion"].set_defaults(whole=(top, verbs.choices))
    for sub in verbs.choices.values():
        sub.shorten_usage()
    return top, verbs.choices
