"""settings.py: a short file that a person's script imports, with what was shown to help on this host."""

from __future__ import annotations

from collections.abc import Sequence

from hwdiag import __version__
from hwdiag.core.files import File
from hwdiag.core.jinja import one_line, templates
from hwdiag.devices.model import CPU, Study
from hwdiag.devices.recommend import Choice

PATH = "scripts/settings.py"


def render_torch_settings(study: Study, choices: Sequence[Choice]) -> str:
    """Return the file's text, for the first accelerator, or the CPU. Without a gain it changes nothing, and says so."""
    device = next((d.name for d in study.devices if not d.is_cpu), CPU)
    mine = {m: [c for c in choices if (c.device, c.mode) == (device, m)] for m in ("inference", "training")}
    setup = dict.fromkeys(line for of in mine.values() for c in of for line in c.entry.setup)
    environment = templates("hwdiag.devices")
    environment.filters["docstring"] = in_docstring
    return environment.get_template("settings.py.j2").render(
        study=study,
        device=device,
        kind=device.partition(":")[0],
        modes=mine,
        setup=list(setup),
        variables={k: v for of in mine.values() for c in of for k, v in c.entry.env.items()},
        version=__version__,
    )


def in_docstring(text: object) -> str:
    """Return the text in one line without quotes and backslashes, so that it cannot leave a docstring."""
    return one_line(text).replace('"', "'").replace("\\", "/")


def torch_settings(study: Study, choices: Sequence[Choice]) -> File:
    """Return the settings as a file of a run's folder."""
    return File(path=PATH, text=render_torch_settings(study, choices), what="What to import in a script")
