"""A new profile: params/NAME.yaml that expects what this machine has."""

from __future__ import annotations

from pathlib import Path

import yaml

from hwdiag.core.errors import HwdiagError, UsageError
from hwdiag.core.home import home
from hwdiag.host.model import Host
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.parameters.diagnosis import Expectation, Profile
from hwdiag.parameters.shared import HOST_NAME


def write_profile(name: str) -> Path:
    """Write the profile; gives its path.

    Raises:
        UsageError: the name cannot be one, or there is such a profile.
        HwdiagError: the file cannot be written.
    """
    if not HOST_NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot name a profile: letters, digits, - and _ only")
    path = home() / "params" / f"{name}.yaml"
    profile = profile_of(read_host(Root.live()), name)
    text = yaml.safe_dump(
        profile.model_dump(mode="json", include={"title", "expect"}, exclude_none=True), sort_keys=False
    )
    try:
        path.parent.mkdir(exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(f"# Written by 'hwdiag init-host {name}'. docs/parameters.md lists what may stand here.\n{text}")
    except FileExistsError:
        raise UsageError(f"{path} exists already") from None
    except OSError as error:
        raise HwdiagError(f"cannot write {path}: {error.strerror}") from None
    return path


def profile_of(host: Host, name: str) -> Profile:
    """Return a profile that this host fits: facts that will not change by themselves, with a margin for memory that the
    firmware keeps."""
    total = host.memory.total_bytes
    expect = Expectation(
        arch=host.system.arch,
        cpu=host.cpu.model,
        min_cores=host.cpu.cores,
        min_sockets=host.cpu.sockets,
        min_memory_gib=None if total is None else round(0.9 * total / 2**30, 1),
        gpu=host.accelerators[0].name if host.accelerators else None,
    )
    return Profile(host=name, title=f"{host.cpu.model or host.system.arch}", expect=expect)
