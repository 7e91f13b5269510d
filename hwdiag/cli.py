"""The command line: the workbook's steps for a terminal. Imports what a verb needs only when it runs."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwdiag import __version__
from hwdiag.errors import HwdiagError

EPILOG = """examples:
  hwdiag host                          what is this machine?
  hwdiag run --budget quick            measure, recommend, write a report (about a minute)
  hwdiag run --python ~/ComfyUI/venv/bin/python
  hwdiag snapshot spark.tar.gz         save this host's facts, to look at them elsewhere:
  hwdiag host --snapshot spark.tar.gz
  hwdiag check                         which packages die here, and of what?
  hwdiag audit                         how is this host set, and what of that helps?
  hwdiag report outputs/dgx/20261120T101500Z
Nothing here changes the host, and nothing needs root."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; gives the exit status: 0 done, 1 nothing useful came out, 2 wrong usage, 130 interrupted."""
    args = parser().parse_args(argv)
    try:
        return int(args.verb(args) or 0)
    except HwdiagError as error:
        print(f"hwdiag: {error}", file=sys.stderr)
        return error.exit_status
    except BrokenPipeError:  # the reader, such as head, has seen enough
        sys.stdout = None
        return 0
    except KeyboardInterrupt:
        print("hwdiag: interrupted; nothing is left running", file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """All verbs with their help."""
    top = argparse.ArgumentParser(
        prog="hwdiag",
        description="Guided diagnostics for Linux hosts that run PyTorch: measures what is fastest on this machine.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"hwdiag {__version__}")
    verbs = top.add_subparsers(title="verbs", required=True, metavar="VERB")

    host = add(verbs, "host", show_host, "show what this machine is: CPU, NUMA, memory, GPUs, disks, limits")
    host.add_argument("--json", action="store_true", help="print all facts as JSON")
    host.add_argument(
        "--snapshot", metavar="FILE", help="of another host: what hwdiag snapshot wrote there, or an unpacked dump"
    )
    host.add_argument("--drawing", type=Path, metavar="FILE", help="write the topology drawing there, as SVG")

    snapshot = add(verbs, "snapshot", write_snapshot, "save what is needed to look at this host elsewhere")
    snapshot.add_argument("file", nargs="?", default="host.tar.gz", help="where to write it (default: host.tar.gz)")
    snapshot.add_argument(
        "--with-names", action="store_true", help="leave in host name, machine id, GPU UUIDs, cgroup and disk names"
    )

    for name, verb, text in (
        ("run", run, "measure this host and write record, report and launch script"),
        ("diagnose", diagnose, "the same, told by the notebook: runs notebooks/diagnose.ipynb with papermill"),
    ):
        sub = add(verbs, name, verb, text)
        sub.add_argument("--host", metavar="NAME", help="profile in params/ and folder in outputs/ (default: auto)")
        sub.add_argument("--budget", metavar="B", help="quick, standard or thorough (default: standard)")
        sub.add_argument(
            "--python", metavar="PATH", help="interpreter whose torch is measured; hwdiag need not be in it"
        )
        sub.add_argument("--snapshot", metavar="FILE", help="show another host's facts and advice; measure nothing")
        sub.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], help="any other parameter")
        sub.add_argument("--json", action="store_true", help="print verdict and paths as JSON")

    check = add(verbs, "check", check_packages, "will my stack run, and if it dies, what kills it?")
    check.add_argument("--python", metavar="PATH", help="interpreter whose packages are checked (default: this one)")
    check.add_argument(
        "--package", metavar="NAME", action="append", default=[], help="check only this one (may be given again)"
    )
    check.add_argument("--timeout", metavar="S", help="seconds after which a hanging child is killed (default: 120)")
    check.add_argument("--json", action="store_true", help="print all that was found as JSON")
    check.add_argument(
        "--static",
        metavar="LEVEL",
        help="run nothing: which files contain code above this level, such as x86-64-v2+avx (dispatch unknown)",
    )

    audit = add(
        verbs, "audit", audit_host, "how is this host set, what of that helps or harms, and scripts to change it"
    )
    audit.add_argument("--snapshot", metavar="FILE", help="of another host: a snapshot, or an unpacked dump")
    audit.add_argument("--role", help="desktop, headless or shared (default: headless)")
    audit.add_argument(
        "--knob", metavar="NAME", action="append", default=[], help="write scripts for NAME, NAME=VALUE or a group"
    )
    audit.add_argument("--models", metavar="FOLDER", help="measure how fast the models there are read")
    audit.add_argument("--watch", metavar="S", help="seconds to watch the machine, best while it works (default: 0)")
    audit.add_argument("--all", action="store_true", help="show every setting that is known")
    audit.add_argument("--json", action="store_true", help="print all that was found as JSON, write nothing")

    report = add(verbs, "report", write_report, "draw a record's report again, and say what it found")
    report.add_argument("record", type=Path, help="record.json, or the folder that holds it")
    report.add_argument(
        "--output", type=Path, metavar="FILE", help="where to write the HTML (default: beside the record)"
    )
    report.add_argument("--json", action="store_true", help="print findings and recommendations as JSON, write nothing")

    init = add(verbs, "init-host", init_host, "write params/NAME.yaml that expects what this machine has")
    init.add_argument("name", help="name of the new profile")
    return top


def add(verbs: Any, name: str, verb: Any, text: str) -> argparse.ArgumentParser:
    """One verb."""
    sub: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    sub.set_defaults(verb=verb)
    return sub


