"""The verb about devices: CPU against GPU, precisions, techniques."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from hwdiag.core.verbs import add, add_wait


def register(verbs: Any) -> None:
    """Add these verbs."""
    text = "CPU against GPU: which precision and technique pays here?"
    examples = "  hwdiag devices\n  hwdiag devices --budget thorough --minutes 20"
    add(verbs, "devices", weigh, text, options, examples=examples)


def options(devices: argparse.ArgumentParser) -> None:
    """Add the options of ``devices``."""
    from hwdiag.core.command_line import add_options
    from hwdiag.parameters.devices import DevicesParams

    add_options(devices, DevicesParams)
    add_wait(devices)
    devices.add_argument("--json", action="store_true", help="print all that was found as JSON")


def weigh(args: argparse.Namespace) -> int:
    """Run hwdiag devices."""
    from hwdiag.core.command_line import given
    from hwdiag.core.verbosity import tell
    from hwdiag.devices.steps import Devices, load
    from hwdiag.parameters.devices import DevicesParams
    from hwdiag.process.measuring_lock import wait_for_others
    from hwdiag.report.progress import terminal_progress
    from hwdiag.report.table import Table
    from hwdiag.report.terminal import drawn

    params = load(given(args, DevicesParams))
    wait_for_others(args.wait, tell)
    with terminal_progress(sys.stderr) as progress:
        study = Devices(params, progress)
        study.settings()  # after all that is measured
    if args.json:
        print(study.done.model_dump_json(indent=1, exclude_defaults=True))
    else:
        for step in (study.devices, study.profile, study.speedups, study.precision, study.techniques, study.batches,
                     study.targets, study.claims, study.settings):  # fmt: skip
            section = step()
            tables = [drawn(part) for part in section.parts if isinstance(part, Table)]
            print(section.verdict, *tables, sep="\n", end="\n\n")
        print(study.save())
    return 0 if study.done.estimates else 1
