"""The verbs about what was recorded: compare, report."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from hwdiag.cli.common import add, terminal_width, write


def register(verbs: Any) -> None:
    """Add these verbs."""
    add(
        verbs, "compare", compare_records, "records side by side: what differs, how fast, what became slower",
        compare_options,
    )  # fmt: skip

    report = add(verbs, "report", write_report, "draw the report of a record, or of a host, and say what it found")
    report.add_argument("record", type=Path, nargs="?", help="a record's file, or the folder that holds it")
    report.add_argument("--host", metavar="NAME", help="of all records of this host: the newest study of each topic")
    report.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="where to write the HTML (default: beside the record, outputs/NAME.html)",
    )
    report.add_argument("--json", action="store_true", help="print findings and recommendations as JSON, write nothing")


def compare_options(compare: argparse.ArgumentParser) -> None:
    """Add the options of ``compare``."""
    from hwdiag.core.command_line import add_options
    from hwdiag.record.compare_params import CompareParams

    add_options(compare, CompareParams)
    compare.add_argument("--json", action="store_true", help="print all that was found as JSON")


def compare_records(args: argparse.Namespace) -> int:
    """hwdiag compare; exit status 1 if a host has become slower"""
    from hwdiag.core.command_line import given
    from hwdiag.record.compare_params import CompareParams
    from hwdiag.show.table import Table
    from hwdiag.workbook.comparing import Comparison, load

    found = Comparison(load(given(args, CompareParams)))
    if args.json:
        print(json.dumps(found.as_dict(), indent=1))
    else:
        for section in (found.overview(), found.differences(), found.speeds(), found.histories()):
            tables = [p.to_text(terminal_width()) for p in section.parts if isinstance(p, Table)]
            print(section.verdict, *tables, sep="\n", end="\n\n")
    return int(any(h.verdict == "worse" for h in found.history))


def write_report(args: argparse.Namespace) -> None:
    """hwdiag report"""
    from hwdiag.errors import UsageError
    from hwdiag.workbook.reporting import of_host, of_record

    if (args.record is None) == (args.host is None):
        raise UsageError("report what? Give a record or its folder, or --host NAME")
    report = of_record(args.record) if args.host is None else of_host(args.host)
    record = report.record
    if args.json:
        print(record.model_dump_json(indent=1, include={"verdict", "findings", "recommendations", "checks"}))
        return
    path = args.output or report.page
    html, lines = report.html(), list(report.lines())
    write(path, html)
    for table in report.tables():
        print(table.to_text(terminal_width()), end="\n\n")
    for line in (*lines, *(f"left out: {line}" for line in report.left_out)):
        print(line)
    print(f"report: {path}", *([record.verdict] if record.verdict else []), sep="\n")
