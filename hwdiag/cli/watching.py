"""The verb that watches the machine while it works: monitor."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from hwdiag.cli.common import add, terminal_width

EPILOG = """the command:
  has this terminal's input and output, and gets the signals that hwdiag gets, Ctrl-C too; the third one kills it.
  Its exit status is hwdiag's (128 + N if signal N ended it), and all that it leaves running is killed.
  Each line that it writes to the pipe $HWDIAG_MARKS becomes a mark on the time axis: echo epoch 2 > "$HWDIAG_MARKS".
  'hwdiag run' and 'hwdiag tune' write their phases there by themselves.

Without a command it watches what runs anyway: for --seconds, or until Ctrl-C."""


def register(verbs: Any) -> None:
    """Add these verbs."""
    monitor = add(verbs, "monitor", watch, "watch the machine, beside a command or alone, into a Parquet file")
    monitor.epilog = EPILOG
    monitor.formatter_class = argparse.RawDescriptionHelpFormatter
    monitor.add_argument("command", nargs="*", metavar="COMMAND", help="the command with its arguments, behind --")
    monitor.add_argument("--hz", metavar="N", help="samples a second, 1 to 10 (default: 2)")
    monitor.add_argument("--seconds", metavar="S", help="how long; a command is killed then (default: to its end)")
    monitor.add_argument("--out", type=Path, metavar="FOLDER", help="where to write (default: outputs/<host>/<time>)")
    monitor.add_argument("--json", action="store_true", help="print the summary as JSON")


def watch(args: argparse.Namespace) -> int:
    """hwdiag monitor"""
    from hwdiag.show import monitor as show
    from hwdiag.workbook.monitoring import Monitor, load

    params = load({"hz": args.hz, "seconds": args.seconds, "command": tuple(args.command) or None})
    # What a command prints is its own: as time(1), hwdiag says its part on the standard error.
    stream = sys.stderr if params.command else sys.stdout
    run = Monitor(params, folder(args.out))
    stdio = (sys.stdin.fileno(), sys.stdout.fileno(), sys.stderr.fileno()) if params.command else None
    if not params.command and stream.isatty() and params.seconds is None:
        print("watching until Ctrl-C", file=sys.stderr)
    watched = None if params.command else sys.stderr
    done = run.watch(params.seconds, lambda columns: show.terminal_live(columns, watched), stdio)
    if stream.isatty() and not params.command:
        print(file=sys.stderr)
    saved = run.save()
    if args.json:
        print(done.model_dump_json(indent=1), file=stream)
    else:
        tables = (show.percentiles(done.monitored), show.marks_table(done.monitored), show.absent_table(done.monitored))
        parts = [*(t.to_text(terminal_width()) for t in tables if t is not None), show.cost(done.monitored), saved]
        print("\n\n".join(parts), file=stream)
    return status(done.monitored.status, bool(params.command), bool(done.monitored.cut))


def folder(given: Path | None) -> Path | None:
    """The folder that was asked for, made if need be. Raises ``HwdiagError`` where it cannot be."""
    from hwdiag.record.store import require_writable

    if given is not None:
        require_writable(given)
    return given


def status(of_command: int | None, ran: bool, cut: bool) -> int:
    """hwdiag's exit status: the command's as a shell would tell it, 124 if its time was up as timeout(1) does."""
    if not ran:
        return int(cut)
    if of_command is None:
        return 124
    return 128 - of_command if of_command < 0 else of_command or int(cut)
