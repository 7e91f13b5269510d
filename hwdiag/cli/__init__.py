"""The command line: the workbook's steps for a terminal. Imports what a verb needs only when it runs."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec

from hwdiag import __version__
from hwdiag.audit import verb as audit
from hwdiag.cli import machine
from hwdiag.compare import verb as compare
from hwdiag.compat import verb as compat
from hwdiag.core.errors import HwdiagError
from hwdiag.core.printing import PrintingError, abandon_output, printable
from hwdiag.core.verbs import add_options
from hwdiag.dataloader import verb as dataloader
from hwdiag.devices import verb as devices
from hwdiag.diagnose import report_verb as report
from hwdiag.diagnose import verb as diagnose
from hwdiag.estimate import verb as estimate
from hwdiag.explain import verb as explain
from hwdiag.monitor import verb as monitor
from hwdiag.profile import verb as profile

EPILOG = """examples:
  hwdiag host                          what is this machine?
  hwdiag run --budget quick            measure, recommend, write a report (about a minute)
  hwdiag run --python ~/ComfyUI/venv/bin/python
  hwdiag explain -- python train.py    what is wrong with this program here?
  hwdiag explain --pid 4711            the same of one that runs already
  hwdiag tune -- python train.py       what makes this command faster?
  hwdiag tune --metric 'speed: ([0-9.]+) it/s' --higher-is-better -- python train.py
  hwdiag tune --file my_model.py --goal throughput
  hwdiag snapshot spark.tar.gz         save this host's facts, to look at them elsewhere:
  hwdiag host --snapshot spark.tar.gz
  hwdiag estimate llama-7b --decode    what would other machines do with it?
  hwdiag compare outputs               hosts side by side, and what became slower
  hwdiag devices                       CPU against GPU: which precision and technique pays?
  hwdiag dataloader --data ~/pictures  does the data come fast enough? What to give a DataLoader
  hwdiag dataloader -- python train.py does this training wait for its data?
  hwdiag compat                        which packages die here, and of what?
  hwdiag audit                         how is this host set, and what of that helps?
  hwdiag monitor -- python train.py    what does the machine do meanwhile?
  hwdiag report outputs/dgx/20261120T101500Z
Nothing here changes the host, and nothing needs root."""


def main(argv: Sequence[str] | None = None, loaded: Callable[[], object] = lambda: None) -> int:
    """Run the command line and return the exit status: 0 done, 1 nothing useful came out, 2 wrong usage, 130
    interrupted.

    ``loaded`` is called when everything is imported that the verb needs, and nothing has begun.
    """
    words = sys.argv[1:] if argv is None else argv
    try:
        try:
            args = parser(next((w for w in words if not w.startswith("-")), "")).parse_args(words)
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


def parser(verb: str = "") -> argparse.ArgumentParser:
    """Return all verbs with their help, this one with its options too: what it needs is imported for no other."""
    top = argparse.ArgumentParser(
        prog="hwdiag",
        description="Guided diagnostics for Linux hosts that run PyTorch: measures what is fastest on this machine.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"hwdiag {__version__}")
    verbs = top.add_subparsers(title="verbs", required=True, metavar="VERB")

    for topic in (
        machine,
        diagnose,
        explain,
        audit,
        compat,
        dataloader,
        devices,
        monitor,
        profile,
        estimate,
        compare,
        report,
    ):
        topic.register(verbs)
    add_options(verbs, verb)
    return top
