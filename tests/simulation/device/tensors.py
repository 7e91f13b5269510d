"""Tensors of a simulated GPU: each wraps one of the CPU, on which operations run, and tells its device how long."""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch.utils._python_dispatch import return_and_correct_aliasing

from . import cost
from .cost import tree_leaves
from .model import Clock, Device, SimError

DEVICES: list[Device] = []
CURRENT = [0]
CONSTANT: set[int] = set()
"""Storages whose values are all alike."""
FILLS = {"aten::fill_", "aten::zero_", "aten::full", "aten::zeros", "aten::ones", "aten::full_like", "aten::zeros_like"}
PINNED: set[int] = set()
"""Addresses of the CPU's page-locked tensors."""
FREE = {"aten::empty", "aten::empty_strided", "aten::empty_like", "aten::new_empty", "aten::new_empty_strided",
        "aten::detach", "aten::alias", "aten::lift_fresh", "aten::set_"}  # fmt: skip
"""Operations that start no kernel, as views do."""
SILENT = [0]
"""Above 0 operations take no time: they were started together with others."""


def tree_map(change: Any, what: Any) -> Any:
    """Return arguments or results with each leaf changed; torch's own takes most of the time of a small operation."""
    if isinstance(what, (tuple, list)):
        return type(what)([tree_map(change, one) for one in what])
    if isinstance(what, dict):
        return {name: tree_map(change, one) for name, one in what.items()}
    return change(what)


class Allocation:
    """Memory of a device, given back when its last tensor is gone."""

    def __init__(self, device: Device, count: int, key: int) -> None:
        self.device, self.count, self.key = device, 0, key
        device.take(count)
        self.count = count

    def __del__(self) -> None:
        self.device.give_back(self.count)
        self.device.cache.forget(self.key)
        CONSTANT.discard(self.key)


HELD: weakref.WeakValueDictionary[int, Allocation] = weakref.WeakValueDictionary()
"""By the storage's address."""


