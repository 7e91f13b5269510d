"""The verb that watches the machine: monitor."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from hwdiag.core.verbs import add, status

EXAMPLES = """  hwdiag monitor -- python train.py       # beside a command, to its end
  hwdiag monitor --hz 10 --seconds 60     # beside what runs anyway
  hwdiag monitor --serve 9101             # until Ctrl-C, with an endpoint for Prometheus"""
DETAILS = """the command:
  has this terminal's input and output, and gets the signals that hwdiag gets, Ctrl-C too; the third one kills it.
  Its exit status is hwdiag's (128 + N if signal N ended it), and all that it leaves running is killed.
  Each line that it writes to the pipe $HWDIAG_MARKS becomes a mark on the time axis: echo epoch 2 > "$HWDIAG_MARKS".
  'hwdiag run' and 'hwdiag tune' write their phases there by themselves.

Without a command it watches what runs anyway: for --seconds, or until Ctrl-C.

metrics:
  --textfile and --serve export the samples while it watches: the endpoint and the file are gone when it ends.
  Their names follow OpenTelemetry's conventions. 'hwdiag monitor --dashboard' prints a dashboard to import."""


def register(verbs: Any) -> None:
    """Add this verb."""
    text = "what does the machine do while a command runs?"
    add(verbs, "monitor", watch, text, monitor_options, examples=EXAMPLES, details=DETAILS)


def monitor_options(monitor: argparse.ArgumentParser) -> None:
    """Add the options of ``monitor``."""
    from hwdiag.core.command_line import add_options
    from hwdiag.parameters.watching import MonitorParams

    add_options(monitor, MonitorParams)
    monitor.add_argument("--out", type=Path, metavar="FOLDER", help="where to write (default: outputs/<host>/<time>)")
    monitor.add_argument(
        "--textfile", type=Path, metavar="FILE", help="also write metrics there for node_exporter: NAME.prom"
    )
    monitor.add_argument(
        "--serve", metavar="[ADDRESS:]PORT", help="also serve metrics for Prometheus; a port alone is of 127.0.0.1"
    )
    monitor.add_argument(
        "--verification", type=Path, metavar="FILE", help="verification.json whose verdict is among the metrics"
    )
    monitor.add_argument("--dashboard", action="store_true", help="print a dashboard for Grafana, and watch nothing")
    monitor.add_argument("--json", action="store_true", help="print the summary as JSON")


def watch(args: argparse.Namespace) -> int:
    """Run hwdiag monitor."""
    from hwdiag.core.command_line import given
    from hwdiag.metrics.watching import LiveMetrics
    from hwdiag.monitor import show
    from hwdiag.monitor.live import terminal_live
    from hwdiag.monitor.steps import Monitor, load
    from hwdiag.parameters.watching import MonitorParams
    from hwdiag.record.store import writable
    from hwdiag.report.terminal import drawn

    if args.dashboard:
        return print_dashboard()
    params = load(given(args, MonitorParams))
    metrics = LiveMetrics(args.textfile, args.serve, args.verification)
    # What a command prints is its own: as time(1), hwdiag says its part on the standard error.
    stream = sys.stderr if params.command else sys.stdout
    run = Monitor(params, writable(args.out))
    stdio = (sys.stdin.fileno(), sys.stdout.fileno(), sys.stderr.fileno()) if params.command else None
    if not params.command and stream.isatty() and params.seconds is None:
        print("watching until Ctrl-C", file=sys.stderr)
    watched = None if params.command else sys.stderr
    with metrics:
        done = run.watch(
            params.seconds,
            lambda columns, *_: metrics.with_metrics(columns, terminal_live(columns, watched)),
            stdio,
        )
    if stream.isatty() and not params.command:
        print(file=sys.stderr)
    saved = run.save()
    if args.json:
        print(done.model_dump_json(indent=1), file=stream)
    else:
        tables = (show.percentiles(done.monitored), show.marks_table(done.monitored), show.absent_table(done.monitored))
        parts = [
            *(drawn(t, stream) for t in tables if t is not None),
            show.cost(done.monitored),
            saved,
        ]
        print("\n\n".join(parts), file=stream)
    return status(done.monitored.status, bool(params.command), bool(done.monitored.cut))


def print_dashboard() -> int:
    """Print the dashboard for Grafana."""
    import json

    from hwdiag.metrics.dashboard import dashboard

    print(json.dumps(dashboard(), indent=1))
    return 0
