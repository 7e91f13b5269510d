"""The verbs about this machine and this workbook: host, snapshot, init, init-host."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from hwdiag.core.text import plural
from hwdiag.core.verbs import add, write

EXAMPLES = """  hwdiag host
  hwdiag host --json
  hwdiag host --snapshot spark.tar.gz    # another one, by what 'hwdiag snapshot spark.tar.gz' wrote there"""

SNAPSHOT_EXAMPLES = """  hwdiag snapshot                        # host.tar.gz, without names
  hwdiag snapshot spark.tar.gz           # then, on another machine: hwdiag host --snapshot spark.tar.gz"""
INIT_EXAMPLES = """  hwdiag init workbook
  jupyter lab workbook/notebooks/diagnose.ipynb"""


def register(verbs: Any) -> None:
    """Add these verbs."""
    host = add(verbs, "host", show_host, "what is this machine? CPU, memory, GPUs, disks, limits", examples=EXAMPLES)
    host.add_argument("--json", action="store_true", help="print all facts as JSON")
    host.add_argument(
        "--snapshot", metavar="FILE", help="of another host: what hwdiag snapshot wrote there, or an unpacked dump"
    )
    host.add_argument("--drawing", type=Path, metavar="FILE", help="write the topology drawing there, as SVG")

    text = "save this host's facts, to look at them elsewhere"
    snapshot = add(verbs, "snapshot", write_snapshot, text, examples=SNAPSHOT_EXAMPLES)
    snapshot.add_argument("file", metavar="FILE", nargs="?", default="host.tar.gz", help="default: host.tar.gz")
    snapshot.add_argument(
        "--with-names", action="store_true", help="leave in host name, machine id, GPU UUIDs, cgroup and disk names"
    )

    text = "lay out a workbook to edit: notebooks and host profiles"
    workbook = add(verbs, "init", init_workbook, text, examples=INIT_EXAMPLES)
    workbook.add_argument("folder", type=Path, metavar="DIR", help="where; files that are there stay as they are")

    init = add(verbs, "init-host", init_host, "write a profile, params/NAME.yaml, of what this machine has")
    init.add_argument("name", metavar="NAME", help="name of the new profile")


def show_host(args: argparse.Namespace) -> None:
    """Run hwdiag host."""
    from hwdiag.host.archive import open_root
    from hwdiag.host.read import read_host

    host = read_host(open_root(args.snapshot))
    if args.drawing:
        from hwdiag.report.topology import draw_topology

        write(args.drawing, draw_topology(host).svg + "\n")
    if args.json:
        print(host.model_dump_json(indent=1))
        return
    from hwdiag.process.preflight import preflight
    from hwdiag.report.answers import answers_table
    from hwdiag.report.host_table import host_table
    from hwdiag.report.terminal import drawn

    print(drawn(host_table(host)), end="\n\n")
    print(drawn(answers_table("What a program that is started here gets", preflight(host))))


def write_snapshot(args: argparse.Namespace) -> None:
    """Run hwdiag snapshot."""
    from hwdiag.audit.audit import read_everything
    from hwdiag.host.snapshot import make_snapshot

    make_snapshot(args.file, with_names=args.with_names, also=read_everything)
    names = "with names and serial numbers" if args.with_names else "without names and serial numbers"
    print(f"wrote {args.file}: {Path(args.file).stat().st_size / 1000:.0f} kB, {names}")


def init_workbook(args: argparse.Namespace) -> None:
    """Run hwdiag init."""
    from hwdiag.cli.init_workbook import lay_out

    written, kept = lay_out(args.folder)
    print(
        f"wrote {plural(len(written), 'file')} to {args.folder}", *([f"left {len(kept)} as they were"] if kept else [])
    )
    print(f"open it: jupyter lab {shlex.quote(str(args.folder / 'notebooks' / 'diagnose.ipynb'))}")


def init_host(args: argparse.Namespace) -> None:
    """Run hwdiag init-host."""
    from hwdiag.cli.init_profile import write_profile

    print(f"wrote {write_profile(args.name)}")
