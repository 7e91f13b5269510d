"""The verb about many hosts: fleet."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hwdiag.core.verbs import add, write

EXAMPLES = """  hwdiag fleet fetched                                # one line a host, the worst first
  hwdiag fleet fetched --html fleet.html --parquet fleet.parquet
  hwdiag fleet http://127.0.0.1:8000/ --json          # a listing of a web server"""
DETAILS = """what it reads:
  record.json and verification.json, in folders and all below them, or in what a listing at a URL leads to. What is
  damaged, too large or of a newer hwdiag is named in one line, and the others are looked at.

what it says of a host:
  what its own verification says; slower than it was, since when, and what changed then; slower than its kind; parts
  that its kind has and it has not; settings that nine of ten of its kind have otherwise; and what became of it:
  renamed, cloned, installed again, with other parts, with a clock that is wrong.

All that is said of speed shares one error budget: the chance of one false word or more about the whole fleet is 1 %.
Its exit status is 1 where a host has a problem."""


def register(verbs: Any) -> None:
    """Add this verb."""
    text = "which of many hosts are slow, broken or drifted? Worst first"
    add(verbs, "fleet", show_fleet, text, fleet_options, examples=EXAMPLES, details=DETAILS)


def fleet_options(fleet: argparse.ArgumentParser) -> None:
    """Add the options of ``fleet``."""
    from hwdiag.core.command_line import add_options
    from hwdiag.parameters.fleet import FleetParams

    add_options(fleet, FleetParams)
    fleet.add_argument("--html", type=Path, metavar="FILE", help="write a page there")
    fleet.add_argument("--parquet", type=Path, metavar="FILE", help="write a table there, one row a host")
    fleet.add_argument("--json", action="store_true", help="print all that was found as JSON")


def show_fleet(args: argparse.Namespace) -> int:
    """Run hwdiag fleet and return its exit status: 1 if a host has a problem."""
    from hwdiag.compare.fleet import show
    from hwdiag.compare.fleet.steps import load, read_fleet
    from hwdiag.compare.fleet.table import write_table
    from hwdiag.core.command_line import given
    from hwdiag.parameters.fleet import FleetParams

    params = load(given(args, FleetParams))
    found = read_fleet(params)
    if args.html:
        write(args.html, show.page(found))
    if args.parquet:
        write_table(found, args.parquet)
    if args.json:
        print(found.model_dump_json(indent=1))
    else:
        print(*show.lines(found, params.top), sep="\n")
    return int(any(host.severity == "problem" for host in found.hosts))
