"""The verb about the packages: compat."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from hwdiag.core.verbs import add

EXAMPLES = """  hwdiag compat                                        # every package with native code
  hwdiag compat --python ~/ComfyUI/venv/bin/python     # those of another interpreter
  hwdiag compat --static x86-64-v2+avx                 # runs nothing"""


def register(verbs: Any) -> None:
    """Add these verbs."""
    add(
        verbs,
        "compat",
        check_packages,
        "will my stack run, and if it dies, what kills it?",
        options,
        aliases=("check",),
        examples=EXAMPLES,
        details="Each package is imported in a child of its own, so that none ends the check. Also: hwdiag check.",
    )


def options(check: argparse.ArgumentParser) -> None:
    """Add the options of ``check``."""
    from hwdiag.core.command_line import add_options
    from hwdiag.parameters.compat import CheckParams

    add_options(check, CheckParams)
    check.add_argument("--json", action="store_true", help="print all that was found as JSON")
    check.add_argument(
        "--static",
        metavar="LEVEL",
        help="run nothing: which files contain code above this level, such as x86-64-v2+avx (dispatch unknown)",
    )


def check_packages(args: argparse.Namespace) -> int:
    """Run hwdiag compat."""
    from hwdiag.compat import show
    from hwdiag.compat.steps import CompatCheck, load
    from hwdiag.core.command_line import given
    from hwdiag.parameters.compat import CheckParams
    from hwdiag.report.progress import terminal_progress
    from hwdiag.report.terminal import drawn

    params = load(given(args, CheckParams))
    with terminal_progress(sys.stderr) as progress:
        check = CompatCheck(params, progress)
        if args.static is None:
            survey = check.checked()
        else:
            contents = check.contents(args.static)
    if args.static is not None:
        if args.json:
            print(json.dumps([c.model_dump() for c in contents], indent=1))
        else:
            print(drawn(show.static_table(contents, args.static)))
        return 0
    if args.json:
        print(survey.model_dump_json(indent=1))
    else:
        tables = [show.packages_table(survey)] if survey.results else []
        tables += [show.culprit_table(r, r.culprit) for r in survey.crashed if r.culprit]
        tables += [show.failures_table(survey)] if survey.failed or survey.unloadable else []
        tables += [show.shell_table(survey)]
        for table in tables:
            print(drawn(table), end="\n\n")
        print(check.save())
    return 1 if survey.failed or survey.unloadable or not survey.interpreter.outcome.ok else 0
