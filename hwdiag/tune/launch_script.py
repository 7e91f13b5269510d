"""Launch scripts: any command under the recommended Launch, rendered from the same object that was measured."""

from __future__ import annotations

from pathlib import PurePath

from hwdiag import __version__
from hwdiag.core.finding import Recommendation
from hwdiag.core.jinja import templates
from hwdiag.experiment.model import OVERALL
from hwdiag.host.model import Host
from hwdiag.host.script import identity
from hwdiag.process.launch import Launch


def render_launch_script(
    launch: Launch, recommendation: Recommendation, host: Host, *, made_at: str, settings: str = ""
) -> str:
    """Return the script's text. It sets what ``launch`` sets, on the host that it was measured on, and nothing else."""
    return render(
        "launch.sh.j2",
        launch=launch,
        recommendation=recommendation,
        host=host,
        environment=launch.environment(),
        binding=launch.binding(),
        without_numactl=launch.model_copy(update={"memory": None}).binding() if launch.memory else (),
        libraries=library_names(launch),
        settings=settings,
        made_at=made_at,
    )


def render(template: str, *, host: Host, **values: object) -> str:
    """Return a template's text, for the host that it is meant for."""
    found = templates("hwdiag.tune").get_template(template)
    return found.render(host=host, identity=identity(host), version=__version__, **values)


def library_names(launch: Launch) -> list[str]:
    """Return the preloaded files that lie beside the script."""
    return [PurePath(path).name for path in launch.preload]


def script_path(recommendation: Recommendation) -> str:
    """Return the script's path below the run's folder: ``scripts/launch.sh``, or ``scripts/launch-gpt2.sh`` for one
    workload's recommendation.

    Those for several instances are named ``launch-instances...``.
    """
    stem = "scripts/launch-instances" if recommendation.instances > 1 else "scripts/launch"
    if recommendation.is_of_other_accuracy:
        return f"{stem}-{recommendation.accuracy}.sh"
    if recommendation.offered:
        return f"{stem}-unsupported.sh"
    return f"{stem}.sh" if recommendation.scope == OVERALL else f"{stem}-{recommendation.scope}.sh"
