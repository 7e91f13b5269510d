"""settings.py: the part of a plan that a program sets itself, rendered from the levers that were measured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath

from hwdiag import __version__
from hwdiag.agent.techniques import TECHNIQUES as IN_AGENT
from hwdiag.core.finding import Recommendation
from hwdiag.core.jinja import one_line, templates
from hwdiag.experiment.lever import Plan
from hwdiag.experiment.techniques import BY_NAME, Technique
from hwdiag.process.model import Software
from hwdiag.tune.launch_script import script_path


def render_settings(plan: Plan, recommendation: Recommendation, software: Software, *, made_at: str) -> str:
    """Return the file's text: what runs when it is imported, and functions for the net, its inputs and its calls."""
    parts = tuple(parts_of(plan))
    environment = templates("hwdiag.tune")
    environment.filters["docstring"] = in_docstring
    return environment.get_template("settings.py.j2").render(
        plan=plan,
        parts=parts,
        recommendation=recommendation,
        torch=software.torch_version or "unknown",
        device="cuda" if software.cuda_devices and any(not part.cpu for part in parts) else "cpu",
        module=PurePath(settings_path(recommendation)).stem,
        script=PurePath(script_path(recommendation)).name if not plan.launch.is_default else "",
        version=__version__,
        made_at=made_at,
    )


def parts_of(plan: Plan) -> Iterator[Technique]:
    """Yield what the plan sets within the process, in the order in which the agent applied it."""
    for name in sorted(plan.techniques, key=lambda name: IN_AGENT[name]().order):
        yield BY_NAME[name]


def settings_path(recommendation: Recommendation) -> str:
    """Return the path below the run's folder: ``scripts/settings.py``, ``scripts/settings-reduced.py``."""
    path = PurePath(script_path(recommendation))
    return str(path.with_name(path.stem.replace("launch", "settings", 1).replace("-", "_") + ".py"))


def in_docstring(text: object) -> str:
    """Return text that cannot leave a docstring: one line without quotes and backslashes."""
    return one_line(text).replace('"', "'").replace("\\", "/")