def show_host(args: argparse.Namespace) -> None:
    """hwdiag host"""
    from hwdiag.host.read import read_host
    from hwdiag.host.root import Root

    host = read_host(Root.open(args.snapshot))
    if args.drawing:
        from hwdiag.show.topology import draw_topology

        write(args.drawing, draw_topology(host).svg + "\n")
    if args.json:
        print(host.model_dump_json(indent=1))
        return
    from hwdiag.show.tables import host_table

    print(host_table(host).to_text(terminal_width()))


def write_snapshot(args: argparse.Namespace) -> None:
    """hwdiag snapshot"""
    from hwdiag.advise.audit import read_everything
    from hwdiag.host.snapshot import make_snapshot

    make_snapshot(args.file, with_names=args.with_names, also=read_everything)
    names = "with names and serial numbers" if args.with_names else "without names and serial numbers"
    print(f"wrote {args.file}: {Path(args.file).stat().st_size / 1000:.0f} kB, {names}")


def run(args: argparse.Namespace) -> int:
    """hwdiag run"""
    from hwdiag.params import load
    from hwdiag.pipeline import run_all
    from hwdiag.show.progress import terminal_progress
    from hwdiag.show.summary import Summary

    done = run_all(load(given(args)), progress=terminal_progress(sys.stderr))
    return say(Summary(done.record, done.folder).as_dict(), args.json)


def diagnose(args: argparse.Namespace) -> int:
    """hwdiag diagnose"""
    from hwdiag.host.root import Root
    from hwdiag.papermill_run import run_notebook
    from hwdiag.params import interpreter, load

    profile = load(given(args))
    interpreter(profile)  # a wrong parameter stops here, before a kernel starts
    Root.open(profile.snapshot)
    return say(run_notebook(given(args)), args.json)


def say(summary: dict[str, Any], as_json: bool) -> int:
    """Print where everything is and the verdict; the exit status."""
    if as_json:
        print(json.dumps(summary, indent=1))
    else:
        paths = {k: v for k, v in summary.items() if k not in ("verdict", "source", "measured") and v}
        print("\n".join([*(f"{name + ':':<10} {path}" for name, path in paths.items()), summary["verdict"]]))
    return 0 if summary["measured"] or summary["source"] != "live" else 1


def write(path: Path, text: str) -> None:
    """Write a file that was asked for. Raises ``HwdiagError`` where that fails."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise HwdiagError(f"cannot write {path}: {error.strerror}") from None


def terminal_width() -> int | None:
    """Columns to wrap tables to; None where the output goes to a file or a program."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def given(args: argparse.Namespace) -> dict[str, Any]:
    """The parameters that were given on the command line."""
    from hwdiag.errors import UsageError

    values: dict[str, Any] = {name: getattr(args, name) for name in ("host", "budget", "python", "snapshot")}
    for pair in args.set:
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"--set takes NAME=VALUE, not {pair!r}")
        values[name] = value
    return {name: value for name, value in values.items() if value is not None}


def check_packages(args: argparse.Namespace) -> int:
    """hwdiag check"""
    from hwdiag.compatibility import Check, load
    from hwdiag.show import compat
    from hwdiag.show.progress import terminal_progress

    asked = {"python": args.python, "packages": args.package or None, "child_timeout": args.timeout}
    check = Check(load({k: v for k, v in asked.items() if v is not None}), terminal_progress(sys.stderr))
    if args.static is not None:
        contents = check.contents(args.static)
        if args.json:
            print(json.dumps([c.model_dump() for c in contents], indent=1))
        else:
            print(compat.static_table(contents, args.static).to_text(terminal_width()))
        return 0
    survey = check.checked()
    if args.json:
        print(survey.model_dump_json(indent=1))
    else:
        tables = [compat.packages_table(survey)] if survey.results else []
        tables += [compat.culprit_table(r, r.culprit) for r in survey.crashed if r.culprit]
        tables += [compat.failures_table(survey)] if survey.failed else []
        for table in tables:
            print(table.to_text(terminal_width()), end="\n\n")
        print(compat.verdict(survey))
    return 1 if survey.failed or not survey.interpreter.outcome.ok else 0


def audit_host(args: argparse.Namespace) -> int:
    """hwdiag audit"""
    from hwdiag.auditing import AuditRun, load
    from hwdiag.show import audit as show

    asked = {"snapshot": args.snapshot, "role": args.role, "models": args.models, "watch": args.watch or 0}
    run = AuditRun(load({**asked, "knobs": args.knob or None}))
    if args.json:
        print(run.audit.model_dump_json(indent=1))
        return 0
    print(show.settings_table(run.audit, everything=args.all).to_text(terminal_width()), end="\n\n")
    print(show.symptoms_table(run.audit).to_text(terminal_width()), end="\n\n")
    print(run.save() if run.audit.chosen else show.verdict(run.audit))
    return 0


def write_report(args: argparse.Namespace) -> None:
    """hwdiag report"""
    from hwdiag.record import store

    record = store.load(args.record)
    if args.json:
        print(record.model_dump_json(indent=1, include={"verdict", "findings", "recommendations", "checks"}))
        return
    from hwdiag.show.report import render_report
    from hwdiag.show.tables import findings_table, recommendations_table

    beside = args.record if args.record.is_dir() else args.record.parent
    path = args.output or beside / "report.html"
    write(path, render_report(record))
    for table in (recommendations_table(record), findings_table(record)):
        print(table.to_text(terminal_width()), end="\n\n")
    print(f"report: {path}\n{record.verdict}")


def init_host(args: argparse.Namespace) -> None:
    """hwdiag init-host"""
    from hwdiag.init_host import write_profile

    print(f"wrote {write_profile(args.name)}")


if __name__ == "__main__":
    sys.exit(main())
