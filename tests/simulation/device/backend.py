"""Makes simulated GPUs a device of torch: ``sim:0``, ``torch.sim``, and what ``torch.accelerator`` says of them."""

from __future__ import annotations

import contextlib
import json
import os
import time
import types
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from . import tensors
from .model import Clock, Device, SimError, SimEvent, Stream
from .profiles import PROFILES
from .tensors import CURRENT, DEVICES, PINNED, SILENT, SimTensor

KEPT: list[Any] = []
"""Libraries of operators, which live for as long as they are held."""


def indexed(device: Any = None) -> int:
    """Return the number of a device that is named in any of torch's ways."""
    if device is None:
        return CURRENT[0]
    if isinstance(device, int):
        return device
    index = torch.device(device).index
    return CURRENT[0] if index is None else index


class Module(types.ModuleType):
    """``torch.sim``, as ``torch.cuda`` is to CUDA."""

    is_started = False

    def is_initialized(self) -> bool:
        return self.is_started

    def is_available(self) -> bool:
        return bool(DEVICES)

    def device_count(self) -> int:
        return len(DEVICES)

    def current_device(self) -> int:
        return CURRENT[0]

    def set_device(self, device: Any) -> None:
        CURRENT[0] = indexed(device)

    @contextlib.contextmanager
    def device(self, device: Any) -> Iterator[None]:
        before, CURRENT[0] = CURRENT[0], indexed(device)
        try:
            yield
        finally:
            CURRENT[0] = before

    def synchronize(self, device: Any = None) -> None:
        DEVICES[indexed(device)].synchronise()

    def empty_cache(self) -> None:
        for device in DEVICES:
            device.empty_cache()

    def reset_peak_memory_stats(self, device: Any = None) -> None:
        one = DEVICES[indexed(device)]
        one.peak_allocated, one.peak_reserved = one.allocated, one.reserved

    def max_memory_reserved(self, device: Any = None) -> int:
        return DEVICES[indexed(device)].peak_reserved

    def max_memory_allocated(self, device: Any = None) -> int:
        return DEVICES[indexed(device)].peak_allocated

    def memory_allocated(self, device: Any = None) -> int:
        return DEVICES[indexed(device)].allocated

    def memory_reserved(self, device: Any = None) -> int:
        return DEVICES[indexed(device)].reserved

    def mem_get_info(self, device: Any = None) -> tuple[int, int]:
        one = DEVICES[indexed(device)]
        return one.limit - one.reserved, one.limit

    def Event(self, *, enable_timing: bool = False, **_: Any) -> SimEvent:
        return SimEvent(DEVICES[CURRENT[0]], enable_timing=enable_timing)

    def Stream(self, device: Any = None, **_: Any) -> Stream:
        one = Stream(end=Clock.now)
        DEVICES[indexed(device)].streams.append(one)
        return one

    def current_stream(self, device: Any = None) -> Stream:
        return DEVICES[indexed(device)].stream

    @contextlib.contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        device = next(d for d in DEVICES if stream in d.streams)
        before, device.stream = device.stream, stream
        try:
            yield
        finally:
            device.stream = before

    def get_device_properties(self, device: Any = None) -> Any:
        one = DEVICES[indexed(device)]
        major, minor = one.profile.capability
        return types.SimpleNamespace(
            name=one.profile.name, total_memory=one.limit, is_integrated=int(one.profile.unified), major=major,
            minor=minor, L2_cache_size=one.profile.l2_bytes, uuid=f"sim-{one.index}", multi_processor_count=28,
        )  # fmt: skip

    def get_device_name(self, device: Any = None) -> str:
        return DEVICES[indexed(device)].profile.name

    def get_device_capability(self, device: Any = None) -> tuple[int, int]:
        return DEVICES[indexed(device)].profile.capability

    def get_arch_list(self) -> list[str]:
        return list(self.arch_list)

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16, torch.float32]

    def manual_seed_all(self, seed: int) -> None:
        pass

    def _is_in_bad_fork(self) -> bool:
        return False


