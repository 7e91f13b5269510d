"""The verb about machines that one does not have: estimate."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from hwdiag.core.verbs import add

EXAMPLES = """  hwdiag estimate resnet50 bert-large --part xeon-8490h --dtype int8
  hwdiag estimate llama-7b --decode --tokens 512 --batch 8
  hwdiag estimate mynets.py:build --batch 8
  hwdiag estimate --list                     # the nets and the parts"""


def register(verbs: Any) -> None:
    """Add these verbs."""
    add(verbs, "estimate", estimate_nets, "what would another machine do with a net?", options, examples=EXAMPLES)


def options(estimate: argparse.ArgumentParser) -> None:
    """Add the options of ``estimate``."""
    from hwdiag.core.command_line import add_options
    from hwdiag.parameters.estimate import EstimateParams

    add_options(estimate, EstimateParams)
    estimate.add_argument("--list", action="store_true", help="show the nets and the parts")
    estimate.add_argument(
        "--check",
        action="store_true",
        help="measure how far off estimates are on this host, with hwdiag's own list of nets or with NET; "
        "where --minutes ended it, the same command goes on",
    )
    estimate.add_argument("--net", action="append", default=[], help="a net, the same as NET without an option")
    estimate.add_argument("--json", action="store_true", help="print all that was found as JSON, write nothing")


def estimate_nets(args: argparse.Namespace) -> int:
    """Run hwdiag estimate."""
    from hwdiag.agent.nets import NAMES
    from hwdiag.catalogue.parts import catalogue
    from hwdiag.core.command_line import given
    from hwdiag.core.errors import UsageError
    from hwdiag.estimate import show
    from hwdiag.estimate.counts import counts_of
    from hwdiag.estimate.steps import Estimator, chosen_for_check, estimates, load, part_named, specs_of
    from hwdiag.parameters.estimate import EstimateParams
    from hwdiag.report.progress import terminal_progress
    from hwdiag.report.table import Table
    from hwdiag.report.terminal import drawn
    from hwdiag.workbook.records import save, told

    if args.list:
        print(drawn(show.parts_table(catalogue())))
        print(f"\nnets: {', '.join(NAMES)}")
        return 0
    values = given(args, EstimateParams)
    if args.net:
        values["nets"] = [*(values.get("nets") or ()), *args.net]
    params = load(values)
    if not params.nets and not args.check:
        raise UsageError("which net? For example: hwdiag estimate resnet50 llama-7b (hwdiag estimate --list shows all)")
    if args.check and params.budget == "quick":
        raise UsageError("--check takes the budget standard or thorough: quick leaves it out")
    if args.check:
        chosen_for_check(params)  # what is wrong is said before anything is counted
    parts = [part_named(name) for name in params.parts] or list(catalogue().values())
    specs = specs_of(params)
    with terminal_progress(sys.stderr) as progress:
        study = Estimator(params, progress)
        counts = counts_of(study.python, specs, fresh=params.python is not None)
        checked = study.check() if args.check else None
    rows = estimates(counts, parts, params.dtype or "bfloat16", params.software)
    if args.json:
        found = {
            "counts": [c.model_dump() for c in counts],
            "estimates": [{**e.model_dump(), "cost": c.model_dump() if c else None} for e, _, c in rows],
            "checked": study.checked.model_dump() if study.checked else None,
        }
        print(json.dumps(found, indent=1))
        return 0
    sections = [show.counted(counts), show.elsewhere(rows)] if counts else []
    for section in [*sections, *([checked] if checked else [])]:
        tables = [drawn(p) for p in section.parts if isinstance(p, Table)]
        print(section.verdict, *tables, sep="\n", end="\n\n")
    print(told(*save(study.recorded(counts))))
    return 0
