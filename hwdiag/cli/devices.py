"""The verb about devices: CPU against GPU, precisions, techniques."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from hwdiag.cli.common import add, terminal_width


def register(verbs: Any) -> None:
    """Add these verbs."""
    add(verbs, "devices", weigh, "CPU against GPU, and what each precision and technique is worth here", options)


def options(devices: argparse.ArgumentParser) -> None:
    """Add the options of ``devices``."""
    from hwdiag.core.command_line import add_options
    from hwdiag.devices.params import DevicesParams

    add_options(devices, DevicesParams)
    devices.add_argument("--json", action="store_true", help="print all that was found as JSON")


def weigh(args: argparse.Namespace) -> int:
    """hwdiag devices"""
    from hwdiag.core.command_line import given
    from hwdiag.devices.params import DevicesParams
    from hwdiag.show.progress import terminal_progress
    from hwdiag.show.table import Table
    from hwdiag.workbook.weighing import Devices, load

    study = Devices(load(given(args, DevicesParams)), terminal_progress(sys.stderr))
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
