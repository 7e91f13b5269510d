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
    feed = add(
        verbs, "feed", feed_training, "does the data come fast enough? Storage, decoders and the DataLoader", options
    )
    feed.epilog = EPILOG
    feed.formatter_class = argparse.RawDescriptionHelpFormatter


def options(feed: argparse.ArgumentParser) -> None:
    """Add the options of ``feed``, and those of looking at a training that runs."""
    from hwdiag.core.command_line import add_group, add_options
    from hwdiag.feeding.params import FeedParams, WaitingParams

    add_options(feed, FeedParams)
    add_group(feed.add_argument_group("a running training"), WaitingParams)
    feed.add_argument("--json", action="store_true", help="print all that was found as JSON, and write nothing")


def feed_training(args: argparse.Namespace) -> int:
    """hwdiag feed"""
    if args.pid is not None or args.command:
        return watch_training(args)
    from hwdiag.core.command_line import given
    from hwdiag.feeding.params import FeedParams
    from hwdiag.show.progress import terminal_progress
    from hwdiag.show.table import Table
    from hwdiag.workbook.feeding import Feeding, load

    run = Feeding(load(given(args, FeedParams)), terminal_progress(sys.stderr))
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
    from hwdiag.core.command_line import given
    from hwdiag.feeding.params import WaitingParams
    from hwdiag.params import load_topic
    from hwdiag.show.table import Table
    from hwdiag.show.waiting import waiting
    from hwdiag.workbook.waiting import watch_command, watch_pid

    params = load_topic(WaitingParams, given(args, WaitingParams))
    ran = None
    if params.command:
        stdio = (sys.stdin.fileno(), sys.stdout.fileno(), sys.stderr.fileno())
        found, ran = watch_command(params.command, params.seconds, stdio)
    else:
        assert params.pid is not None  # or this would not have been called
        found = watch_pid(params.pid, params.seconds)
    stream = sys.stderr if params.command else sys.stdout  # what a command prints is its own
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
