"""The precision that float32 is really computed in: torch's switches let some products and convolutions take TF32.

TF32 keeps 10 of float32's 23 bits of mantissa. cuDNN's convolutions take it by default on NVIDIA's GPUs from Ampere on,
products where ``set_float32_matmul_precision`` allows it; ``NVIDIA_TF32_OVERRIDE=0`` forbids both. What was asked for,
what is given and the error that is allowed belong together.
Source: torch documentation, numerical accuracy and CUDA semantics notes.
"""

import os

TF32_EPS = 2.0**-10
FIRST_WITH_TF32 = 8
"""Major number of the compute capability."""
WITHOUT = ("cpu", "meta", "xpu", "mps")
"""Kinds of devices that have no TF32 by these switches."""


def convolutions_in_tf32(torch):
    """Return whether torch's switches allow TF32 in convolutions."""
    conv = getattr(torch.backends.cudnn, "conv", None)
    if hasattr(conv, "fp32_precision"):  # since torch 2.9
        return conv.fp32_precision == "tf32"
    return bool(torch.backends.cudnn.allow_tf32)


def products_in_tf32(torch):
    """Return whether torch's switches allow TF32 in products."""
    return torch.get_float32_matmul_precision() != "highest"


def has_tf32(torch, device):
    """Return whether a device has TF32, as far as torch tells."""
    if device.type in WITHOUT or os.environ.get("NVIDIA_TF32_OVERRIDE") == "0":
        return False
    get = getattr(getattr(torch, device.type, None), "get_device_properties", None)
    major = getattr(get(device), "major", None) if get else None
    return major is not None and major >= FIRST_WITH_TF32 and getattr(torch.version, "hip", None) is None


def given(torch, device, dtype, *parts):
    """Return ``tf32`` where one of these parts, ``conv`` or ``matmul``, may compute float32 so; None where it is as
    asked for."""
    if dtype is not torch.float32 or not has_tf32(torch, device):
        return None
    allowed = {"conv": convolutions_in_tf32, "matmul": products_in_tf32}
    return "tf32" if any(allowed[part](torch) for part in parts) else None


def exact_convolutions(torch):
    """Let convolutions compute float32 in all its bits."""
    conv = getattr(torch.backends.cudnn, "conv", None)
    if hasattr(conv, "fp32_precision"):
        conv.fp32_precision = "ieee"
    else:
        torch.backends.cudnn.allow_tf32 = False
