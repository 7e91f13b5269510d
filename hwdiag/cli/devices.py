"""The verb about devices: CPU against GPU, precisions, techniques."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from hwdiag.cli.common import add, terminal_width


def register(verbs: Any) -> None:
    """Add these verbs."""
    devices = add(verbs, "devices", weigh, "CPU against GPU, and what each precision and technique is worth here")
    devices.add_argument("--python", metavar="PATH", help="interpreter whose torch is measured (default: this one)")
    devices.add_argument("--net", metavar="NAME", action="append", default=[], help="try techniques on this one "
                         "(may be given again; default: what the budget gives)")  # fmt: skip
    devices.add_argument("--budget", help="quick, standard or thorough (default: standard)")
    devices.add_argument("--minutes", help="time for the techniques on each device")
    devices.add_argument("--json", action="store_true", help="print all that was found as JSON")


def weigh(args: argparse.Namespace) -> int:
    """hwdiag devices"""
    from hwdiag.show.progress import terminal_progress
    from hwdiag.show.table import Table
    from hwdiag.workbook.weighing import Devices, load

    asked = {"python": args.python, "nets": args.net or None, "budget": args.budget, "minutes": args.minutes}
    study = Devices(load({k: v for k, v in asked.items() if v is not None}), terminal_progress(sys.stderr))
    if args.json:
        print(study.done.model_dump_json(indent=1, exclude_defaults=True))
    else:
        for step in (study.devices, study.profile, study.speedups, study.precision, study.techniques, study.batches,
                     study.targets, study.promises, study.settings):  # fmt: skip
            section = step()
            tables = [part.to_text(terminal_width()) for part in section.parts if isinstance(part, Table)]
            print(section.verdict, *tables, sep="\n", end="\n\n")
        print(study.save())
    return 0 if study.done.estimates else 1
