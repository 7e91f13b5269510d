"""Ways to start ComfyUI on this host: by the measured Launch, carefully for finding faults, and as a service."""

from __future__ import annotations

import re
from pathlib import Path

from hwdiag.host.model import Host
from hwdiag.host.script import render
from hwdiag.process.environment.registry import VARIABLES

OPTIMIZED = "comfyui-optimized.sh"
NATIVE_HALF = frozenset({"AVX512-FP16", "AVX512-BF16", "AMX-FP16", "AMX-BF16"})
"""Without one of these, half precision on a CPU runs on reference code, some fifty times slower than fp32."""


def render_comfyui(host: Host, folder: str, python: str, launch: str, *, made_at: str) -> dict[str, str]:
    """Return two start scripts and a unit, by their names.

    Args:
        host: the host they are for.
        folder: ComfyUI's own.
        python: the interpreter that was measured.
        launch: absolute path of the launch script of the workbook; what is rendered goes beside it.
        made_at: UTC, ISO 8601.
    """
    on_cpu = not host.accelerators
    flags = ["--cpu"] if on_cpu else []
    why = ["It listens on 127.0.0.1 only: ComfyUI has no password, and custom nodes run code. Use an SSH tunnel."]
    if on_cpu:
        half = NATIVE_HALF & set(host.cpu.isa.features if host.cpu.isa else ())
        why.append("--cpu: no GPU was found. Half precision (--fp16-vae) is left out: " + (
            "measure it before you add it." if half else "this CPU has no instructions for it, and reference code is "
            "some fifty times slower than fp32."
        ))  # fmt: skip
    else:
        why.append("Allocator settings in PYTORCH_CUDA_ALLOC_CONF are left out: ComfyUI overwrites that variable.")
    careful = [*flags, "--disable-all-custom-nodes"]
    careful_why = [
        "For finding faults: nothing is set, and no custom node is loaded. If it dies of an illegal instruction, "
        "'hwdiag compat' names the package; then add nodes with --whitelist-custom-nodes.",
        why[0],
    ]
    common = {"folder": folder, "python": python, "left_out": left_out()}
    return {
        OPTIMIZED: render(
            "hwdiag.tune", "comfyui.sh.j2", host, made_at, title="by the Launch that was measured",
            reasons=why, flags=flags,
            launch=launch, **common
        ),
        "comfyui-conservative.sh": render(
            "hwdiag.tune", "comfyui.sh.j2", host, made_at, title="conservatively",
            reasons=careful_why, flags=careful,
            launch=None, **common
        ),
        "comfyui.service": render(
            "hwdiag.tune", "comfyui.service.j2", host, made_at, start=str(Path(launch).with_name(OPTIMIZED))
        ),
    }  # fmt: skip


def left_out() -> list[str]:
    """Return the variables that do nothing, with the reason."""
    useless = [v for v in VARIABLES if v.reader == "nothing"]
    lines = [f"{name}: {v.effect}" for v in useless for name in names(v.pattern)]
    lines.append("OMP_SCHEDULE: PyTorch splits its loops itself and never asks it.")
    lines.append("-march=... in CFLAGS: does nothing to packages that are installed already.")
    return lines


def names(pattern: str) -> list[str]:
    """Return the names that a pattern of alternatives stands for: ``TORCH_NUM_THREADS`` and so on."""
    found = []
    for part in re.split(r"\|(?![^(]*\))", pattern):
        words = [""]
        for piece in re.findall(r"\(([^)]*)\)|([^()]+)", part):
            options = piece[0].split("|") if piece[0] else [piece[1]]
            words = [w + o for w in words for o in options]
        found += words
    return found
