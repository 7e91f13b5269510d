"""The verbs that measure and recommend: run, tune, diagnose."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from hwdiag.cli.common import add

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


def register(verbs: Any) -> None:
    """Add these verbs."""
    for name, verb, text in (
        ("run", run, "measure this host and write record, report and launch script"),
        ("diagnose", diagnose, "the same, told by the notebook: runs notebooks/diagnose.ipynb with papermill"),
    ):
        sub = add(verbs, name, verb, text)
        sub.add_argument("--snapshot", metavar="FILE", help="show another host's facts and advice; measure nothing")
        common_options(sub)

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
    from hwdiag.params import interpreter, load
    from hwdiag.workbook.papermill_run import run_notebook

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


def common_options(sub: argparse.ArgumentParser) -> None:
    """What every verb takes that measures."""
    sub.add_argument("--host", metavar="NAME", help="profile in params/ and folder in outputs/ (default: auto)")
    sub.add_argument("--budget", metavar="B", help="quick, standard or thorough (default: standard)")
    sub.add_argument("--python", metavar="PATH", help="interpreter whose torch is measured; hwdiag need not be in it")
    sub.add_argument("--set", metavar="NAME=VALUE", action="append", default=[], help="any other parameter")
    sub.add_argument("--json", action="store_true", help="print verdict and paths as JSON")


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
