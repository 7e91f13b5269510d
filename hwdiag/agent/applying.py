"""Nets under techniques: inputs, calls and references that all builders of nets share."""

import contextlib

from .failures import is_out_of_memory


def first_tensor(found):
    """Return the first tensor of what a net gives: a tensor, or one within tuples, lists, dictionaries and the like."""
    if hasattr(found, "square"):
        return found
    if hasattr(found, "to_tuple"):  # transformers' outputs
        found = found.to_tuple()
    parts = found.values() if isinstance(found, dict) else found if isinstance(found, (tuple, list)) else ()
    for part in parts:
        tensor = first_tensor(part)
        if tensor is not None:
            return tensor
    return None


def called(net, given):
    """Return the net's first result."""
    return first_tensor(net(**given) if isinstance(given, dict) else net(*given))


def each(given, change):
    """Return the same inputs, each tensor changed."""
    if isinstance(given, dict):
        return {k: change(v) if hasattr(v, "square") else v for k, v in given.items()}
    return tuple(change(v) if hasattr(v, "square") else v for v in given)


def under(torch, device, used, net, given):
    """Return net, inputs and what the forward pass runs inside of, with the techniques."""
    for technique in used:
        given = each(given, lambda tensor, by=technique: by.given(torch, tensor))
        net = technique.net(torch, net, given)
    if len(used) == 1:
        return net, given, lambda: used[0].around(torch, device)

    def around():
        stack = contextlib.ExitStack()
        for technique in used:
            stack.enter_context(technique.around(torch, device))
        return stack

    return net, given, around


def wide(tensor):
    """Return a tensor in float64; on the CPU where its device has no float64, as many of Intel's GPUs."""
    try:
        return tensor.double()
    except (RuntimeError, TypeError) as error:
        if is_out_of_memory(error) or tensor.device.type == "cpu":
            raise
        return tensor.cpu().double()


def doubled(net, given):
    """Return the same in float64; on the CPU where its device has none."""

    def widened(t):
        return wide(t) if t.is_floating_point() else t

    try:
        return net.double(), each(given, lambda t: t.double() if t.is_floating_point() else t)
    except (RuntimeError, TypeError) as error:
        if is_out_of_memory(error) or all(p.device.type == "cpu" for p in net.parameters()):
            raise
        return net.cpu().double(), each(given, lambda t: widened(t.cpu()))
