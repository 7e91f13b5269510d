"""The verb about how this host is set: audit."""

from __future__ import annotations

import argparse
from typing import Any

from hwdiag.core.verbs import add

EXAMPLES = """  hwdiag audit                                        # what was seen to go wrong
  hwdiag audit --all                                  # every setting that is known
  hwdiag audit --knob vm.swappiness --knob gpu        # scripts that set these, and undo it"""


def register(verbs: Any) -> None:
    """Add this verb."""
    add(
        verbs,
        "audit",
        audit_host,
        "how is this host set, and what of that helps or harms?",
        audit_options,
        examples=EXAMPLES,
    )


def audit_options(audit: argparse.ArgumentParser) -> None:
    """Add the options of ``audit``."""
    from hwdiag.core.command_line import add_options
    from hwdiag.parameters.audit import AuditParams

    add_options(audit, AuditParams)
    audit.add_argument("--all", action="store_true", help="show every setting that is known")
    audit.add_argument("--json", action="store_true", help="print all that was found as JSON, write nothing")


def audit_host(args: argparse.Namespace) -> int:
    """Run hwdiag audit."""
    from hwdiag.audit import show
    from hwdiag.audit.steps import AuditRun, load
    from hwdiag.core.command_line import given
    from hwdiag.parameters.audit import AuditParams
    from hwdiag.report.terminal import drawn

    run = AuditRun(load(given(args, AuditParams)))
    if args.json:
        print(run.audit.model_dump_json(indent=1))
        return 0
    print(drawn(show.settings_table(run.audit, everything=args.all)), end="\n\n")
    print(drawn(show.symptoms_table(run.audit)), end="\n\n")
    print(run.save())
    return 0
