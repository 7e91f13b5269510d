"""Attributes of NVIDIA's GPUs, which NVML tells and nvidia-smi sets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hwdiag.audit.kind import Kind, Place
from hwdiag.audit.kinds.unit import DEVICE, WORD
from hwdiag.host.model import Gpu, Host
from hwdiag.host.root import Root
from hwdiag.host.settings import Setting


class GpuFact(Kind):
    """One attribute of each of NVIDIA's GPUs."""

    name = "gpu"
    needs = "nvidia-smi"

    fact: str
    """Attribute of ``host.model.Gpu``."""
    field: str
    """What ``nvidia-smi --query-gpu`` calls it."""
    write_only: str = ""
    """What the script calls it, where nothing tells what it is set to: ``field`` is then only what speaks of it."""

    def read(self, root: Root, host: Host) -> Iterator[Setting]:
        for gpu in (g for g in host.gpus if g.vendor == "nvidia"):
            value = getattr(gpu, self.fact)
            where = f"gpu {gpu_id(gpu)} {self.field}"
            why = "" if value is not None else "this GPU or its driver does not report it"
            yield Setting(where=where, target=f"GPU {gpu.index}", now=_word(value), why=why)

    def places(self, where: str, wanted: str, host: Host, disturbs: Sequence[str] = ()) -> Iterator[Place]:
        id_, _, field = where.removeprefix("gpu ").rpartition(" ")
        if DEVICE.fullmatch(id_):
            yield Place(kind="gpu", name=f"{id_} {self.write_only or field}", wanted=wanted)

    def known(self, disturbs: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
        yield "gpu", f"{WORD}* {self.write_only or self.field}"

    @property
    def is_told(self) -> bool:
        return not self.write_only


def gpu_id(gpu: Gpu) -> str:
    """Return what names a GPU best: a UUID stays with the board, an index does not."""
    return gpu.uuid or gpu.bus_id or str(gpu.index)


def _word(value: object) -> str | None:
    """Return a value as nvidia-smi prints it."""
    if isinstance(value, bool):
        return "Enabled" if value else "Disabled"
    if isinstance(value, float):
        return f"{value:.2f}"
    return None if value is None else str(value)