class SimTensor(torch.Tensor):
    """A tensor of ``sim:N``."""

    raw: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, raw: torch.Tensor, index: int) -> SimTensor:
        key = raw.untyped_storage()._cdata
        held = HELD.get(key)
        if held is None:
            held = Allocation(DEVICES[index], raw.untyped_storage().nbytes(), key)
            HELD[key] = held
        with torch.inference_mode(torch.is_inference_mode_enabled() and raw.is_inference()):
            tensor: SimTensor = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
                cls, raw.shape, strides=raw.stride(), storage_offset=raw.storage_offset(), dtype=raw.dtype,
                device=torch.device("sim", index),
            )  # fmt: skip
        tensor.raw, tensor.held = raw, held  # type: ignore[attr-defined]
        return tensor

    def __init__(self, raw: torch.Tensor, index: int) -> None:
        pass

    def __repr__(self) -> str:  # type: ignore[override]
        return f"SimTensor({self.raw!r}, device={self.device})"

    @classmethod
    def __torch_dispatch__(cls, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(op, args, kwargs or {})


def is_sim(x: object) -> bool:
    return isinstance(x, SimTensor)


def on_cpu(x: Any) -> Any:
    if isinstance(x, SimTensor):
        return x.raw
    return torch.device("cpu") if isinstance(x, torch.device) and x.type == "sim" else x


def index_of(args: Any, kwargs: Any) -> int:
    """Return the device that an operation runs on: that of its operands, or the one that is named, or the current."""
    named = kwargs.get("device")
    if named is not None and torch.device(named).type == "sim":
        given = torch.device(named).index
        return CURRENT[0] if given is None else given
    found = {t.device.index for t in tree_leaves((args, kwargs)) if is_sim(t) and t.dim() > 0} or {
        t.device.index for t in tree_leaves((args, kwargs)) if is_sim(t)
    }
    if len(found) > 1:
        raise RuntimeError("Expected all tensors to be on the same device, but found at least two devices, "
                           + " and ".join(f"sim:{i}" for i in sorted(found)))  # fmt: skip
    return found.pop() if found else CURRENT[0]


def run(op: Any, args: Any, kwargs: Any) -> Any:
    """Run an operation: copies between memories by themselves, all else on the CPU's tensors."""
    name = op._schema.name
    if name == "aten::to":  # whole in inference mode
        return op.decompose(*args, **kwargs)
    if name in ("aten::_to_copy", "aten::copy_"):
        return copy(op, args, kwargs)
    if name == "aten::_local_scalar_dense":
        device = DEVICES[args[0].device.index]
        device.synchronise()
        return op(args[0].raw)
    index = index_of(args, kwargs)
    if index >= len(DEVICES):
        raise SimError("No CUDA GPUs are available" if not DEVICES else "CUDA error: invalid device ordinal")
    device = DEVICES[index]
    device.check()
    out = computed(op, args, kwargs, device)
    if "fp64" not in device.profile.flops and is_wide(out):
        raise RuntimeError("Required aspect fp64 is not supported on the device")
    if op.is_view:
        return return_and_correct_aliasing(op, args, kwargs, wrapped(out, args, kwargs, index))
    charge(device, op, args, kwargs, out)
    results = wrapped(out, args, kwargs, index)
    device.error, device.comes = device.error or device.comes, ""
    return results


def computed(op: Any, args: Any, kwargs: Any, device: Device) -> Any:
    """Return the values. An index that is out of range is noticed later, as on a GPU."""
    name = op._schema.name
    cpu_args, cpu_kwargs = tree_map(on_cpu, args), tree_map(on_cpu, kwargs)
    if name == "aten::_fused_sdp_choice":
        return 0
    if ("mm" in name or "conv" in name) and cost.is_tf32(device, name):
        cpu_args = tree_map(lambda t: cost.rounded(t) if is_fp32(t) else t, cpu_args)
    if name in ("aten::mm", "aten::_int_mm") and cpu_args[0].dtype in NARROW:
        return narrow_product(cpu_args, cpu_kwargs)
    try:
        return op(*cpu_args, **cpu_kwargs)
    except IndexError:
        device.comes = "device-side assert triggered"
        return op(*tree_map(lambda t: within(t, cpu_args[0].shape[0]), cpu_args), **cpu_kwargs)


NARROW = {torch.bfloat16: torch.float32, torch.float16: torch.float32, torch.int8: torch.float64}
"""Types whose products are summed up in another one, as tensor cores do; CPUs are slow at them."""


def narrow_product(args: Any, kwargs: Any) -> torch.Tensor:
    """Return the product of narrow types."""
    summed = torch.mm(*(t.to(NARROW[t.dtype]) for t in args[:2]))
    if "out" in kwargs:
        out: torch.Tensor = kwargs["out"]
        return out.copy_(summed)
    return summed.to(torch.int32 if args[0].dtype == torch.int8 else args[0].dtype)


def is_wide(t: Any) -> bool:
    return isinstance(t, torch.Tensor) and t.dtype == torch.float64


def within(t: Any, count: int) -> Any:
    """Return an index brought into range."""
    return t % max(1, count) if isinstance(t, torch.Tensor) and t.dtype == torch.int64 else t


def is_fp32(t: Any) -> bool:
    return isinstance(t, torch.Tensor) and t.dtype == torch.float32 and t.dim() > 1


def charge(device: Device, op: Any, args: Any, kwargs: Any, out: Any) -> None:
    """Put an operation into the device's queue."""
    name = op._schema.name
    cpu_args, cpu_kwargs = tree_map(on_cpu, args), tree_map(on_cpu, kwargs)
    if op._schema.is_mutable or name in FILLS:
        keys = {t.untyped_storage()._cdata for t in tree_leaves((out,)) if isinstance(t, torch.Tensor)}
        (CONSTANT.update if name in FILLS else CONSTANT.difference_update)(keys)
    if SILENT[0] == 0 and name not in FREE:
        takes, clocked = cost.seconds(device, op, cpu_args, cpu_kwargs, out, CONSTANT)
        device.launch(takes, name, clocked=clocked)
    elif SILENT[0] and name not in FREE:
        GRAPH.append(cost.seconds(device, op, cpu_args, cpu_kwargs, out, CONSTANT)[0])


GRAPH: list[float] = []
"""Seconds of what was started silently."""


def wrapped(out: Any, args: Any, kwargs: Any, index: int) -> Any:
    """Return the results as tensors of the device: those that were given are given back."""
    known = {id(t.raw): t for t in tree_leaves((args, kwargs)) if is_sim(t)}

    def wrap(t: Any) -> Any:
        return known[id(t)] if id(t) in known else SimTensor(t, index) if isinstance(t, torch.Tensor) else t

    return tree_map(wrap, out)


def copy(op: Any, args: Any, kwargs: Any) -> Any:
    """Copy between tensors of one device, or between host and device."""
    if op._schema.name == "aten::copy_":
        target, source = args[0], args[1]
        non_blocking = args[2] if len(args) > 2 else kwargs.get("non_blocking", False)
        if is_sim(target) and is_sim(source) and target.device == source.device:
            out = computed(op, args, kwargs, DEVICES[target.device.index])
            charge(DEVICES[target.device.index], op, (target, source), {}, out)
            return target
        on_cpu(target).copy_(on_cpu(source))
        moved(source, target, non_blocking)
        return target
    source = args[0]
    wanted = kwargs.get("device")
    wanted = source.device if wanted is None else torch.device(wanted)
    rest = {k: v for k, v in kwargs.items() if k not in ("device", "non_blocking")}
    raw = op(on_cpu(source), **rest)
    if raw.untyped_storage()._cdata == on_cpu(source).untyped_storage()._cdata:
        raw = raw.clone()
    if wanted.type != "sim":
        moved(source, raw, kwargs.get("non_blocking", False))
        return raw
    index = CURRENT[0] if wanted.index is None else wanted.index
    if "fp64" not in DEVICES[index].profile.flops and is_wide(raw):
        raise RuntimeError("Required aspect fp64 is not supported on the device")
    target = SimTensor(raw, index)
    if is_sim(source) and source.device.index == index:
        charge(DEVICES[index], op, (source,), {}, raw)
    else:
        moved(source, target, kwargs.get("non_blocking", False))
    return target


def moved(source: torch.Tensor, target: torch.Tensor, non_blocking: bool) -> None:
    """Charge a copy between memories: the host waits for one that is pageable, or not asked to run beside it."""
    near = target if is_sim(target) else source
    device = DEVICES[near.device.index]
    host = [t for t in (source, target) if not is_sim(t)]
    pinned = all(t.data_ptr() in PINNED for t in host)
    count = max(source.numel() * source.element_size(), target.numel() * target.element_size())
    CONSTANT.discard(on_cpu(target).untyped_storage()._cdata)
    takes = device.profile.copy_s + count / device.copy_rate(pinned=pinned)
    engine = "to" if is_sim(target) else "from"
    end = device.launch(takes, "Memcpy", engine, clocked=False)
    if not (pinned and non_blocking):
        Clock.now = max(Clock.now, end)
        device.check()


def fallback(op: Any, *args: Any, **kwargs: Any) -> Any:
    """Run what reaches the backend without any tensor of it: factories."""
    return run(op, args, kwargs)
