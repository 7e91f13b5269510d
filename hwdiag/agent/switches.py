"""Switches of the whole process: what a workload sets does not reach the next one."""

import contextlib
import os
import sys

NAMES = (
    "backends.cudnn.enabled",
    "backends.cudnn.benchmark",
    "backends.cudnn.deterministic",
    "backends.cudnn.allow_tf32",
    "backends.cudnn.conv.fp32_precision",
    "backends.cudnn.rnn.fp32_precision",
    "backends.cuda.matmul.fp32_precision",
    "backends.cuda.matmul.allow_fp16_reduced_precision_reduction",
    "backends.cuda.matmul.allow_bf16_reduced_precision_reduction",
    "backends.mkldnn.enabled",
    "backends.mkldnn.deterministic",
    "backends.mkldnn.matmul.fp32_precision",
    "backends.mkldnn.conv.fp32_precision",
    "backends.mkldnn.rnn.fp32_precision",
    "backends.quantized.engine",
    "backends.cuda.matmul.fp32_precision",
    "backends.cudnn.conv.fp32_precision",
    "backends.cudnn.rnn.fp32_precision",
    "_inductor.config.freezing",
)
"""Below torch, of those that a workload or a technique may set; an older torch has not all of them."""


COMPILER = "_inductor"
BEFORE_2_9 = ("backends.cudnn.allow_tf32",)
"""What one of them was before; torch raises where it is read after parts of it were set one by one."""


def holder_of(torch, path):
    """Return what holds a switch, and the switch's own name; None where it is not there, or not to be read.

    torch imports its compiler when its name is asked for, which takes more than a second: only who used it has it.
    """
    *folders, name = path.split(".")
    if COMPILER in folders and "torch." + COMPILER not in sys.modules:
        return None
    holder = torch
    try:
        for folder in folders:
            holder = getattr(holder, folder, None)
        return (holder, name) if hasattr(holder, name) else None
    except (AssertionError, RuntimeError):  # of a device that this torch was not built for
        return None


CALLS = (
    ("get_float32_matmul_precision", "set_float32_matmul_precision"),
    ("get_default_dtype", "set_default_dtype"),
    ("is_grad_enabled", "set_grad_enabled"),
    ("get_num_threads", "set_num_threads"),
    ("get_deterministic_debug_mode", "set_deterministic_debug_mode"),
    ("is_anomaly_enabled", "set_anomaly_enabled"),
    ("is_autocast_cache_enabled", "set_autocast_cache_enabled"),
    ("backends.cuda.flash_sdp_enabled", "backends.cuda.enable_flash_sdp"),
    ("backends.cuda.mem_efficient_sdp_enabled", "backends.cuda.enable_mem_efficient_sdp"),
    ("backends.cuda.math_sdp_enabled", "backends.cuda.enable_math_sdp"),
    ("backends.cuda.cudnn_sdp_enabled", "backends.cuda.enable_cudnn_sdp"),
)
"""Functions of torch that read a switch and set it. The first also sets those of oneDNN, so it comes before them."""


def of_autocast(torch):
    """Yield functions that read and set autocast of each kind of device, and its type."""
    for device in ("cpu", "cuda", "xpu"):
        for get, put in (
            ("is_autocast_enabled", "set_autocast_enabled"),
            ("get_autocast_dtype", "set_autocast_dtype"),
        ):
            get, put = getattr(torch, get, None), getattr(torch, put, None)
            if get is not None and put is not None:
                yield lambda get=get, device=device: get(device), lambda v, put=put, device=device: put(device, v)


def functions(torch):
    """Yield all functions that read a switch with those that set it, of this torch."""
    for names in CALLS:
        places = [holder_of(torch, name) for name in names]
        if None not in places:
            yield tuple(getattr(*place) for place in places)
    for pair in of_autocast(torch):
        yield pair


def kept(torch):
    """Return a function that puts everything back as it is now."""
    calls = []
    for get, put in functions(torch):
        with contextlib.suppress(RuntimeError, TypeError):  # torch before 2.4 has other functions of these names
            calls.append((get, put, get()))
    values = {}
    is_new = holder_of(torch, "backends.cudnn.conv.fp32_precision") is not None
    for path in NAMES if is_new else (*NAMES, *BEFORE_2_9):
        place = holder_of(torch, path)
        values[path] = False if place is None else getattr(*place)  # what is imported later is off by default
    flushes = flushes_denormals(torch)
    environment = dict(os.environ)

    def restore():
        for get, put, value in calls:
            if get() != value:
                put(value)
        for path, value in values.items():
            place = holder_of(torch, path)
            if place is not None and getattr(*place) != value:
                with contextlib.suppress(RuntimeError):  # a switch that this build refuses was not set either
                    setattr(*place, value)
        if hasattr(torch, "set_flush_denormal"):
            torch.set_flush_denormal(flushes)
        if environment != os.environ:
            os.environ.clear()
            os.environ.update(environment)

    return restore


def flushes_denormals(torch):
    """Return whether this thread takes numbers below 1.2e-38 as 0, which torch does not tell."""
    if not hasattr(torch, "set_flush_denormal"):
        return False
    return bool((torch.full((1,), 1e-39, dtype=torch.float32, device="cpu") * 0.5 == 0).item())
