"""The verb about the data that a training reads: feed."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from hwdiag.cli.common import add, terminal_width

EPILOG = """the file:
  def build_dataset():
      return MyDataset()               # or a pair: the Dataset, and what collates its samples
A Dataset that raises, hangs, leaks or cannot be sent to a worker is named, and nothing of it is left running."""


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
    feed.add_argument("--step-ms", metavar="MS", help="time of one training step: then, does the training ever wait?")
    feed.add_argument("--timeout", dest="child_timeout", metavar="S", help="wait for one batch (default: 30)")
    feed.add_argument("--json", action="store_true", help="print all that was found as JSON, and write nothing")


def feed_training(args: argparse.Namespace) -> int:
    """hwdiag feed"""
    from hwdiag.show.progress import terminal_progress
    from hwdiag.show.table import Table
    from hwdiag.workbook.feeding import Feeding, FeedParams, load

    values = {name: getattr(args, name, None) for name in FeedParams.model_fields}
    run = Feeding(load({k: v for k, v in values.items() if v is not None}), terminal_progress(sys.stderr))
    if args.json:
        print(run.feed.model_dump_json(indent=1, exclude_defaults=True))
    else:
        for section in (run.storage(), run.decoding(), run.memory(), run.chosen(), run.plan()):
            tables = [part.to_text(terminal_width()) for part in section.parts if isinstance(part, Table)]
            print(section.verdict, *tables, sep="\n", end="\n\n")
        print(run.save())
    return 1 if run.feed.best is None else 0
