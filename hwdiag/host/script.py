"""Scripts for one host: what tells it from another, and how they are rendered."""

from __future__ import annotations

from hwdiag import __version__
from hwdiag.core.jinja import templates
from hwdiag.host.identity import identity_of
from hwdiag.host.model import Host


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


def render(package: str, template: str, host: Host, made_at: str, **values: object) -> str:
    """Return the text of a package's template for this host. Bash's ``${#array[@]}`` is no comment of Jinja's here."""
    env = templates(package).overlay(trim_blocks=True, comment_start_string="{##", comment_end_string="##}")
    who = {"host": host, "identity": identity(host), "version": __version__, "made_at": made_at}
    return env.get_template(template).render(**who, **values)
