"""The verb that looks into PyTorch: profile."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from hwdiag.core.verbs import add, status

EXAMPLES = """  hwdiag profile -- python train.py
  hwdiag profile --file my_model.py --seconds 5    # a file with build(), as for hwdiag tune"""
DETAILS = """the command:
  runs as it is, with its own Python; nothing in it is changed, and hwdiag need not be installed there.
  Each of its Python processes that uses torch is recorded, but for DataLoader workers, from its first operations on for
  --seconds, or until it has grown by 1 GiB; a long training goes on without. Of more than --events, the first are kept.
  A recording from the start has the cold start in it: --after 30 looks later. The exit status is the command's.

the file:
  has a function build() as for 'hwdiag tune', whose result is called warm, as often as fits --seconds and --events.

The trace opens in Perfetto (ui.perfetto.dev) and chrome://tracing; 'tensorboard --logdir FOLDER' with the plugin
torch-tb-profiler finds it by its name. Where several processes were traced, the largest trace is the one analysed."""


def register(verbs: Any) -> None:
    """Add this verb."""
    text = "what bounds my script? Under torch.profiler"
    add(verbs, "profile", run_profile, text, profile_options, examples=EXAMPLES, details=DETAILS)


def profile_options(profile: argparse.ArgumentParser) -> None:
    """Add the options of ``profile``."""
    from hwdiag.core.command_line import add_options
    from hwdiag.parameters.watching import ProfileParams

    add_options(profile, ProfileParams)
    profile.add_argument("--out", type=Path, metavar="FOLDER", help="where to write (default: outputs/<host>/<time>)")
    profile.add_argument("--json", action="store_true", help="print what was found as JSON")


def run_profile(args: argparse.Namespace) -> int:
    """Run hwdiag profile."""
    from hwdiag.core.command_line import given
    from hwdiag.parameters.diagnosis import load_topic
    from hwdiag.parameters.watching import ProfileParams
    from hwdiag.profile import show
    from hwdiag.profile.steps import profile_command, save
    from hwdiag.record.store import writable
    from hwdiag.report.terminal import drawn

    params = load_topic(ProfileParams, given(args, ProfileParams))
    done, place = profile_command(params, writable(args.out))
    written = save(done, place)
    stream = sys.stdout if params.workload_file else sys.stderr
    if args.json:
        print(done.model_dump_json(indent=1), file=stream)
        return status(done.status, True, False)
    assert done.traced is not None
    tables = (show.operations(done.traced), show.idle(done.traced))
    parts = [
        *(drawn(t, stream) for t in tables),
        "\n".join(show.summary(done)),
        show.verdict(done),
        written,
    ]
    print("\n\n".join(parts), file=stream)
    return status(done.status, True, False)
