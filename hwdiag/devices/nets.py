"""The reference nets, as workloads: a forward pass, and a training step."""

from __future__ import annotations

from typing import Any

from hwdiag.agent.nets import TITLES
from hwdiag.core.value import Value
from hwdiag.devices.model import Device
from hwdiag.experiment.model import Workload
from hwdiag.experiment.techniques import Mode
from hwdiag.experiment.workloads import GPT2, RESNET18_FLOPS, gpt2


class Net(Value):
    """One reference net."""

    name: str
    """As in ``hwdiag.agent.nets``."""
    inference: dict[str, int]
    """Size of a forward pass."""
    training: dict[str, int]
    """Size of a training step; batches can be cut into four."""
    flops: float = 0
    """Of the forward pass; 0 where it is not counted here."""
    convolutions: bool = False
    attention: bool = False
    linear_layers: bool = True
    """Whether its linear layers do a good part of the work."""
    plain: bool = False
    """Written in plain torch; any other needs transformers in that interpreter."""

    def title_of(self, mode: Mode) -> str:
        """Return the net, the mode and the size, as a person reads them."""
        size = self.size_of(mode)
        parts = [f"batch {size['batch']}"]
        parts += [f"{size['side']} x {size['side']}"] if "side" in size else []
        parts += [f"{size['tokens']} tokens"] if "tokens" in size else []
        return f"{TITLES[self.name]} {'forward pass' if mode == 'inference' else 'training step'}, {', '.join(parts)}"

    def size_of(self, mode: Mode) -> dict[str, int]:
        return self.inference if mode == "inference" else self.training

    def workload(self, mode: Mode, *, copies_inputs: bool = False) -> Workload:
        """Return the net as a workload. ``copies_inputs``: its inputs come from the host's memory each time."""
        return Workload.model_validate(
            {
                "name": f"{self.name}-{mode}" + ("-copied-inputs" if copies_inputs else ""),
                "title": self.title_of(mode) + (", inputs copied from the host" if copies_inputs else ""),
                "kind": mode,
                "family": "model",
                "dtype": "float32",
                "what": self.name,
                "size": {**self.size_of(mode), **({"copies_inputs": 1} if copies_inputs else {})},
                "flops": self.flops if mode == "inference" else 0,
                "bytes": 0,
            }
        )


def image(name: str, **more: Any) -> Net:
    """Return a net of convolutions."""
    return Net(name=name, inference={"batch": 1, "side": 224}, training={"batch": 8, "side": 96},
               convolutions=True, **{"linear_layers": False, **more})  # fmt: skip


NETS: dict[str, Net] = {
    net.name: net
    for net in (
        image("resnet18", flops=RESNET18_FLOPS, plain=True),
        Net(name="gpt2", inference=GPT2, training={**GPT2, "batch": 4}, flops=gpt2().flops,
            attention=True, plain=True),
        image("resnet50"),
        image("mobilenetv2"),
        Net(name="vit-b", inference={"batch": 1, "side": 224}, training={"batch": 4, "side": 224},
            attention=True),
        Net(name="bert-base", inference={"batch": 1, "tokens": 128},
            training={"batch": 4, "tokens": 128}, attention=True),
        Net(name="unet-block", inference={"batch": 1, "side": 32},
            training={"batch": 4, "side": 32}, convolutions=True, attention=True, linear_layers=False),
    )
}  # fmt: skip

DECODE_TOKENS = 64
"""Context of the token whose latency a target asks for."""


def decoding() -> Workload:
    """Return one token of GPT-2 small with its context in the cache."""
    return Workload(
        name="gpt2-decode", title=f"GPT-2 small, one token after {DECODE_TOKENS}", kind="decode", family="model",
        dtype="float32", what="gpt2", size={"batch": 1, "tokens": DECODE_TOKENS}, flops=0, bytes=0,
    )  # fmt: skip


def tasks(names: tuple[str, ...], modes: tuple[Mode, ...], device: Device) -> tuple[Workload, ...]:
    """Return every net in every mode; where the device has memory of its own, with inputs copied from the host too."""
    found = [NETS[name].workload(mode) for mode in modes for name in names]
    if not device.is_cpu and "inference" in modes:
        found += [NETS[name].workload("inference", copies_inputs=True) for name in names]
    return tuple(found)
