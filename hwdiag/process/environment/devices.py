"""Variables that hide accelerators."""

from __future__ import annotations

import re

from hwdiag.core.text import plural
from hwdiag.process.environment.model import Effect, Inherited, Variable


def visible(it: Inherited) -> Effect | None:
    """Judge a list of visible GPUs: from the first that is not there, none counts."""
    gpus, words = it.context.gpus, [w.strip() for w in it.value.split(",")]
    if not gpus:
        return None  # nothing is there to be hidden
    maker = "AMD" if it.name.startswith(("HIP", "ROCR")) else "NVIDIA"
    if words[0] in ("", "-1", "NoDevFiles", "none", "void"):
        return Effect(
            state="in effect",
            severity="warning",
            title=f"{it.name}={it.value} hides all GPUs: PyTorch uses none of the {plural(gpus, 'GPU')} of this host",
            why="With an empty list, or one that begins with -1, torch.cuda.is_available() is False.",
            remedy=f"Take it away with `unset {it.name}`, or name one: `{it.name}=0`.",
        )
    if any(re.fullmatch(r"(GPU|MIG)-.*", word) for word in words):
        return None  # by their UUIDs
    for place, word in enumerate(words):
        if not word.isdecimal() or int(word) >= gpus or word in words[:place]:
            left = "none is left" if place == 0 else f"{plural(place, 'GPU')} of {gpus} are left"
            why = "named twice" if word in words[:place] else f"not there: this host has {plural(gpus, 'GPU')}"
            return Effect(
                state="in effect",
                severity="warning",
                title=f"{it.shown} names GPU {word[:20]!r}, which is {why}; {left}",
                why=f"{maker}'s runtime counts from 0 and stops at the first that it does not find.",
                remedy=f"Take it away with `unset {it.name}`, or name what is there: `{it.name}="
                f"{','.join(map(str, range(gpus)))}`.",
            )
    return None


VARIABLES = (
    Variable(
        pattern="CUDA_VISIBLE_DEVICES|HIP_VISIBLE_DEVICES|ROCR_VISIBLE_DEVICES",
        reader="CUDA",
        scope="devices",
        severity="warning",
        effect="It names the GPUs that a program may see.",
        advice="Set it for one program.",
        source="CUDA C++ programming guide, environment variables; HIP, GPU isolation",
        emit="per program",
        judge=visible,
    ),
    Variable(
        pattern="CUDA_DEVICE_ORDER|CUDA_MODULE_LOADING|CUDA_CACHE_\\w+|CUDA_HOME|CUDA_PATH",
        reader="CUDA",
        scope="devices",
        severity="note",
        effect="It steers how CUDA counts devices and loads kernels.",
        advice="Set it for one program.",
        source="CUDA C++ programming guide, environment variables",
        emit="per program",
        harmless=True,
    ),
)
