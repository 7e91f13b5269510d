"""The comparison of datacenter CPUs that this estimator contains: its figures as published, and how it counted.

The figures are a labelled column beside ours, and nothing here is tuned to them. Batch 1, "INT8".
Source: branes-ai/graphs, docs/hardware/datacenter_cpu_comparison.md, October 2025.
"""

from __future__ import annotations

from hwdiag.agent.nets import TITLES
from hwdiag.catalogue.parts import Part
from hwdiag.core.value import Value
from hwdiag.estimate.estimate import Machine
from hwdiag.estimate.model import NetEstimate
from hwdiag.experiment.net_count import Count, NetSpec

NETS = {
    f"{TITLES[spec.net]} {spec.side or ''}".strip(): spec
    for spec in (
        NetSpec(net="resnet50"),
        NetSpec(net="deeplabv3-r50", side=512),
        NetSpec(net="vit-b"),
        NetSpec(net="convnext-l"),
        NetSpec(net="vit-l"),
    )
}
"""By the names that it gives them."""
MILLISECONDS = {
    "ampereone-a192": (4.24, 74.11, 1.53, 26.90, 4.92),
    "ampereone-a128": (3.05, 51.36, 1.53, 18.39, 4.92),
    "xeon-8490h": (0.87, 8.45, 1.65, 4.00, 5.32),
    "xeon-8592": (0.88, 8.36, 1.65, 4.00, 5.32),
    "epyc-9654": (4.61, 85.54, 1.14, 29.85, 3.60),
    "epyc-9754": (6.34, 114.85, 1.14, 42.01, 3.60),
    "xeon-6980p": (0.83, 8.64, 1.42, 3.54, 4.56),
    "epyc-9965": (8.36, 152.91, 0.91, 56.13, 2.88),
}
"""Published latency of each net, by part; the last two were "Granite Rapids 128c" and "EPYC Turin 192c"."""
INT8_TOPS = {
    "ampereone-a192": 22.1, "ampereone-a128": 14.7, "xeon-8490h": 88.7, "xeon-8592": 98.3, "epyc-9654": 7.37,
    "epyc-9754": 9.22, "xeon-6980p": 209.7, "epyc-9965": 15.4,
}  # fmt: skip
"""The peaks it assumed, in 10^12 operations a second."""
BANDWIDTH_GBS = {
    "ampereone-a192": 332.8, "ampereone-a128": 332.8, "xeon-8490h": 307.2, "xeon-8592": 307.2, "epyc-9654": 460.8,
    "epyc-9754": 460.8, "xeon-6980p": 358.4, "epyc-9965": 576.0,
}  # fmt: skip
TRANSFORMER_GFLOP = {"ViT-B": 0.346, "ViT-L": 0.713}
"""What it counted for one image: the linear layers without their tokens, attention not at all."""


class PublishedRow(Value):
    """One published latency beside ours, in seconds."""

    net: str
    part: str
    published: float
    ours: NetEstimate
    why: str
    """Where the difference comes from."""


def compare_published(net: str, key: str, part: Part, count: Count, ours: NetEstimate) -> PublishedRow:
    """Return a published figure beside ours, with its explanation from the counts."""
    published = MILLISECONDS[key][list(NETS).index(net)] * 1e-3
    return PublishedRow(net=net, part=part.name, published=published, ours=ours, why=why(net, key, part, count, ours))


def why(net: str, key: str, part: Part, count: Count, ours: NetEstimate) -> str:
    """Return the explanation of the difference, the most important part first."""
    published = MILLISECONDS[key][list(NETS).index(net)] * 1e-3
    said = []
    peak, assumed = (part.peak("int8") or 0.0) / 1e12, INT8_TOPS[key]
    if net in TRANSFORMER_GFLOP:
        theirs = TRANSFORMER_GFLOP[net]
        said.append(
            f"it counted {theirs:g} of {count.flops / 1e9:.1f} GFLOP (linear layers without their tokens, no attention)"
        )
        moved = published * BANDWIDTH_GBS[key]
        said.append(
            f"so memory was all: {moved:.2f} GB of float32 at {BANDWIDTH_GBS[key]:g} GB/s, where the INT8 weights are "
            f"{count.touched_bytes / 4e9:.2f} GB"
        )
    else:
        reached = count.flops / published / 1e12
        said.append(f"it implies {reached:.1f} of the {assumed:g} TOPS that it assumed")
        ratio = peak / assumed
        if ratio > 1.2 or ratio < 1 / 1.2:
            said.append(f"the peak at the base clock is {peak:.1f} TOPS, {ratio:.1f} times as much")
    if published < ours.floor:
        said.append("faster than arithmetic and memory allow")
    return "; ".join(said)


def bounds(count: Count, part: Part, *, matrix: bool = True) -> tuple[float, float]:
    """Return the least seconds for the arithmetic, at the base clock's peak, and for reading the INT8 weights once."""
    machine = Machine(part.name, part.peak("int8", matrix=matrix) or 1.0, part.bandwidth, 0)
    return count.flops / machine.peak, count.touched_bytes / 4 / machine.bandwidth
