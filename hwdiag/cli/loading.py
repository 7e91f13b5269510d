"""The verb about the data that a training reads: feed."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from hwdiag.cli.common import add, terminal_width

EPILOG = """the file:
  def build_dataset():
      return MyDataset()               # or a pair: the Dataset, and what collates its samples
A Dataset that raises, hangs, leaks or cannot be sent to a worker is named, and nothing of it is left running.

a running training:
  hwdiag feed --pid 4711               does it wait for its data? Looked at from outside for --seconds (20)
  hwdiag feed -- python train.py       the same of a command, to its end, whose exit status is hwdiag's
  py-spy, where it is installed, tells it of a training without workers too."""


def register(verbs: Any) -> None:
    """Add this verb."""
    feed = add(verbs, "feed", feed_training, "does the data come fast enough? Storage, decoders and the DataLoader")
    feed.epilog = EPILOG
    feed.formatter_class = argparse.RawDescriptionHelpFormatter
    feed.add_argument("--data", dest="data_dir", metavar="FOLDER", help="JPEG and PNG pictures (default: made here)")
    feed.add_argument("--file", dest="dataset_file", metavar="FILE", help="Python file with a build_dataset()")
    feed.add_argument("--python", metavar="PATH", help="interpreter whose torch loads; hwdiag need not be in it")
    feed.add_argument("--budget", metavar="B", help="quick, standard or thorough (default: standard)")
    feed.add_argument("--minutes", metavar="M", help="time for all measurements (default: as the budget says)")
    feed.add_argument("--batch-size", metavar="N", help="samples of one batch (default: 32)")
    feed.add_argument("--batch-sizes", metavar="N,N", help="others to try, though they change the training")
    feed.add_argument("--cache", dest="cache_dir", metavar="FOLDER", help="where a cache of samples could be")
    feed.add_argument("--step-ms", metavar="MS", help="time of one training step: then, does the training ever wait?")
    feed.add_argument("--timeout", dest="child_timeout", metavar="S", help="wait for one batch (default: 30)")
    feed.add_argument("--pid", type=int, metavar="PID", help="a running training: does it wait for its data?")
    feed.add_argument("--seconds", type=float, metavar="S", help="how long a running training is looked at")
    feed.add_argument("command", nargs="*", metavar="COMMAND", help="a training to start and to look at, behind --")
    feed.add_argument("--json", action="store_true", help="print all that was found as JSON, and write nothing")


def feed_training(args: argparse.Namespace) -> int:
    """hwdiag feed"""
    if args.pid is not None or args.command:
        return watch_training(args)
    from hwdiag.show.progress import terminal_progress
    from hwdiag.show.table import Table
    from hwdiag.workbook.feeding import Feeding, FeedParams, load

    values = {name: getattr(args, name, None) for name in FeedParams.model_fields}
    run = Feeding(load({k: v for k, v in values.items() if v is not None}), terminal_progress(sys.stderr))
    if args.json:
        print(run.feed.model_dump_json(indent=1, exclude_defaults=True))
    else:
        for section in (run.storage(), run.decoding(), run.memory(), run.chosen(), run.caches(), run.plan()):
            tables = [part.to_text(terminal_width()) for part in section.parts if isinstance(part, Table)]
            print(section.verdict, *tables, sep="\n", end="\n\n")
        print(run.save())
    return 1 if run.feed.best is None else 0


def watch_training(args: argparse.Namespace) -> int:
    """hwdiag feed --pid, hwdiag feed -- command"""
    from hwdiag.cli.watching import status
    from hwdiag.errors import UsageError
    from hwdiag.show.table import Table
    from hwdiag.show.waiting import waiting
    from hwdiag.workbook.waiting import watch_command, watch_pid

    if args.pid is not None and args.command:
        raise UsageError("give either --pid or a command")
    if args.seconds is not None and args.seconds <= 0:
        raise UsageError("--seconds must be above 0")
    ran = None
    if args.command:
        stdio = (sys.stdin.fileno(), sys.stdout.fileno(), sys.stderr.fileno())
        found, ran = watch_command(args.command, args.seconds, stdio)
    else:
        found = watch_pid(args.pid, args.seconds)
    stream = sys.stderr if args.command else sys.stdout  # what a command prints is its own
    if args.json:
        print("[" + ",\n".join(w.model_dump_json(indent=1) for w in found) + "]", file=stream)
    else:
        section = waiting(found)
        tables = [part.to_text(terminal_width()) for part in section.parts if isinstance(part, Table)]
        print(section.verdict, *tables, sep="\n\n", file=stream)
    if ran is None:
        return 0 if found else 1
    if not ran.outcome.ok:
        print(f"hwdiag: {ran.outcome.detail}", file=sys.stderr)
    return status(ran.status, True, False)
