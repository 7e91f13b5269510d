"""Switches of the whole process: what a workload sets does not reach the next one."""

import contextlib

NAMES = (
    "backends.cudnn.benchmark",
    "backends.cudnn.deterministic",
    "backends.mkldnn.matmul.fp32_precision",
    "backends.mkldnn.conv.fp32_precision",
    "backends.mkldnn.rnn.fp32_precision",
    "_inductor.config.freezing",
)
"""Below torch, of those that a workload or a technique may set; an older torch has not all of them."""


def holder_of(torch, path):
    """Return what holds a switch, and the switch's own name; None where it is not there."""
    *folders, name = path.split(".")
    holder = torch
    for folder in folders:
        holder = getattr(holder, folder, None)
    return (holder, name) if hasattr(holder, name) else None


CALLS = (
    ("get_float32_matmul_precision", "set_float32_matmul_precision"),
    ("get_default_dtype", "set_default_dtype"),
    ("is_grad_enabled", "set_grad_enabled"),
    ("get_num_threads", "set_num_threads"),
)
"""Functions of torch that read a switch and set it. The first also sets those of oneDNN, so it comes before them."""


def kept(torch):
    """Return a function that puts everything back as it is now."""
    calls = []
    for reading, setting in CALLS:
        get, put = getattr(torch, reading, None), getattr(torch, setting, None)
        if get is not None and put is not None:
            calls.append((get, put, get()))
    values = {}
    for path in NAMES:
        place = holder_of(torch, path)
        values[path] = False if place is None else getattr(*place)  # what is imported later is off by default

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
            torch.set_flush_denormal(False)

    return restore
