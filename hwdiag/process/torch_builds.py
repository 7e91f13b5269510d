"""PyTorch's builds for NVIDIA's GPUs: the driver that each needs, and the cards that it has kernels for.

Sources: CUDA release notes, table of minor version compatibility; PyTorch's release compatibility matrix.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hwdiag.core.value import Value

LEAST_DRIVERS = {11: "450.80.02", 12: "525.60.13", 13: "580.65.06"}
"""By CUDA's major version, on Linux: a driver from there on runs all of it."""
INDEX = "https://download.pytorch.org/whl"


@dataclass(frozen=True)
class TorchBuild:
    """One kind of PyTorch's wheels."""

    cuda: str
    first: tuple[int, int]
    last: tuple[int, int]
    """Compute capabilities that it has kernels for."""
    torch: str = "torch"
    """What pip is told."""

    @property
    def command(self) -> str:
        """Return what installs it."""
        return f"pip install {self.torch} --index-url {INDEX}/cu{self.cuda.replace('.', '')}"


BUILDS = (
    TorchBuild("13.0", (7, 5), (12, 1)),
    TorchBuild("12.8", (7, 5), (12, 0)),
    TorchBuild("12.6", (5, 0), (9, 0)),
    TorchBuild("11.8", (5, 0), (9, 0), "'torch<2.8'"),
)
"""The newest first."""


def version(text: str) -> tuple[int, ...]:
    """Return a version's numbers, of ``13.0`` (13, 0), or (0,) for what is none."""
    parts = text.split(".")
    return tuple(map(int, parts)) if all(p.isdigit() for p in parts) else (0,)


def fitting(driver_cuda: str | None, capability: str | None) -> TorchBuild | None:
    """Return the newest build that a driver runs and that has kernels for a card; what is not known excludes none."""
    for build in BUILDS:
        runs = driver_cuda is None or version(build.cuda)[0] <= version(driver_cuda)[0]
        if runs and (capability is None or build.first <= version(capability) <= build.last):
            return build
    return None


def remedy(driver_cuda: str | None, capability: str | None) -> str:
    """Return in a clause which build to take."""
    build = fitting(driver_cuda, capability)
    return (
        "none of PyTorch's own builds fits it" if build is None else f"one for CUDA {build.cuda} fits: {build.command}"
    )


def too_old(driver: str | None, driver_cuda: str | None, built_for: str | None, capability: str | None) -> str:
    """Return what is wrong where a driver is too old for a torch, with the driver needed and the build that fits; empty
    where it is not."""
    if not driver_cuda or not built_for or version(driver_cuda)[0] >= version(built_for)[0]:
        return ""
    least = LEAST_DRIVERS.get(version(built_for)[0])
    needed = f", which needs driver {least} or newer" if least else ""
    named = f"the driver {driver}" if driver else "the driver"
    return (
        f"{named} is for CUDA {driver_cuda} at most, and this torch was built for {built_for}{needed}: "
        f"update the driver, or take another build, {remedy(driver_cuda, capability)}"
    )


def driver_in(note: str | None) -> str | None:
    """Return the CUDA version of a driver that torch calls too old: ``11.4`` of ``found version 11040``."""
    found = re.search(r"found version (\d+)", note or "")
    return f"{int(found[1]) // 1000}.{int(found[1]) % 1000 // 10}" if found else None


class TorchDevice(Value):
    """One accelerator as torch tells it."""

    name: str
    """``cuda:0``."""
    title: str
    memory_bytes: int | None = None
    unified_memory: bool = False
    """It has no memory of its own, but the host's."""
    capability: str | None = None
    """CUDA's compute capability, ``9.0``."""
    uuid: str | None = None
    """By which the host's GPU is found that it is."""
    architecture: str | None = None
    """Of AMD's its name, ``gfx1100``."""
    architectures: tuple[str, ...] = ()
    """Those that this torch was built for; empty where it does not tell."""

    @property
    def has_kernels(self) -> bool:
        """Return whether this torch can compute on it, as far as it tells."""
        return has_kernels(self.capability, self.architecture, self.architectures)


def has_kernels(capability: str | None, architecture: str | None, built_for: Sequence[str]) -> bool:
    """Return whether a torch built for these architectures has kernels for a card, as far as both are known.

    Code for ``sm_86`` runs on cards of its major number from that minor one on, that for ``sm_90a`` on 9.0 alone;
    ``compute_90`` is compiled for any card from there on when it is first used. AMD's have a name, ``gfx1100``.
    """
    if architecture is not None and architecture.startswith("gfx"):
        return not built_for or architecture.partition(":")[0] in built_for
    if capability is None:
        return True
    mine = version(capability)
    known = [m for name in built_for if (m := re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", name))]
    for kind, major, minor, special in (m.groups() for m in known):
        theirs = (int(major), int(minor))
        if kind == "compute" and theirs <= mine:
            return True
        if kind == "sm" and (theirs == mine if special == "a" else theirs[0] == mine[0] and theirs <= mine):
            return True
    return not known


def without_kernels(device: TorchDevice, torch: str | None, driver_cuda: str | None) -> str:
    """Return in a line that a torch has no kernels for a card, and which build has."""
    names = [name for name in device.architectures if name.startswith(("sm_", "gfx"))]
    is_nvidia = bool(names) and names[0].startswith("sm_")
    rest = f"; {remedy(driver_cuda, device.capability)}" if is_nvidia else ""
    card = f"compute capability {device.capability}" if is_nvidia else str(device.architecture)
    return f"this torch {torch} has kernels for {', '.join(names)}, and none for {card}{rest}"
