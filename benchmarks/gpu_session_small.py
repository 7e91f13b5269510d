"""``hwdiag devices`` with small operands and few rounds: the same code and all of its steps, for a rehearsal of
``gpu_session`` on a simulated device, whose values a CPU computes.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from math import prod
from typing import Any

from hwdiag.cli import main
from hwdiag.devices import batch, dataloader_fed, kernels, study
from hwdiag.devices.nets import NETS
from hwdiag.experiment.model import Workload
from hwdiag.experiment.workloads import conv2d, exact_conv2d, memory_workloads

ELEMENTS = 20_000
GPT = {"tokens": 16, "width": 32, "layers": 3, "heads": 4, "vocabulary": 500, "positions": 16}
OF_SIZE = {"batch", "side", "elements"}


def small(workload: Workload, **size: int) -> Workload:
    """Return a workload on operands of another size, with as many operations and bytes less."""
    sizes = {**workload.size, **size}
    share = prod(sizes[n] for n in OF_SIZE & sizes.keys()) / prod(workload.size[n] for n in OF_SIZE & sizes.keys())
    share *= sizes.get("side", 1) / workload.size.get("side", 1)  # an image has two
    return workload.model_copy(update={"size": sizes, "flops": workload.flops * share, "bytes": workload.bytes * share})


def shrink() -> None:
    """Let everything that ``devices`` measures be small."""
    places: dict[Any, dict[str, Any]] = {
        kernels: {
            "MATMUL_SIZES": (64,), "LARGE_SIZES": (128,), "TOKENS": 32, "TRANSFERS": (2**16,),
            "COMPARED_ARRAY": 8 * ELEMENTS, "PRECISION_N": {"cpu": 64, "accelerator": 128}, "SMALLER_N": {},
            "memory_workloads": lambda host: tuple(small(w, elements=ELEMENTS) for w in memory_workloads(host)),
            "conv2d": lambda: small(conv2d(), batch=2, side=32),
            "exact_conv2d": lambda: small(exact_conv2d(), batch=2, side=32),
        },
        dataloader_fed: {"BATCH": 2, "SIDE": 32, "SIDE_ON_CPU": 32, "MOST_WORKERS": 1},
        batch: {"TURN": replace(batch.TURN, window_s=0.01, min_samples=1)},
    }  # fmt: skip
    for module, names in places.items():
        for name, value in names.items():
            setattr(module, name, value)
    for name, net in NETS.items():
        gpt: dict[str, Any] = {mode: {**net.size_of(mode), **GPT} for mode in study.MODES}
        image: dict[str, Any] = {mode: {**net.size_of(mode), "side": 64} for mode in study.MODES}
        NETS[name] = net.model_copy(update=gpt if name == "gpt2" else image)
    for budget, effort in study.EFFORTS.items():
        few: dict[str, Any] = {
            "blocks": 1,
            "rounds": 1,
            "slow_rounds": 0,
            "slow_on": 0,
            "sustain_s": min(3, effort.sustain_s),
        }
        study.EFFORTS[budget] = replace(effort, **few, dataloader_fed=min(1, effort.dataloader_fed))


if __name__ == "__main__":
    shrink()
    sys.exit(main())
