"""The verbs that watch a person's own work: monitor looks at the machine, profile into PyTorch."""

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
PROFILE_EPILOG = """the command:
  runs as it is, with its own Python; nothing in it is changed, and hwdiag need not be installed there.
  Each of its Python processes that imports torch is recorded, but for DataLoader workers, from then on for --seconds,
  or until it has grown by 1 GiB; a long training goes on without. Of more than --events, the first are kept.
  A recording from the start has the cold start in it: --after 30 looks later. The exit status is the command's.

the file:
  has a function build() as for 'hwdiag tune', whose result is called warm, as often as fits --seconds and --events.

The trace opens in Perfetto (ui.perfetto.dev) and chrome://tracing; 'tensorboard --logdir FOLDER' with the plugin
torch-tb-profiler finds it by its name. Where several processes were traced, the largest trace is the one analysed."""


def register(verbs: Any) -> None:
    """Add these verbs."""
    monitor = add(
        verbs, "monitor", watch, "watch the machine, beside a command or alone, into a Parquet file", monitor_options
    )
    monitor.epilog = EPILOG
    monitor.formatter_class = argparse.RawDescriptionHelpFormatter

    text = "a script of your own under torch.profiler: what bounds it, and by how much"
    profile = add(verbs, "profile", run_profile, text, profile_options)
    profile.epilog = PROFILE_EPILOG
    profile.formatter_class = argparse.RawDescriptionHelpFormatter


def monitor_options(monitor: argparse.ArgumentParser) -> None:
    """Add the options of ``monitor``."""
    from hwdiag.core.command_line import add_options
    from hwdiag.measure.watch_params import MonitorParams

    add_options(monitor, MonitorParams)
    monitor.add_argument("--out", type=Path, metavar="FOLDER", help="where to write (default: outputs/<host>/<time>)")
    monitor.add_argument("--json", action="store_true", help="print the summary as JSON")


def profile_options(profile: argparse.ArgumentParser) -> None:
    """Add the options of ``profile``."""
    from hwdiag.core.command_line import add_options
    from hwdiag.measure.watch_params import ProfileParams

    add_options(profile, ProfileParams)
    profile.add_argument("--out", type=Path, metavar="FOLDER", help="where to write (default: outputs/<host>/<time>)")
    profile.add_argument("--json", action="store_true", help="print what was found as JSON")


def watch(args: argparse.Namespace) -> int:
    """hwdiag monitor"""
    from hwdiag.core.command_line import given
    from hwdiag.measure.watch_params import MonitorParams
    from hwdiag.show import monitor as show
    from hwdiag.workbook.monitoring import Monitor, load

    params = load(given(args, MonitorParams))
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


def run_profile(args: argparse.Namespace) -> int:
    """hwdiag profile"""
    from hwdiag.core.command_line import given
    from hwdiag.measure.watch_params import ProfileParams
    from hwdiag.params import load_topic
    from hwdiag.show import profile as show
    from hwdiag.workbook.profiling import profile_own, save

    params = load_topic(ProfileParams, given(args, ProfileParams))
    done, place = profile_own(params, folder(args.out))
    written = save(done, place)
    stream = sys.stdout if params.workload_file else sys.stderr
    if args.json:
        print(done.model_dump_json(indent=1), file=stream)
        return status(done.status, True, False)
    assert done.traced is not None
    tables = (show.operations(done.traced), show.idle(done.traced))
    parts = [*(t.to_text(terminal_width()) for t in tables), "\n".join(show.summary(done)), show.verdict(done), written]
    print("\n\n".join(parts), file=stream)
    return status(done.status, True, False)
