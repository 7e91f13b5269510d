"""What ``hwdiag profile`` calls: a command or a file in, its trace and what it says out."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from hwdiag.emit.settings import File
from hwdiag.errors import UsageError
from hwdiag.home import home
from hwdiag.measure.profiling import Profiled, profile, python_with_torch
from hwdiag.record.store import create_folder, folder_name, write_file
from hwdiag.show import profile as show
from hwdiag.words import now

FILE, FIGURE = "profile.json", "memory.svg"


def profile_own(
    command: Sequence[str],
    *,
    file: Path | None,
    python: str | None,
    seconds: float,
    after: float,
    events: int,
    out: Path | None,
) -> tuple[Profiled, Path]:
    """Run it traced; gives what was found, and the folder with the trace.

    Raises:
        UsageError: there is nothing to run, or a limit is none.
        HwdiagError: nothing was traced, or no trace could be written.
    """
    if bool(command) == (file is not None):
        raise UsageError("profile what? Give a command behind --, or --file FILE")
    if file is not None and not file.is_file():
        raise UsageError(f"there is no file {file}")
    if not (0 < seconds <= 600 and 0 <= after <= 86400 and 1000 <= events <= 10_000_000):
        raise UsageError("--seconds takes up to 600, --after up to 86400, --events 1000 to 10000000")
    interpreter = python_with_torch(python)
    place = out or create_folder(home() / "outputs", folder_name("auto", os.uname().nodename), now())
    stdio = (sys.stdin.fileno(), sys.stdout.fileno(), sys.stderr.fileno())
    done = profile(
        place,
        command,
        file=file.resolve() if file else None,
        python=interpreter,
        seconds=seconds,
        after=after,
        events=events,
        stdio=stdio,
    )
    return done, place


def save(done: Profiled, folder: Path) -> str:
    """Write what was found beside the trace; says where everything is. Raises ``HwdiagError`` where that fails."""
    write_file(folder, File(path=FILE, text=done.model_dump_json(indent=1) + "\n", what="profile"))
    figure = None if done.traced is None else show.memory_figure(done.traced)
    if figure is not None:
        write_file(folder, File(path=FIGURE, text=figure.svg + "\n", what="figure"))
    where = folder.relative_to(home()) if folder.is_relative_to(home()) else folder
    files = (("trace", done.trace or ""), ("summary", FILE), ("memory", FIGURE))
    return "\n".join(f"{name + ':':<10}{where}/{file}" for name, file in files if file and (folder / file).exists())
