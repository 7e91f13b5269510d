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
  hwdiag tune -- python train.py       what makes this command faster?
  hwdiag tune --metric 'speed: ([0-9.]+) it/s' --higher-is-better -- python train.py
  hwdiag tune --file my_model.py --goal throughput
  hwdiag snapshot spark.tar.gz         save this host's facts, to look at them elsewhere:
  hwdiag host --snapshot spark.tar.gz
  hwdiag estimate llama-7b --decode    what would other machines do with it?
  hwdiag compare outputs               hosts side by side, and what became slower
  hwdiag check                         which packages die here, and of what?
  hwdiag audit                         how is this host set, and what of that helps?
  hwdiag report outputs/dgx/20261120T101500Z
Nothing here changes the host, and nothing needs root."""
TUNE_EPILOG = """the file:
  import torch
  def build():
      net = torch.nn.Linear(512, 512)
      x = torch.randn(64, 512)
      return lambda: net(x)
build() may also give a pair, (callable, check): check() is called once after the first call of the callable, and the
result is wrong if it gives False or an assertion in it fails. One call of the callable is one iteration.

the command:
  is started afresh for every measurement, in the present folder, with nothing on its standard input and no terminal.
  Its wall time counts, or the last number that the metric finds in its output. All that it leaves running is killed.
  One that starts with a python is taken to run that one's torch; for another program give --python."""


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

    tune = add(verbs, "tune", run, "find the best way to start a command, or a Python file, of your own")
    tune.epilog = TUNE_EPILOG
    tune.formatter_class = argparse.RawDescriptionHelpFormatter
    tune.add_argument("command", nargs="*", metavar="COMMAND", help="the command with its arguments, behind --")
    tune.add_argument("--file", dest="workload_file", metavar="FILE", help="Python file with a build(), see below")
    tune.add_argument("--metric", metavar="REGEX", help="expression with one group: the number that counts")
    tune.add_argument("--metric-json", metavar="FIELD", help="field of the JSON that it prints, such as result.fps")
    tune.add_argument(
        "--higher-is-better", action="store_true", default=None, help="a higher metric is better (default: a lower one)"
    )
    tune.add_argument("--command-timeout", metavar="S", help="seconds after which it is killed (default: 600)")
    tune.add_argument("--goal", metavar="G", help="latency, or throughput of many at the same time (default: latency)")
    tune.add_argument("--minutes", metavar="M", help="time for all measurements (default: as the budget says)")
    common_options(tune)

    for name, verb, text in (
        ("run", run, "measure this host and write record, report and launch script"),
        ("diagnose", diagnose, "the same, told by the notebook: runs notebooks/diagnose.ipynb with papermill"),
    ):
        sub = add(verbs, name, verb, text)
        sub.add_argument("--snapshot", metavar="FILE", help="show another host's facts and advice; measure nothing")
        common_options(sub)

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
    estimate.add_argument("--json", action="store_true", help="print all that was found as JSON")

    compare = add(verbs, "compare", compare_records, "records side by side: what differs, how fast, what became slower")
    compare.add_argument("records", nargs="*", help="folders, record files or fsspec URLs (default: outputs/)")
    compare.add_argument(
        "--part", metavar="NAME", action="append", default=[], help="put a catalogued part beside them"
    )
    compare.add_argument(
        "--host", metavar="NAME", action="append", default=[], help="only this host (may be given again)"
    )
    compare.add_argument("--min-effect", metavar="PERCENT", type=float, help="least change worth a word (default: 3)")
    compare.add_argument("--json", action="store_true", help="print all that was found as JSON")
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


def common_options(sub: argparse.ArgumentParser) -> None:
    """What every verb takes that measures."""
    sub.add_argument("--host", metavar="NAME", help="profile in params/ and folder in outputs/ (default: auto)")
    sub.add_argument("--budget", metavar="B", help="quick, standard or thorough (default: standard)")
    sub.add_argument("--python", metavar="PATH", help="interpreter whose torch is measured; hwdiag need not be in it")
    sub.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], help="any other parameter")
    sub.add_argument("--json", action="store_true", help="print verdict and paths as JSON")


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
    """hwdiag run, hwdiag tune"""
    from hwdiag.errors import UsageError
    from hwdiag.params import load
    from hwdiag.pipeline import run_all
    from hwdiag.show.progress import terminal_progress
    from hwdiag.show.summary import Summary

    profile = load(given(args))
    if "command" in args and not (profile.command or profile.workload_file):
        raise UsageError("tune what? Give a command behind --, or --file FILE")
    done = run_all(profile, progress=terminal_progress(sys.stderr))
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
    from hwdiag.params import Params

    values: dict[str, Any] = {name: getattr(args, name, None) for name in Params.model_fields}
    values["command"] = values["command"] or None  # argparse gives an empty list for none
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


def estimate_nets(args: argparse.Namespace) -> int:
    """hwdiag estimate"""
    from hwdiag.errors import UsageError
    from hwdiag.estimate.count import count_nets
    from hwdiag.estimate.nets import NAMES
    from hwdiag.estimate.parts import catalogue
    from hwdiag.estimating import Estimator, estimates, load, part_named, specs_of
    from hwdiag.show import estimate as show
    from hwdiag.show.progress import terminal_progress
    from hwdiag.show.table import Table

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
    return 0


def compare_records(args: argparse.Namespace) -> int:
    """hwdiag compare; exit status 1 if a host has become slower"""
    from hwdiag.comparing import load, start
    from hwdiag.show.table import Table

    asked = {"records": args.records, "parts": args.part, "hosts": args.host, "min_effect": args.min_effect}
    found = start(load({k: v for k, v in asked.items() if v}))
    if args.json:
        print(json.dumps(found.as_dict(), indent=1))
    else:
        for section in (found.overview(), found.differences(), found.speeds(), found.histories()):
            tables = [p.to_text(terminal_width()) for p in section.parts if isinstance(p, Table)]
            print(section.verdict, *tables, sep="\n", end="\n\n")
    return int(any(h.verdict == "worse" for h in found.history))


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
