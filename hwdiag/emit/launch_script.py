"""Launch scripts: any command under the recommended Launch, rendered from the same object that was measured."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from hwdiag import __version__
from hwdiag.advise.model import Recommendation
from hwdiag.host.model import Host
from hwdiag.measure.launch import Launch
from hwdiag.measure.model import OVERALL

if TYPE_CHECKING:
    from jinja2 import Environment


def render_launch_script(launch: Launch, recommendation: Recommendation, host: Host, *, made_at: str) -> str:
    """The script's text. It sets what ``launch`` sets, on the host that it was measured on, and nothing else."""
    return (
        templates()
        .get_template("launch.sh.j2")
        .render(
            launch=launch,
            recommendation=recommendation,
            host=host,
            environment=launch.environment(),
            binding=launch.binding(),
            identity=identity(host),
            version=__version__,
            made_at=made_at,
        )
    )


def templates() -> Environment:
    """The templates of all scripts."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # A shell script is no place for HTML escaping: every value passes the filter "quote" or "comment" instead.
    found = Environment(
        loader=PackageLoader("hwdiag.emit"), undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    found.filters["quote"] = lambda value: shlex.quote(str(value))
    found.filters["comment"] = one_line
    return found


def identity(host: Host) -> dict[str, str]:
    """What the script compares with the machine it runs on; a value that was not readable is empty and not compared."""
    return {
        "arch": host.system.arch,
        "cpus": str(len(host.cpu.online)),
        "machine": host.system.machine_hash or "",
    }


def one_line(text: object) -> str:
    """Text that cannot leave a shell comment: control characters, line ends among them, become spaces."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


def script_path(recommendation: Recommendation) -> str:
    """Below the run's folder: ``scripts/launch.sh``; ``scripts/launch-gpt2.sh`` for one workload's recommendation."""
    return "scripts/launch.sh" if recommendation.scope == OVERALL else f"scripts/launch-{recommendation.scope}.sh"
