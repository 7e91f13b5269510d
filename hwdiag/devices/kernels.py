"""The kernels of the profile, and the precisions, one entry each with its operations and bytes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hwdiag.core.choices import BudgetName
from hwdiag.devices.model import Device
from hwdiag.experiment.model import Workload
from hwdiag.experiment.workloads import conv2d, exact_conv2d, matmul, memory_workloads
from hwdiag.host.model import Host

MATMUL_SIZES, LARGE_SIZES = (512, 1024, 2048), (4096, 10000)
LONGEST_S: dict[BudgetName, float] = {"quick": 0.1, "standard": 0.5, "thorough": 20.0}
"""Of one product on a CPU, as its rate so far tells: one of 10,000 takes 2 TFLOP, thirty seconds on an old one."""
ATTENTIONS = {"cpu": ("flash", "math"), "cuda": ("flash", "efficient", "cudnn", "math")}
"""Backends of attention, by kind of device."""
HEADS, TOKENS, WIDTH = 12, 512, 64
"""Of attention: a layer of BERT-base."""
COMPARED_ARRAY = 2**29
"""Bytes of an array, at least, where the CPU is compared with a GPU: ten times the L2 of an H200 (50 MB)."""
TRANSFERS = (2**16, 2**20, 2**26)
"""Bytes of each copy between host and device."""

PRECISIONS = {
    "fp64": ("float64", 8),
    "fp32": ("float32", 4),
    "tf32": ("float32", 4),
    "bf16": ("bfloat16", 2),
    "fp16": ("float16", 2),
    "int8": ("int8", 1),
    "fp8": ("float8_e4m3fn", 1),
}
"""The type of each in torch, and its bytes."""
PRECISION_N = {"cpu": 768, "accelerator": 8192}
SMALLER_N = {("cpu", "fp16"): 512, ("cpu", "fp8"): 256, ("accelerator", "fp64"): 2048}
"""A CPU without instructions for fp16 reaches 1 GFLOP/s, and none of today has any for fp8, which torch emulates; many
GPUs have a sixty-fourth of their rate in fp64."""


def kernels(host: Host, device: Device, *, compared: bool) -> tuple[Workload, ...]:
    """Return the kernels that are timed on this device. ``compared``: with other devices, on arrays that are large for
    all of them."""
    products = [product(n) for n in (MATMUL_SIZES if device.is_cpu else (*MATMUL_SIZES, *LARGE_SIZES))]
    attentions = [attention(device, backend) for backend in ("", *ATTENTIONS.get(device.kind, ()))]
    arrays = tuple(map(as_large, memory_workloads(host))) if compared else memory_workloads(host)
    elements = arrays[0].size["elements"] * 2  # of 4 bytes in place of 8
    transfers = () if device.is_cpu else (*host_copies(), *([in_place()] if device.kind == "cuda" else []))
    starts = tuple(dispatches())[: 1 if device.is_cpu else 2]  # a CPU has nothing to wait for
    rest = (*arrays, elementwise(elements), reduction(elements), *starts, *transfers)
    convolutions = (conv2d(),) if device.is_cpu else (conv2d(), exact_conv2d())
    return (*products, *convolutions, *attentions, *rest)


def product(n: int) -> Workload:
    """Return an n x n matrix product in float32."""
    return matmul("float32", 4, n).model_copy(update={"name": f"matmul-{n}"})


def large_products(rate: float, budget: BudgetName) -> tuple[list[Workload], dict[str, float]]:
    """Return the products larger than the usual that a CPU of this rate in FLOP/s has time for, and the seconds of the
    others."""
    large = [product(n) for n in LARGE_SIZES]
    takes = {w.name: w.flops / rate for w in large}
    fits = [w for w in large if takes[w.name] <= LONGEST_S[budget]]
    return fits, {w.title: takes[w.name] for w in large if w not in fits}


def as_large(workload: Workload) -> Workload:
    """Return a memory workload on arrays of that size, unless its own are larger."""
    elements = max(COMPARED_ARRAY // 8, workload.size["elements"])
    factor = elements / workload.size["elements"]
    title = f"{workload.title.partition(',')[0]}, float64, arrays of {elements * 8 / 2**20:.0f} MiB"
    more = {"flops": workload.flops * factor, "bytes": workload.bytes * factor, "title": title, "note": None}
    return workload.model_copy(update={"size": {"elements": elements}, **more})


def elementwise(elements: int) -> Workload:
    """Return y = 2 x, into allocated memory."""
    return _workload(
        "elementwise", f"y = 2 x, fp32, arrays of {elements * 4 / 2**20:.0f} MiB", "elementwise", "memory",
        {"elements": elements}, flops=elements, bytes=8 * elements,
    )  # fmt: skip


def reduction(elements: int) -> Workload:
    """Return the sum of an array."""
    return _workload(
        "reduction", f"Sum, fp32, an array of {elements * 4 / 2**20:.0f} MiB", "reduction", "memory",
        {"elements": elements}, flops=elements, bytes=4 * elements,
    )  # fmt: skip


def attention(device: Device, backend: str = "") -> Workload:
    """Return softmax(Q K^T) V: two products of 2 tokens^2 width FLOP for each head; softmax itself is not counted.

    With a ``backend`` of torch by that one, else by whichever torch takes. An accelerator is tried in 16 bits, as some
    do nothing else; a batch of 16 keeps it busy for longer than choosing the backend takes.
    """
    dtype, width, batch = ("bfloat16", 2, 16) if backend and not device.is_cpu else ("float32", 4, 1)
    each = batch * HEADS * TOKENS * WIDTH
    size = {"batch": batch, "heads": HEADS, "tokens": TOKENS, "width": WIDTH}
    what = f"Attention, {backend} backend" if backend else "Attention"
    title = f"{what}, {'bf16' if width == 2 else 'fp32'}, batch {batch}, {HEADS} heads of {WIDTH}, {TOKENS} tokens"
    return _workload(
        f"attention-{backend}" if backend else "attention", title, "attention", "compute", size, dtype=dtype,
        what=backend or None, flops=4 * each * TOKENS, bytes=4 * width * each,
    )  # fmt: skip


def dispatches() -> Iterator[Workload]:
    """Yield the starts of a kernel that has next to nothing to do."""
    for what, title in (("in a row", "one after the other"), ("waited", "each waited for")):
        name = f"launch-{'waited' if what == 'waited' else 'queued'}"
        yield _workload(
            name, f"Start of a kernel: one number added, {title}", "dispatch", "latency", {}, what=what,
            flops=1, bytes=8,
        )  # fmt: skip


def host_copies() -> Iterator[Workload]:
    """Yield copies between host and device: from pageable and from pinned memory, both directions."""
    for count in TRANSFERS:
        size = f"{count / 2**20:g} MiB" if count >= 2**20 else f"{count / 2**10:g} KiB"
        for way in ("to", "from"):
            for kind in ("pageable", "pinned"):
                title = f"Copy {way} the device, {kind}, {size}, bytes counted once"
                name = f"copy-{way}-{kind}-{size.replace(' ', '')}"
                yield _workload(
                    name, title, "transfer", "transfer", {"elements": count // 4}, what=f"{way} {kind}",
                    flops=0, bytes=count,
                )  # fmt: skip


def in_place() -> Workload:
    """Return the sum that the device makes of an array in the host's memory, to be compared with copying it first."""
    count = max(TRANSFERS)
    return _workload(
        "read-in-place", f"Sum of {count / 2**20:g} MiB of the host's pinned memory, read in place", "in-place",
        "transfer", {"elements": count // 4}, flops=count // 4, bytes=count,
    )  # fmt: skip


def precisions(device: Device) -> tuple[Workload, ...]:
    """Return the same product in each precision that this device may have."""
    kind = "cpu" if device.is_cpu else "accelerator"
    names = [name for name in PRECISIONS if not (device.is_cpu and name in ON_GPU_ONLY)]
    return tuple(precision(name, SMALLER_N.get((kind, name), PRECISION_N[kind])) for name in names)


ON_GPU_ONLY = {"tf32": "a format of GPUs from Ampere on"}


def precision(name: str, n: int) -> Workload:
    """Return an n x n product in one precision."""
    dtype, width = PRECISIONS[name]
    return Workload.model_validate(
        {
            "name": f"precision-{name}-{n}",
            "title": f"Matrix product, {name}, {n} x {n}",
            "kind": "precision",
            "family": "compute",
            "dtype": dtype,
            "what": name,
            "size": {"n": n},
            "flops": 2 * n**3,
            "bytes": 3 * n * n * width,
        }
    )


def _workload(name: str, title: str, kind: str, family: str, size: dict[str, int], **more: Any) -> Workload:
    return Workload.model_validate(
        {"name": name, "title": title, "kind": kind, "family": family, "dtype": "float32", "size": size, **more}
    )
