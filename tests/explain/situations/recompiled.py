"""Calls a compiled function with another size each time."""

import torch


@torch.compile(dynamic=False, backend="eager")
def wave(x):
    """Return a wave."""
    return torch.sin(x) + x


for n in range(2, 14):
    wave(torch.randn(n * 16))
