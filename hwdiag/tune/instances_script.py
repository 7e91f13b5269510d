"""Scripts and units that start several instances, rendered from the Launch that was measured."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hwdiag.core.finding import Recommendation
from hwdiag.experiment.model import OVERALL
from hwdiag.host.model import Host
from hwdiag.process.launch import Launch
from hwdiag.tune.launch_script import library_names, render, script_path

PLACEHOLDER = ("python3", "/path/to/your/server.py")


def render_instances_script(
    launch: Launch, recommendation: Recommendation, host: Host, *, made_at: str, settings: str = ""
) -> str:
    """Return the text of a script that starts every member of ``launch`` and stops all when one fails."""
    members = [
        {
            "cpus_only": member.model_copy(update={"memory": None}).binding(),
            "full": member.binding() if member.memory else (),
        }
        for member in launch.members
    ]
    return render(
        "launch-instances.sh.j2",
        launch=launch,
        recommendation=recommendation,
        host=host,
        members=members,
        memory=any(member["full"] for member in members),
        environment=launch.environment(),
        libraries=library_names(launch),
        settings=settings,
        made_at=made_at,
    )


def render_unit(
    launch: Launch,
    recommendation: Recommendation,
    host: Host,
    *,
    script: Path,
    command: Sequence[str] | None,
    made_at: str,
) -> str:
    """Return a systemd template unit whose instance number is that of ``script``; ``command`` is the user's, if
    known."""
    return render(
        "worker.service.j2",
        launch=launch,
        recommendation=recommendation,
        host=host,
        count=len(launch.members),
        unit=Path(unit_path(recommendation)).name,
        script=str(script),
        command=tuple(command or PLACEHOLDER),
        user_command=bool(command),
        made_at=made_at,
    )


def unit_path(recommendation: Recommendation) -> str:
    """Return the unit's path below the run's folder, beside the script."""
    scope = "" if recommendation.scope == OVERALL else f"-{recommendation.scope}"
    return str(Path(script_path(recommendation)).with_name(f"hwdiag-worker{scope}@.service"))
