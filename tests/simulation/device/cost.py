"""How long an operation takes on a simulated GPU: a roofline of its operations and of the bytes that it moves."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils.flop_counter import flop_registry

from .model import Device

OF_TYPE = {
    torch.float64: "fp64", torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16", torch.int8: "int8",
    torch.float8_e4m3fn: "fp8",
}  # fmt: skip
L2_GAIN = 5.0
"""How much faster the L2 is than memory."""
PRODUCTS = {"aten::_int_mm", "aten::_scaled_mm"}


def tree_leaves(what: Any) -> list[Any]:
    """Return the leaves of arguments or results."""
    if isinstance(what, (tuple, list)):
        return [leaf for one in what for leaf in tree_leaves(one)]
    return tree_leaves([*what.values()]) if isinstance(what, dict) else [what]


def is_tf32(device: Device, name: str) -> bool:
    """Return whether torch's switches let this float32 product or convolution take TF32, and the card has it."""
    if "tf32" not in device.profile.flops:
        return False
    if "conv" in name:
        return torch.backends.cudnn.conv.fp32_precision == "tf32"
    return torch.get_float32_matmul_precision() != "highest"


def operations(op: Any, args: Any, kwargs: Any, out: Any) -> float:
    """Return the floating-point operations of a product or a convolution, by torch's own counter; 0 of all else."""
    if op._schema.name in PRODUCTS:
        return 2.0 * args[0].numel() * args[1].shape[1]
    formula = flop_registry.get(op.overloadpacket)
    return (
        0.0
        if formula is None
        else float(formula(*args, **{k: v for k, v in kwargs.items() if k != "out"}, out_val=out))
    )


def seconds(device: Device, op: Any, args: Any, kwargs: Any, out: Any, constant: set[int]) -> tuple[float, bool]:
    """Return the seconds at the boost clock, and whether the clock counts. ``args``, ``out``: tensors of the CPU."""
    p, name = device.profile, op._schema.name
    tensors = {id(t): t for t in tree_leaves((args, kwargs, out)) if isinstance(t, torch.Tensor)}.values()
    far = near = 0.0
    for t in tensors:
        key, count = t.untyped_storage()._cdata, t.nbytes
        if device.cache.touch(key, count):
            near += count
        else:
            far += count / (p.constant_gain if key in constant else 1.0)
    memory = far / p.bandwidth + near / (L2_GAIN * p.bandwidth)
    work = operations(op, args, kwargs, out)
    compute = work / rate(device, name, args) if work else 0.0
    found = max(memory, compute)
    return max(p.shortest_s, found), compute > memory and found > p.shortest_s


def rate(device: Device, name: str, args: Any) -> float:
    """Return the FLOP/s of a product of these operands."""
    p = device.profile
    first = next(t for t in tree_leaves(args) if isinstance(t, torch.Tensor))
    kind = OF_TYPE.get(first.dtype, "fp32")
    if kind == "fp32" and is_tf32(device, name):
        kind = "tf32"
    if kind not in p.flops:
        raise RuntimeError(f"CUDA error: no kernel for {kind} on a GPU of compute capability {p.capability}")
    found = p.flops[kind]
    return found * p.row_major_int8 if kind == "int8" and args[1].stride(0) != 1 else found


def rounded(x: torch.Tensor) -> torch.Tensor:
    """Return float32 values with TF32's ten bits of mantissa. Those of weights are kept for the next time."""
    version = None if x.is_inference() else x._version  # a tensor of inference mode counts no changes
    kept = getattr(x, "_rounded", None)
    if kept is None or version is None or kept[0] != version:
        bits = (x.contiguous().view(torch.int32) + 0x1000) & -0x2000
        kept = version, bits.view(torch.float32).reshape(x.shape)  # type: ignore[attr-defined]
        x._rounded = kept  # type: ignore[attr-defined]
    return kept[1]  # type: ignore[no-any-return]
