"""The verb about records side by side: compare."""

from __future__ import annotations

import argparse
import json
from typing import Any

from hwdiag.core.verbs import add

EXAMPLES = """  hwdiag compare outputs
  hwdiag compare outputs --host box          # exit status 1 if it became slower
  hwdiag compare outputs --part epyc-9654    # beside a part of the catalogue"""


def register(verbs: Any) -> None:
    """Add this verb."""
    add(
        verbs,
        "compare",
        compare_records,
        "how do hosts and dates compare, and what became slower?",
        compare_options,
        examples=EXAMPLES,
    )


def compare_options(compare: argparse.ArgumentParser) -> None:
    """Add the options of ``compare``."""
    from hwdiag.core.command_line import add_options
    from hwdiag.parameters.compare import CompareParams

    add_options(compare, CompareParams)
    compare.add_argument("--json", action="store_true", help="print all that was found as JSON")


def compare_records(args: argparse.Namespace) -> int:
    """Run hwdiag compare and return its exit status: 1 if a host has become slower."""
    from hwdiag.compare.steps import RecordComparison, load
    from hwdiag.core.command_line import given
    from hwdiag.parameters.compare import CompareParams
    from hwdiag.report.table import Table
    from hwdiag.report.terminal import drawn

    found = RecordComparison(load(given(args, CompareParams)))
    if args.json:
        print(json.dumps(found.as_dict(), indent=1))
    else:
        for section in (found.overview(), found.differences(), found.speeds(), found.histories()):
            tables = [drawn(p) for p in section.parts if isinstance(p, Table)]
            print(section.verdict, *tables, sep="\n", end="\n\n")
    return int(any(h.verdict == "worse" for h in found.history))
