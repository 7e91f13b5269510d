"""The verb that draws a record's report again: report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hwdiag.core.verbs import add, write


def register(verbs: Any) -> None:
    """Add these verbs."""

    text = "draw the report of a record or of a host again"
    examples = "  hwdiag report outputs/dgx/20261120T101500Z\n  hwdiag report --host dgx    # the newest of each topic"
    report = add(verbs, "report", write_report, text, examples=examples)
    report.add_argument("record", type=Path, nargs="?", help="a record's file, or the folder that holds it")
    report.add_argument("--host", metavar="NAME", help="of all records of this host: the newest study of each topic")
    report.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="where to write the HTML (default: beside the record, outputs/NAME.html)",
    )
    report.add_argument("--json", action="store_true", help="print findings and recommendations as JSON, write nothing")


def write_report(args: argparse.Namespace) -> None:
    """Run hwdiag report."""
    from hwdiag.core.errors import UsageError
    from hwdiag.diagnose.report_steps import of_host, of_record
    from hwdiag.report.terminal import drawn

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
        print(drawn(table), end="\n\n")
    for line in (*lines, *(f"left out: {line}" for line in report.left_out)):
        print(line)
    print(f"report: {path}", *([record.verdict] if record.verdict else []), sep="\n")
