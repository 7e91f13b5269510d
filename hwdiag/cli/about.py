"""The verbs about hwdiag itself: bugreport, completion, schema."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hwdiag.core.choices import SHELLS
from hwdiag.core.errors import UsageError
from hwdiag.core.params import one_of
from hwdiag.core.verbs import add

SCHEMAS = ("record", "verification")
"""Files that other programs read."""


def register(verbs: Any) -> None:
    """Add these verbs."""
    text = "write one file to attach to a report of a fault, without names"
    examples = "  hwdiag bugreport\n  hwdiag bugreport fault.tar.gz --record outputs/box/20261120T152406Z"
    report = add(verbs, "bugreport", bug_report, text, examples=examples)
    report.add_argument("file", nargs="?", type=Path, metavar="FILE", default=Path("hwdiag-bugreport.tar.gz"),
                        help="where to write it (default: hwdiag-bugreport.tar.gz)")  # fmt: skip
    report.add_argument("--record", type=Path, metavar="FILE", help="record or its folder (default: the newest)")

    text = "print the completion of a shell: bash, zsh or tcsh"
    examples = "  hwdiag completion bash >~/.local/share/bash-completion/completions/hwdiag"
    completion = add(verbs, "completion", print_completion, text, examples=examples)
    completion.add_argument("shell", metavar="SHELL", help=" or ".join(SHELLS))

    text = "print the JSON Schema of what hwdiag writes"
    examples = "  hwdiag schema >record-schema.json         # of record.json\n  hwdiag schema verification"
    schema = add(verbs, "schema", print_schema, text, examples=examples)
    schema.add_argument("of", nargs="?", metavar="|".join(SCHEMAS), default="record", help="default: record")


def bug_report(args: argparse.Namespace) -> None:
    """Run hwdiag bugreport."""
    from hwdiag.cli.bug_report import write_bug_report

    held = write_bug_report(args.file, args.record)
    print(f"wrote {args.file}: {', '.join(held)}, without names; look at it before you attach it")


def print_completion(args: argparse.Namespace) -> None:
    """Run hwdiag completion."""
    from hwdiag.cli.texts import completion

    print(completion(args.shell, *args.whole))


def print_schema(args: argparse.Namespace) -> None:
    """Run hwdiag schema."""
    import json

    from hwdiag.diagnose.schema import SCHEMAS as MADE

    try:
        one_of(args.of, SCHEMAS, "schema of")
    except ValueError as error:
        raise UsageError(str(error)) from None
    print(json.dumps(MADE[args.of](), indent=1))
