"""Overall (resnet18, gpt2): channels_last is 1.10x (1.05 to 1.14) as fast as today's default

Measured by hwdiag 0.1.0 with torch 2.13.0+cpu (2026-12-01T18:47:48Z): 1.10x (95 % interval 1.05 to 1.14, 10 pairs of processes), measured again after the search: the interval excludes 1, and the gain is at least 3% (p = 0.0033).

    import settings

    net = settings.prepared(net)
    with settings.forward():
        y = net(settings.given(x))

To undo it, remove these calls.
"""

import contextlib

import torch


def prepared(net):
    """Return the net as it was measured."""
    # channels_last: Stores images pixel by pixel, as convolution kernels of oneDNN and cuDNN like them.
    # Mind: inputs must be given as x.contiguous(memory_format=torch.channels_last)
    net = net.to(memory_format=torch.channels_last)
    return net


def given(x):
    """Return an input tensor as it was measured."""
    x = x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x
    return x


@contextlib.contextmanager
def forward():
    """Return the context that a forward pass runs in; it changes nothing."""
    with contextlib.ExitStack() as stack:
        yield stack
