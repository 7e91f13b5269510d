"""The verb about the packages: check."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from hwdiag.cli.common import add, terminal_width


def register(verbs: Any) -> None:
    """Add these verbs."""
    check = add(verbs, "check", check_packages, "will my stack run, and if it dies, what kills it?")
    check.add_argument("--python", metavar="PATH", help="interpreter whose packages are checked (default: this one)")
    check.add_argument(
        "--package", metavar="NAME", action="append", default=[], help="check only this one (may be given again)"
    )
    check.add_argument("--timeout", metavar="S", help="seconds after which a hanging child is killed (default: 120)")
    check.add_argument("--json", action="store_true", help="print all that was found as JSON, write nothing")
    check.add_argument(
        "--static",
        metavar="LEVEL",
        help="run nothing: which files contain code above this level, such as x86-64-v2+avx (dispatch unknown)",
    )


def check_packages(args: argparse.Namespace) -> int:
    """hwdiag check"""
    from hwdiag.show import compat
    from hwdiag.show.progress import terminal_progress
    from hwdiag.workbook.checking import Check, load

    asked = {"python": args.python, "packages": args.package or None, "child_timeout": args.timeout}
    check = Check(load({k: v for k, v in asked.items() if v is not None}), terminal_progress(sys.stderr))
    if args.static is not None:
        contents = check.contents(args.static)
        if args.json:
            print(json.dumps([c.model_dump() for c in contents], indent=1))
        else:
            print(compat.static_table(contents, args.static).to_text(terminal_width()))
        return 0
    survey = check.checked()
    if args.json:
        print(survey.model_dump_json(indent=1))
    else:
        tables = [compat.packages_table(survey)] if survey.results else []
        tables += [compat.culprit_table(r, r.culprit) for r in survey.crashed if r.culprit]
        tables += [compat.failures_table(survey)] if survey.failed else []
        for table in tables:
            print(table.to_text(terminal_width()), end="\n\n")
        print(check.save())
    return 1 if survey.failed or not survey.interpreter.outcome.ok else 0
