"""The GPU of a Jetson, as the kernel shows it: most of their drivers have no NVML.

Source: Documentation/ABI/testing/sysfs-class-devfreq of Linux; ``load`` of NVIDIA's driver nvgpu is in tenths of a
percent.
"""

from __future__ import annotations

from hwdiag.host.drm import Wanted, source, value
from hwdiag.host.model import Gap, Gpu
from hwdiag.host.root import Root
from hwdiag.host.source import Source

TREES = ("/proc/device-tree", "/sys/firmware/devicetree/base")
CHIPS = {
    "nvidia,tegra210": ("Maxwell", "5.3"),
    "nvidia,tegra186": ("Pascal", "6.2"),
    "nvidia,tegra194": ("Volta", "7.2"),
    "nvidia,tegra234": ("Ampere", "8.7"),
    "nvidia,tegra264": ("Blackwell", "11.0"),
}
DEVFREQ = "/sys/class/devfreq"
LOADS = ("/sys/devices/platform/gpu.0/load", "/sys/devices/gpu.0/load")


def chip(root: Root) -> str | None:
    """Return what the device tree calls the chip, ``nvidia,tegra234``; None on anything else."""
    path = next((p for tree in TREES if root.exists(p := f"{tree}/compatible")), None)
    file = None if path is None else root.keep(path)  # names that NUL bytes part are no text to ``Root.text``
    if file is None:
        return None
    words = file.word().decode(errors="replace").split("\0")
    file.close()
    return next((word for word in words if word.startswith("nvidia,tegra")), None)


def is_tegra(root: Root) -> bool:
    """Return whether this is a Jetson, or another board with one of its chips."""
    return chip(root) is not None


def clock_folder(root: Root) -> str | None:
    """Return the folder of the GPU's clock: ``17000000.gpu``, or with its chip's name as ``17000000.ga10b``."""
    ends = (".gpu", ".gm20b", ".gp10b", ".gv11b", ".ga10b", "gpu-gpc-0")
    return next((f"{DEVFREQ}/{name}" for name in root.names(DEVFREQ) if name.endswith(ends)), None)


def tegra_gpu(root: Root, index: int) -> Gpu:
    """Return the facts of the one GPU as they are now."""
    architecture, capability = CHIPS.get(chip(root) or "", (None, None))
    board = next((m for tree in TREES if (m := root.word(f"{tree}/model")) is not None), "NVIDIA Tegra")
    folder = clock_folder(root)
    now, most = (None, None) if folder is None else (
        root.integer(f"{folder}/cur_freq"),
        root.integer(f"{folder}/max_freq"),
    )  # fmt: skip
    load = next((n for path in LOADS if (n := root.integer(path)) is not None), None)
    return Gpu(
        index=index,
        name=f"{board.rstrip(chr(0))} (Tegra)",
        driver="nvgpu",
        architecture=architecture,
        compute_capability=capability,
        unified_memory=True,
        sm_mhz=None if now is None else now / 1e6,
        sm_max_mhz=None if most is None else most / 1e6,
        utilization=None if load is None else min(100, round(load / 10)),
    )


def tegra_columns(root: Root, index: int, absent: list[Gap]) -> Source | None:
    """Return what is sampled of it."""
    wanted = (
        Wanted("use", "%", "was at work", LOADS, value(10)),
        Wanted("clock", "MHz", "clock of its cores", [f"{clock_folder(root)}/cur_freq"], value(1e6)),
    )
    return source(root, index, "nvgpu", wanted, absent)
