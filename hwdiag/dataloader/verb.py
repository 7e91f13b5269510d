"""The verb about the data that a training reads: dataloader."""

from __future__ import annotations

import argparse
import signal
import sys
from typing import Any

from hwdiag.core.verbs import add, add_wait

EXAMPLES = """  hwdiag dataloader --data ~/pictures --step-ms 120
  hwdiag dataloader --file my_dataset.py
  hwdiag dataloader --pid 4711                         # a training that runs already
  hwdiag dataloader -- python train.py                 # one that is started"""
DETAILS = """the file:
  def build_dataset():
      return MyDataset()               # or a pair: the Dataset, and what collates its samples
A Dataset that raises, hangs, leaks or cannot be sent to a worker is named, and nothing of it is left running.

a running training:
  --pid looks at it from outside for --seconds (20); a command is looked at to its end, and its exit status is
  hwdiag's. Also: hwdiag feed.
  py-spy, where it is installed, measures a training without workers too."""


def register(verbs: Any) -> None:
    """Add this verb."""
    add(
        verbs,
        "dataloader",
        feed_training,
        "does the data come fast enough? Storage and DataLoader",
        options,
        aliases=("feed",),
        examples=EXAMPLES,
        details=DETAILS,
    )


def options(feed: argparse.ArgumentParser) -> None:
    """Add the options of ``feed``, and those of looking at a training that runs."""
    from hwdiag.core.command_line import add_group, add_options
    from hwdiag.parameters.dataloader import FeedParams, WaitingParams

    add_options(feed, FeedParams)
    add_group(feed.add_argument_group("a running training"), WaitingParams)
    add_wait(feed)
    feed.add_argument("--json", action="store_true", help="print all that was found as JSON, and write nothing")


def feed_training(args: argparse.Namespace) -> int:
    """Run hwdiag dataloader."""
    if args.pid is not None or args.command:
        return watch_training(args)
    from hwdiag.core.command_line import given
    from hwdiag.core.verbosity import tell
    from hwdiag.dataloader.steps import Feeding, load
    from hwdiag.parameters.dataloader import FeedParams
    from hwdiag.process.measuring_lock import wait_for_others
    from hwdiag.report.progress import terminal_progress
    from hwdiag.report.table import Table
    from hwdiag.report.terminal import drawn

    params = load(given(args, FeedParams))
    wait_for_others(args.wait, tell)
    with terminal_progress(sys.stderr) as progress:
        run = Feeding(params, progress)
        run.plan()  # after all that is measured
    if args.json:
        print(run.feed.model_dump_json(indent=1, exclude_defaults=True))
    else:
        for section in (run.storage(), run.decoding(), run.memory(), run.chosen(), run.caches(), run.plan()):
            tables = [drawn(part) for part in section.parts if isinstance(part, Table)]
            print(section.verdict, *tables, sep="\n", end="\n\n")
        print(run.save())
    return 1 if run.feed.best is None else 0


def watch_training(args: argparse.Namespace) -> int:
    """Run hwdiag dataloader --pid or hwdiag dataloader -- command."""
    from hwdiag.core.command_line import given
    from hwdiag.core.verbs import status
    from hwdiag.dataloader.input_bound_show import waiting
    from hwdiag.dataloader.input_bound_steps import watch_command, watch_pid
    from hwdiag.parameters.dataloader import WaitingParams
    from hwdiag.parameters.diagnosis import load_topic
    from hwdiag.report.table import Table
    from hwdiag.report.terminal import drawn

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
        by_itself = ran is not None and ran.status not in (None, 0, -signal.SIGINT, 128 + signal.SIGINT)
        section = waiting(found, ran.outcome.detail if ran is not None and by_itself else "")
        tables = [drawn(part, stream) for part in section.parts if isinstance(part, Table)]
        print(section.verdict, *tables, sep="\n\n", file=stream)
    if ran is None:
        return 0 if found else 1
    if not ran.outcome.ok:
        print(f"hwdiag: {ran.outcome.detail}", file=sys.stderr)
    return status(ran.status, True, False)
