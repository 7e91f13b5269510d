"""The verb that hands over a recommendation for the way in which people start programs: emit."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from hwdiag.core.verbs import add

EXAMPLES = """  hwdiag emit --record outputs/dgx/20261120T101500Z --for slurm      # prints the job script
  hwdiag emit --host dgx --for kubernetes --image registry/me:1 -- python train.py
  hwdiag emit --host dgx --for all --out jobs                             # jobs/slurm/job.sbatch, ..."""
DETAILS = """the ways: compose, docker (and podman), kubernetes, slurm, systemd, torchrun (for several instances), all.
Each sets what was measured, and nothing else: threads, CPUs, memory policy, preloads and variables of the recommended
Plan. The first lines of a file say what its way cannot set. docs/fleet.md says which of them was run where."""


def register(verbs: Any) -> None:
    """Add this verb."""
    text = "write a recommendation for Slurm, Kubernetes, systemd, Docker"
    emit = add(verbs, "emit", write_files, text, examples=EXAMPLES, details=DETAILS)
    emit.add_argument("--record", type=Path, metavar="PATH", help="a record's file, or the folder that holds it")
    emit.add_argument("--host", metavar="NAME", help="of all records of this host: its newest search")
    emit.add_argument(
        "--for", dest="ways", metavar="WAY", required=True, help="slurm, kubernetes, ...: several with commas, or all"
    )
    emit.add_argument("--recommendation", metavar="ID", help="which one (default: launch-overall)")
    emit.add_argument("--image", metavar="IMAGE", help="of containers; a place for yours is left without it")
    emit.add_argument("--out", type=Path, metavar="FOLDER", help="write files there (default: print them)")
    emit.add_argument("command", nargs="*", metavar="COMMAND", help="your command, after --")


def write_files(args: argparse.Namespace) -> None:
    """Run hwdiag emit."""
    from hwdiag.core.errors import UsageError
    from hwdiag.diagnose.emit_steps import emitted, starting
    from hwdiag.diagnose.report_steps import of_host, of_record
    from hwdiag.record.store import write_file

    if (args.record is None) == (args.host is None):
        raise UsageError("emit what? Give --record PATH or --host NAME")
    report = of_record(args.record) if args.host is None else of_host(args.host)
    start = starting(report.record, report.folder, args.recommendation, tuple(args.command), args.image)
    files = emitted(start, args.ways)
    for file in files:
        if args.out is None:
            print(
                *([f"# --- {file.path}"] if len(files) > 1 else []),
                file.text,
                sep="\n" if len(files) > 1 else "",
                end="",
            )
        else:
            write_file(args.out, file)
            print(f"wrote {args.out / file.path}: {file.what}")