def install(count: int = 1, profile: str = "rtx3060", slowed: float = 1.0, **more: Any) -> None:
    """Make so many devices of one kind. ``more``: ``limit`` in bytes, ``state`` a folder, ``arch_list``,
    ``without_fp64`` their numbers, ``near`` the CPUs of their node, ``vanishes_at`` a number of launches, and what of
    the profile is ``changed``."""
    state = Path(more["state"]) if more.get("state") else None
    kind = replace(PROFILES[profile].slowed(slowed), **more.get("changed", {}))
    if state is None or not (state / "vanished").exists():
        DEVICES[:] = [Device(i, kind, state=state, limit=more.get("limit")) for i in range(count)]
    for index in more.get("without_fp64", ()):
        known = {name: rate for name, rate in kind.flops.items() if name != "fp64"}
        DEVICES[index].profile = replace(kind, flops=known)
    for device in DEVICES:
        device.vanishes_at = more.get("vanishes_at", 0)
        device.near = frozenset(more["near"]) if more.get("near") else None
    module = Module("torch.sim")
    module.arch_list = tuple(more.get("arch_list", ("sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120")))  # type: ignore[attr-defined]
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # a wrapped tensor's values lie outside of it
    _setup_privateuseone_for_python_backend("sim", backend_module=module)
    everything = torch.library.Library("_", "IMPL")
    everything.fallback(tensors.fallback, "PrivateUse1")
    through = torch.library.Library("_", "IMPL")
    through.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    aten = torch.library.Library("aten", "IMPL")  # a list in an index, and torch.tensor, come here without Python's key
    aten.impl("copy_", lambda *given: tensors.run(torch.ops.aten.copy_.default, given, {}), "PrivateUse1")
    KEPT.extend([everything, through, aten, autocast_rules()])
    torch._C._set_multithreading_enabled(False)  # the engine has threads for one device of a Python backend
    replace_accelerator(module)
    replace_cuda(module)
    pin_memory()
    virtual_time(module)


SHARED = (
    "synchronize", "empty_cache", "reset_peak_memory_stats", "max_memory_reserved", "max_memory_allocated",
    "memory_allocated", "memory_reserved", "device_count", "is_available",
)  # fmt: skip
"""Functions that ``torch.accelerator`` has under the name that they have below ``torch.sim``."""


def replace_accelerator(module: Module) -> None:
    """Let ``torch.accelerator`` speak of the simulated devices, as it does of built-in ones."""
    accelerator: Any = torch.accelerator
    for name in SHARED:
        setattr(accelerator, name, getattr(module, name))
    accelerator.set_device_index = module.set_device
    accelerator.current_device_index = module.current_device
    accelerator.current_stream = module.current_stream


def replace_cuda(module: Module) -> None:
    """Let what CUDA alone has work on the simulated devices: graphs, on the stream of the current device."""

    def make_graphed_callables(net: Any, given: tuple[Any, ...]) -> Callable[..., Any]:
        index = given[0].device.index
        if index != CURRENT[0]:
            raise SimError("CUDA error: operation not permitted when stream is capturing")
        device = DEVICES[index]

        def replay(*args: Any) -> Any:
            SILENT[0] += 1
            tensors.GRAPH.clear()
            try:
                out = net(*args)
            finally:
                SILENT[0] -= 1
            device.launch(sum(tensors.GRAPH), "graph")
            return out

        return replay

    cuda: Any = torch.cuda
    cuda.make_graphed_callables = make_graphed_callables
    cuda.device = module.device


def cast_to_autocast(by: Any) -> Callable[..., Any]:
    """Return an operation on operands in autocast's type."""

    def cast(*args: Any, **kwargs: Any) -> Any:
        dtype = torch.get_autocast_dtype("sim")
        args = tuple(a.to(dtype) if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in args)
        with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)):
            return by(*args, **kwargs)

    return cast


def autocast_rules() -> torch.library.Library:
    """Return the casts of autocast for the operations that the nets have."""
    library = torch.library.Library("aten", "IMPL")
    for name in ("linear", "mm", "addmm", "matmul", "bmm", "conv2d", "scaled_dot_product_attention"):
        library.impl(name, cast_to_autocast(getattr(torch.ops.aten, name).default), "AutocastPrivateUse1")
    return library


def pin_memory() -> None:
    """Remember which of the CPU's tensors are said to be page-locked."""

    def marked(t: torch.Tensor) -> torch.Tensor:
        PINNED.add(t.data_ptr())
        return t

    for name in ("empty", "full", "rand", "randn", "zeros", "ones", "empty_like"):
        make = getattr(torch, name)

        def made(*args: Any, make: Any = make, pin_memory: bool = False, **kwargs: Any) -> torch.Tensor:
            found = make(*args, **kwargs)
            if not isinstance(found, SimTensor):
                PINNED.discard(found.data_ptr())
            return marked(found) if pin_memory else found

        setattr(torch, name, made)
    tensor: Any = torch.Tensor
    tensor.pin_memory = lambda self, device=None: marked(self.clone())
    tensor.is_pinned = lambda self, device=None: self.data_ptr() in PINNED


def virtual_time(module: Module) -> None:
    """Let ``time.perf_counter`` follow the virtual clock from the first tensor of a device on."""
    real, make = time.perf_counter, SimTensor.__new__

    def first(cls: type, raw: torch.Tensor, index: int) -> SimTensor:
        if not module.is_started:
            Module.is_started = True
            Clock.now = real()
            for device in DEVICES:
                device.cooled_at = Clock.now
        return make(cls, raw, index)

    SimTensor.__new__ = staticmethod(first)  # type: ignore[assignment]
    time.perf_counter = lambda: Clock.now if module.is_started else real()


def install_from_environment() -> None:
    """Install what ``HWDIAG_SIM_DEVICE`` asks for, in JSON."""
    install(**json.loads(os.environ["HWDIAG_SIM_DEVICE"]))
