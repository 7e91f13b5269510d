"""Launch scripts: any command under the recommended Launch, rendered from the same object that was measured."""

from __future__ import annotations

import shlex
from pathlib import PurePath
from typing import TYPE_CHECKING

from hwdiag import __version__
from hwdiag.advise.model import Recommendation
from hwdiag.host.identity import identity_of
from hwdiag.host.model import Host
from hwdiag.measure.launch import Launch
from hwdiag.measure.model import OVERALL

if TYPE_CHECKING:
    from jinja2 import Environment


def render_launch_script(launch: Launch, recommendation: Recommendation, host: Host, *, made_at: str) -> str:
    """The script's text. It sets what ``launch`` sets, on the host that it was measured on, and nothing else."""
    return render(
        "launch.sh.j2",
        launch=launch,
        recommendation=recommendation,
        host=host,
        environment=launch.environment(),
        binding=launch.binding(),
        without_numactl=launch.model_copy(update={"memory": None}).binding() if launch.memory else (),
        libraries=library_names(launch),
        made_at=made_at,
    )


def render(template: str, *, host: Host, **values: object) -> str:
    """A template's text, for the host that it is meant for."""
    return templates().get_template(template).render(host=host, identity=identity(host), version=__version__, **values)


def library_names(launch: Launch) -> list[str]:
    """Files that lie beside the script and are preloaded."""
    return [PurePath(path).name for path in launch.preload]


def templates() -> Environment:
    """The templates of all scripts."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # A shell script is no place for HTML escaping: every value passes the filter "quote" or "comment" instead.
    found = Environment(
        loader=PackageLoader("hwdiag.emit"), undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    found.filters["quote"] = lambda value: shlex.quote(str(value))
    found.filters["comment"] = one_line
    found.filters["systemd"] = systemd_word
    return found


def identity(host: Host) -> dict[str, str]:
    """Return what the script compares with the machine it runs on; what is not known is empty and not compared.

    Arm's model name is not the kernel's own, sockets of other architectures are counted in ways of their own, and where
    CPUs are offline the kernel does not tell their cores: these are left out.
    """
    found = identity_of(host)
    x86 = host.system.arch in ("x86_64", "i686")
    facts = {
        "arch": host.system.arch,
        "cpus": len(host.cpu.online),
        "machine": found.machine,
        "cpu": found.cpu if x86 else None,
        "family": found.family,
        "sockets": None if host.cpu.offline or not x86 else found.sockets,
        "cores": None if host.cpu.offline else found.cores,
        "threads": found.threads,
        "nodes": found.nodes,
        "memory_kib": None if found.memory_bytes is None else found.memory_bytes // 1024,
        "product": found.product,
    }
    return {name: "" if value is None else str(value) for name, value in facts.items()}


def one_line(text: object) -> str:
    """Text that cannot leave a shell comment: control characters, line ends among them, become spaces."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


def systemd_word(text: object) -> str:
    """One word of a unit's command line (systemd.service(5), "Command lines"): nothing in it is expanded."""
    special = {"\\": "\\\\", '"': '\\"', "%": "%%", "$": "$$"}
    return f'"{"".join(special.get(c) or (c if c.isprintable() else hex_bytes(c)) for c in str(text))}"'


def hex_bytes(character: str) -> str:
    """``\\x0a`` for a line end."""
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def script_path(recommendation: Recommendation) -> str:
    """Below the run's folder: ``scripts/launch.sh``; ``scripts/launch-gpt2.sh`` for one workload's recommendation.

    Those for several instances are named ``launch-instances...``.
    """
    stem = "scripts/launch-instances" if recommendation.instances > 1 else "scripts/launch"
    if recommendation.offered:
        return f"{stem}-unsupported.sh"
    return f"{stem}.sh" if recommendation.scope == OVERALL else f"{stem}-{recommendation.scope}.sh"
