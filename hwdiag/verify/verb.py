"""The verb that holds this host against its record: verify."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwdiag.core.verbs import add

if TYPE_CHECKING:
    from hwdiag.parameters.verify import VerifyParams
    from hwdiag.record.verification import Verification

EXAMPLES = """  hwdiag verify                                 # against this host's newest record in outputs/
  hwdiag verify --record /srv/hwdiag --json     # a folder with one folder a host, as a prolog uses it
  hwdiag verify --facts-only                    # in a second, nothing is measured
  hwdiag verify --learn                         # once, while nothing else runs: the speeds to hold it against"""
DETAILS = """the verdict, in one line, and its exit status, as of a Nagios plug-in:
  0 PASS      nothing differs that matters, and no speed is surely lower
  1 WARNING   a setting, kernel or driver differs, or a speed is lower by --loss percent
  2 CRITICAL  memory, CPUs, GPUs or instructions are gone, a speed is lower by twice --loss, or it is another machine
  3 UNKNOWN   nothing could be compared: no record, no time, or others used the machine
--learn measures this host's reference speeds in some minutes, and writes them as a record: compute, memory and a net.
Without one, the speeds of its newest 'hwdiag run' are taken.
It writes nothing but what --out asks for, needs no PATH and no HOME, and is there within --timeout seconds, whatever
hangs. Speeds are measured in fresh processes under today's default and judged with the record's own intervals.
docs/fleet.md has a prolog for Slurm, a job for Kubernetes and a timer for systemd."""

START_S = 2.0
"""What it took to start counts as well, but no more than that: whoever calls this from a program has lived longer."""


def register(verbs: Any) -> None:
    """Add this verb."""
    text = "is this host still what its record says? One verdict"
    add(verbs, "verify", run, text, verify_options, examples=EXAMPLES, details=DETAILS)


def verify_options(verify: argparse.ArgumentParser) -> None:
    """Add the options of ``verify``."""
    from hwdiag.core.command_line import add_options
    from hwdiag.parameters.verify import VerifyParams

    add_options(verify, VerifyParams)
    verify.add_argument("--learn", action="store_true", help="measure the speeds that later ones are held against")
    verify.add_argument(
        "--out", type=Path, metavar="FOLDER", help="also write verification.json there; of --learn the record"
    )
    verify.add_argument(
        "--textfile", type=Path, metavar="FILE", help="also write metrics there for node_exporter: NAME.prom"
    )
    verify.add_argument("--json", action="store_true", help="print the whole verdict as JSON")


def run(args: argparse.Namespace) -> int:
    """Run hwdiag verify. Whatever goes wrong in it is UNKNOWN: a prolog reads the exit status alone."""
    from hwdiag.core.errors import HwdiagError
    from hwdiag.record.verification import EXIT_STATUS

    if args.learn:
        return verdict(args)
    try:
        return verdict(args)
    except (HwdiagError, OSError, MemoryError, ValueError) as error:
        print(f"UNKNOWN {os.uname().nodename}: {' '.join(str(error).split())[:500] or type(error).__name__}")
        return EXIT_STATUS["UNKNOWN"]


def verdict(args: argparse.Namespace) -> int:
    """Verify, print the verdict and return its exit status. Raises ``HwdiagError`` for a wrong parameter."""
    from hwdiag.core.command_line import given
    from hwdiag.core.errors import HwdiagError
    from hwdiag.core.params import load
    from hwdiag.core.printing import printable
    from hwdiag.parameters.verify import VerifyParams
    from hwdiag.record.verification import save_verification
    from hwdiag.verify.guard import guarded

    params = load(VerifyParams, given(args, VerifyParams), names=VerifyParams.model_fields, profile=None)
    if args.learn:
        return learnt(args, params)
    found = guarded(params, began=time.monotonic() - min(time.process_time(), START_S))
    print(found.model_dump_json(indent=1) if args.json else printable(found.line))
    for line in () if args.json or args.quiet else more_lines(found):
        print(printable(f"  {line}"))
    try:
        if args.out is not None:
            save_verification(found, args.out)
        if args.textfile is not None:
            from hwdiag.metrics.watching import write_verification

            write_verification(found, args.textfile)
    except HwdiagError as error:  # the verdict stands
        print(f"hwdiag: {error}", file=sys.stderr)
    return found.exit_status


def learnt(args: argparse.Namespace, params: VerifyParams) -> int:
    """Measure the reference speeds, write the record, and return the exit status."""
    from hwdiag.record.store import writable
    from hwdiag.verify.learn import learn
    from hwdiag.workbook.records import save, told

    folder = writable(args.out)
    record = learn(params, lambda text: None if args.quiet else print(text, file=sys.stderr))
    print(told(*save(record, folder=folder)))
    return 0


def more_lines(found: Verification) -> Iterator[str]:
    """Yield the further causes, and what was looked at, a line each."""
    yield from (f"{cause.status}: {cause.title}; {cause.remedy}" for cause in found.causes[1:])
    yield from (f"{'fine' if c.state == 'fine' else 'not looked at'}: {c.title}" for c in found.checks)
