"""The verb about machines that one does not have: estimate."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from hwdiag.cli.common import add, terminal_width


def register(verbs: Any) -> None:
    """Add these verbs."""
    estimate = add(verbs, "estimate", estimate_nets, "what would another machine do? Counts a net, estimates parts")
    estimate.add_argument("net", nargs="*", help="by name (see --list), or module:function of your own")
    estimate.add_argument(
        "--part", metavar="NAME", action="append", default=[], help="part, or YAML file (default: all)"
    )
    estimate.add_argument("--dtype", choices=("float32", "bfloat16", "int8"), default="bfloat16")
    estimate.add_argument("--batch", metavar="N[,N]", default="1", help="batch sizes, such as 1,8,64 (default: 1)")
    estimate.add_argument("--tokens", type=int, help="length of the prompt, or of the context when decoding")
    estimate.add_argument("--decode", action="store_true", help="one token more, with the context in the cache")
    estimate.add_argument("--python", metavar="PATH", help="interpreter with torch that counts (default: this one)")
    estimate.add_argument("--list", action="store_true", help="show the nets and the parts")
    estimate.add_argument("--check", action="store_true", help="measure how far off it is on this host (minutes)")
    estimate.add_argument("--json", action="store_true", help="print all that was found as JSON, write nothing")


def estimate_nets(args: argparse.Namespace) -> int:
    """hwdiag estimate"""
    from hwdiag.errors import UsageError
    from hwdiag.estimate.count import count_nets
    from hwdiag.estimate.nets import NAMES
    from hwdiag.estimate.parts import catalogue
    from hwdiag.show import estimate as show
    from hwdiag.show.progress import terminal_progress
    from hwdiag.show.table import Table
    from hwdiag.workbook.estimating import Estimator, estimates, load, part_named, specs_of
    from hwdiag.workbook.records import save, told

    if args.list:
        print(show.parts_table(catalogue()).to_text(terminal_width()))
        print(f"\nnets: {', '.join(NAMES)}")
        return 0
    if not args.net and not args.check:
        raise UsageError("which net? For example: hwdiag estimate resnet50 llama-7b (hwdiag estimate --list shows all)")
    asked = {"python": args.python, "budget": "standard" if args.check else "quick"}
    study = Estimator(load({k: v for k, v in asked.items() if v}), terminal_progress(sys.stderr))
    parts = [part_named(name) for name in args.part] or list(catalogue().values())
    specs = specs_of(args.net, batches=args.batch, tokens=args.tokens, decode=args.decode)
    counts = count_nets(study.python, specs) if specs else ()
    checked = study.check() if args.check else None
    rows = estimates(counts, parts, args.dtype)
    if args.json:
        found = {
            "counts": [c.model_dump() for c in counts],
            "estimates": [{**e.model_dump(), "cost": c.model_dump() if c else None} for e, _, c in rows],
            "checked": study.checked.model_dump() if study.checked else None,
        }
        print(json.dumps(found, indent=1))
        return 0
    sections = [show.counted(counts), show.elsewhere(rows, study.checked)] if counts else []
    for section in [*sections, *([checked] if checked else [])]:
        tables = [p.to_text(terminal_width()) for p in section.parts if isinstance(p, Table)]
        print(section.verdict, *tables, sep="\n", end="\n\n")
    print(told(*save(study.recorded(counts))))
    return 0
