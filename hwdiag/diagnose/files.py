"""The files that a run hands over: scripts of what was recommended and of settings, with what they need beside them."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

from hwdiag.audit.emit import settings_files
from hwdiag.audit.model import Audit
from hwdiag.compat import advice as compat
from hwdiag.compat.model import Survey
from hwdiag.core.errors import HwdiagError
from hwdiag.core.files import EmittedFile, File
from hwdiag.core.finding import Recommendation
from hwdiag.core.outside import user_path
from hwdiag.experiment.lever import DEFAULT
from hwdiag.parameters.diagnosis import Profile
from hwdiag.process.launch import Launch
from hwdiag.record.model import Record
from hwdiag.record.store import write_file
from hwdiag.record.tuning import recommended_plan, tuning
from hwdiag.tune.comfyui import render_comfyui
from hwdiag.tune.emit import is_emitted, launch_files
from hwdiag.tune.within import START, SWITCHES


def write_files(
    record: Record, profile: Profile, python: str, folder: Path, chosen: Collection[str] | None
) -> tuple[EmittedFile, ...]:
    """Write scripts of the recommendations that are ``chosen``, by their ids, and of settings; return what there is.

    Where nothing was measured there is none of the first to write.

    Raises:
        HwdiagError: something could not be written.
    """
    made_at = record.started_at
    audited = record.study("audit", Audit)
    wanted = [x for x in record.recommendations if is_emitted(x, chosen)]
    launches = {x.id: launch_of(record, x) for x in wanted}
    files = [
        *launch_files(
            launches,
            wanted,
            record.host,
            plans=tuning(record).plans,
            software=record.software,
            folder=folder,
            command=profile.command,
            made_at=made_at,
        ),
        *(settings_files(audited, record.host, made_at=made_at) if audited and record.host.is_here else ()),
    ]
    if profile.comfyui is not None and files:
        files += comfyui_files(record, user_path(profile.comfyui).absolute(), python, folder)
    if any(launch.python_path for launch in launches.values()):
        what = "What switches torch in every Python that a launch script starts"
        files.append(File(path=f"scripts/{SWITCHES}/sitecustomize.py", text=START.read_text(), what=what))
    written = [write_file(folder, f) for f in files]
    libraries = {path for launch in launches.values() for path in launch.preload}
    return (*written, *(copy(Path(p), folder, "A library that a launch script preloads") for p in sorted(libraries)))


def launch_of(record: Record, recommendation: Recommendation) -> Launch:
    """Return the Launch that a recommendation starts, with what torch and numpy were seen to need here.

    Raises:
        UsageError: the record has no such plan.
    """
    launch = (recommended_plan(record, recommendation) or DEFAULT).launch
    found = record.study("compat", Survey)
    return launch if found is None else compat.with_cure(launch, found.cure)


def comfyui_files(record: Record, comfyui: Path, python: str, folder: Path) -> list[File]:
    """Return the scripts that start ComfyUI through the launch script."""
    launch = str((folder / "scripts" / "launch.sh").absolute())
    texts = render_comfyui(record.host, str(comfyui), python, launch, made_at=record.started_at)
    return [
        File(path=f"scripts/{name}", text=text, what="Start ComfyUI", executable=name.endswith(".sh"))
        for name, text in texts.items()
    ]


def copy(library: Path, folder: Path, what: str) -> EmittedFile:
    """Copy a library beside the scripts. Raises ``HwdiagError`` where that fails."""
    path = f"scripts/{library.name}"
    try:
        shutil.copyfile(library, folder / path)
    except OSError as error:
        raise HwdiagError(f"cannot write {folder / path}: {error.strerror}") from None
    return EmittedFile(path=path, what=what)
