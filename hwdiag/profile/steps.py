"""Steps of ``hwdiag profile``: a command or a file in, its trace and its summary out."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from hwdiag.core.errors import UsageError
from hwdiag.core.files import EmittedFile, File
from hwdiag.core.home import home
from hwdiag.core.outside import user_path
from hwdiag.core.text import now
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.parameters.watching import ProfileParams
from hwdiag.profile import show
from hwdiag.profile.measure import Profiled, profile, python_with_torch
from hwdiag.record.store import create_folder, folder_name
from hwdiag.workbook import records

FIGURE = "memory.svg"


def profile_command(params: ProfileParams, out: Path | None) -> tuple[Profiled, Path]:
    """Run it traced; gives what was found, and the folder with the trace.

    Raises:
        UsageError: there is nothing to run.
        HwdiagError: nothing was traced, or no trace could be written.
    """
    command, file = params.command or (), params.workload_file
    if bool(command) == (file is not None):
        raise UsageError("profile what? Give a command after --, or --file FILE")
    path = None if file is None else user_path(file)
    if path is not None and not path.is_file():
        raise UsageError(f"there is no file {path}")
    interpreter = python_with_torch(params.python)
    place = out or create_folder(home() / "outputs", folder_name(params.host, os.uname().nodename), now())
    stdio = (sys.stdin.fileno(), sys.stdout.fileno(), sys.stderr.fileno())
    done = profile(
        place,
        command,
        file=path.resolve() if path else None,
        python=interpreter,
        seconds=params.seconds,
        after=params.after,
        events=params.events,
        stdio=stdio,
    )
    return done, place


def save(done: Profiled, folder: Path) -> str:
    """Write the record beside the trace; says where everything is. Raises ``HwdiagError`` where that fails."""
    record = records.record_of("profile", done, host=read_host(Root.live()), verdict=show.verdict(done))
    files: list[File | EmittedFile] = []
    if done.trace is not None:
        files.append(EmittedFile(path=done.trace, what="The trace, for Perfetto and TensorBoard"))
    figure = None if done.traced is None else show.memory_figure(done.traced)
    if figure is not None:
        files.append(File(path=FIGURE, text=figure.svg + "\n", what="Memory over time"))
    record, _ = records.save(record, files, folder)
    return "\n".join(records.shown(folder / f.path) for f in record.files)
