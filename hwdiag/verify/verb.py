"""The verb that holds this host against its record: verify."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hwdiag.core.verbs import add

EXAMPLES = """  hwdiag verify                                 # against this host's newest record in outputs/
  hwdiag verify --record /srv/hwdiag --json     # a folder with one folder a host, as a prolog uses it
  hwdiag verify --facts-only                    # in a second, nothing is measured"""
DETAILS = """the verdict, in one line, and its exit status, as of a Nagios plug-in:
  0 PASS      nothing differs that matters, and no speed is surely lower
  1 WARNING   a setting, kernel or driver differs, or a speed is lower by --loss percent
  2 CRITICAL  memory, CPUs, GPUs or instructions are gone, a speed is lower by twice --loss, or it is another machine
  3 UNKNOWN   nothing could be compared: no record, no time, or others used the machine
It writes nothing but what --out asks for, needs no PATH and no HOME, and is there within --timeout seconds, whatever
hangs. Speeds are measured in fresh processes under today's default and judged with the record's own intervals.
docs/fleet.md has a prolog for Slurm, a job for Kubernetes and a timer for systemd."""


def register(verbs: Any) -> None:
    """Add this verb."""
    text = "is this host still what its record says? One verdict"
    add(verbs, "verify", run, text, verify_options, examples=EXAMPLES, details=DETAILS)


def verify_options(verify: argparse.ArgumentParser) -> None:
    """Add the options of ``verify``."""
    from hwdiag.core.command_line import add_options
    from hwdiag.parameters.verify import VerifyParams

    add_options(verify, VerifyParams)
    verify.add_argument("--out", type=Path, metavar="FOLDER", help="also write verification.json there")
    verify.add_argument("--json", action="store_true", help="print the whole verdict as JSON")


def run(args: argparse.Namespace) -> int:
    """Run hwdiag verify."""
    from hwdiag.core.command_line import given
    from hwdiag.core.params import load
    from hwdiag.core.printing import printable
    from hwdiag.parameters.verify import VerifyParams
    from hwdiag.record.verification import save_verification
    from hwdiag.verify.guard import guarded

    params = load(VerifyParams, given(args, VerifyParams), names=VerifyParams.model_fields, profile=None)
    found = guarded(params)
    print(found.model_dump_json(indent=1) if args.json else printable(found.line))
    if not args.json and not args.quiet:
        for cause in found.causes[1:]:
            print(printable(f"  {cause.status}: {cause.title}; {cause.remedy}"))
        for check in found.checks:
            print(printable(f"  {'fine' if check.state == 'fine' else 'not looked at'}: {check.title}"))
    if args.out is not None:
        save_verification(found, args.out)
    return found.exit_status
