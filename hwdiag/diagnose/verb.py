"""The verbs that measure and recommend: run, tune, diagnose."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from hwdiag.core.verbs import add, add_wait

RUN_EXAMPLES = (
    ("", "five minutes"),
    (" --budget quick", "a minute and a half"),
    (" --python ~/ComfyUI/venv/bin/python", "the torch of another interpreter"),
    (" --host dgx", "with findings where this host is no DGX"),
)
TUNE_EXAMPLES = """  hwdiag tune -- python train.py --steps 20
  hwdiag tune --metric 'speed: ([0-9.]+) it/s' --higher-is-better -- python train.py
  hwdiag tune --file my_model.py --goal throughput"""
TUNE_DETAILS = """the file:
  import torch
  def build():
      net = torch.nn.Linear(512, 512)
      x = torch.randn(64, 512)
      return lambda: net(x)
build() may also give a pair, (callable, check): check() is called once after the first call of the callable, and the
result is wrong if it gives False or an assertion in it fails. One call of the callable is one iteration.
Given a net and its inputs, return net, x, precision, layout, compilation and the like are tried on it as well, its
results are compared with float64, and settings.py is written beside launch.sh. Work on a GPU is waited for.

the command:
  is started again for every measurement, in the present folder, with nothing on its standard input and no terminal.
  Its wall time counts, or the last number that the metric finds in its output. All that it leaves running is killed.
  One that starts with a python is taken to run that one's torch; for another program give --python.
  Switches of torch that need no change of code are tried from its Python's start (sitecustomize)."""


SHOWN = 12
"""Findings whose titles are printed."""


def register(verbs: Any) -> None:
    """Add these verbs."""
    text = "diagnose this host: notebook, report, record, scripts"
    add(verbs, "diagnose", diagnose, text, options, examples=run_examples("diagnose"))
    text = "diagnose this host without the notebook: report, record, scripts"
    add(verbs, "run", run, text, options, examples=run_examples("run"))
    text = "what makes my command or Python file faster?"
    add(verbs, "tune", run, text, tune_options, examples=TUNE_EXAMPLES, details=TUNE_DETAILS)


def run_examples(verb: str) -> str:
    """Return the examples of ``run`` or ``diagnose``."""
    return "\n".join(f"  {f'hwdiag {verb}{given}':<52} # {what}" for given, what in RUN_EXAMPLES)


def options(sub: argparse.ArgumentParser) -> None:
    """Add the options of ``run`` and ``diagnose``: what ``tune`` is for, only ``--set`` gives."""
    from hwdiag.core.command_line import add_options
    from hwdiag.parameters.diagnosis import Params

    of_tune = ("workload_file", "command", "metric", "metric_json", "higher_is_better", "command_timeout", "goal")
    add_options(sub, Params, but=of_tune)
    add_wait(sub)
    sub.add_argument("--json", action="store_true", help="print verdict and paths as JSON")


def tune_options(tune: argparse.ArgumentParser) -> None:
    """Add the options of ``tune``."""
    from hwdiag.core.command_line import add_options
    from hwdiag.parameters.diagnosis import Params

    add_options(tune, Params, but=("snapshot", "workloads", "data_dir"))
    add_wait(tune)
    tune.add_argument("--json", action="store_true", help="print verdict and paths as JSON")


def run(args: argparse.Namespace) -> int:
    """Run hwdiag run or hwdiag tune."""
    from hwdiag.core.command_line import given
    from hwdiag.core.errors import UsageError
    from hwdiag.core.verbosity import tell
    from hwdiag.diagnose.run import run_all
    from hwdiag.diagnose.summary import RunSummary
    from hwdiag.parameters.diagnosis import Params, load
    from hwdiag.process.measuring_lock import wait_for_others
    from hwdiag.report.progress import terminal_progress

    profile = load(given(args, Params))
    if "command" in args and not (profile.command or profile.workload_file):
        raise UsageError("tune what? Give a command after --, or --file FILE")
    wait_for_others(args.wait, tell)
    with terminal_progress(sys.stderr) as progress:
        done = run_all(profile, progress=progress, announce=tell)
    return say(RunSummary(done.record, done.folder).as_dict(), args.json)


def diagnose(args: argparse.Namespace) -> int:
    """Run hwdiag diagnose."""
    from hwdiag.core.command_line import given
    from hwdiag.core.verbosity import tell
    from hwdiag.diagnose.papermill_run import run_notebook
    from hwdiag.host.archive import open_root
    from hwdiag.parameters.diagnosis import Params, interpreter, load
    from hwdiag.process.measuring_lock import let_go, wait_for_others
    from hwdiag.report.progress import terminal_progress

    profile = load(given(args, Params))
    interpreter(profile)  # a wrong parameter stops here, before a kernel starts
    open_root(profile.snapshot)
    wait_for_others(args.wait, tell)
    let_go()
    with terminal_progress(sys.stderr) as progress:
        summary = run_notebook(given(args, Params), progress)
    return say(summary, args.json)


def say(summary: dict[str, Any], as_json: bool) -> int:
    """Print where everything is and the verdict; the exit status."""
    if as_json:
        print(json.dumps(summary, indent=1))
    else:
        paths = {k: v for k, v in summary.items() if k not in ("verdict", "source", "measured", "findings") and v}
        found = summary["findings"]
        more = [f"  and {len(found) - SHOWN} more, in the report"] if len(found) > SHOWN else []
        lines = [f"{name + ':':<10} {path}" for name, path in paths.items()]
        lines += [summary["verdict"], *(f"  {title}" for title in found[:SHOWN]), *more]
        print("\n".join(lines))
    return 0 if summary["measured"] or summary["source"] != "live" else 1
