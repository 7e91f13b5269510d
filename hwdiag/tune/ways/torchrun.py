"""torchrun, which starts several instances that work together: each becomes the one of its local rank."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from hwdiag.core.files import File
from hwdiag.tune.launch_script import script_path
from hwdiag.tune.way import Start, Way


def files(start: Start) -> Iterator[File]:
    """Yield the script for several instances; nothing for one process, which needs no torchrun."""
    if len(start.members) > 1:
        yield File(path="torchrun.sh", text=text(start), what="torchrun with bound instances", executable=True)


def text(start: Start) -> str:
    """Return the script's text. torchrun sets OMP_NUM_THREADS to 1 where nothing does: the script behind it sets it."""
    script = start.scripts / script_path(start.recommendation).rpartition("/")[2]
    words = " ".join(map(shlex.quote, start.words))
    lines = [
        "# Values are data in single quotes, whatever they hold: nothing in them is meant to expand.",
        "# shellcheck disable=SC2016",
        "set -euo pipefail",
        *([f"cd {shlex.quote(str(start.folder))}"] if start.folder is not None else []),
        f"exec torchrun --standalone --nproc-per-node {len(start.members)} --no-python \\",
        f"  {shlex.quote(str(script))} --local-rank -- {words}",
        "",
    ]
    return "#!/bin/bash\n" + start.header() + "\n".join(lines)


WAY = Way("torchrun", "torchrun for several instances", files)
