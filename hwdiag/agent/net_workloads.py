"""Builders of whole nets: one forward pass, or one training step, under the techniques that this process uses."""

import os
import resource

from . import net_building, techniques, timing, workloads
from .applying import called, doubled, each, first_tensor, under, wide
from .workloads import relative_error

GRADIENT_TOLERANCE = 0.1
"""Of all gradients together (root of the sum of squares), in float32."""
PARTS_TOLERANCE = 2.0
"""Of the same where a batch is cut: batch norm sees other batches."""


def made(torch, device, name, size):
    """Return a net with weights of its own in float32, and its inputs: the same ones each time."""
    torch.manual_seed(0)
    if name in workloads.NETS:
        net, x = workloads.NETS[name](torch, device, torch.float32, **size)
        return net, (x,)
    net, given = timing.real_net(torch, spec_of(name, "prefill", size))
    return net.to(device), {k: random_like(torch, v, device) for k, v in given.items()}


def spec_of(name, phase, size):
    return {"net": name, "phase": phase, "dtype": "float32", "tokens": None, **size}


def inference(torch, device, dtype, what, copies_inputs=0, **size):
    """Build one forward pass. ``copies_inputs``: its inputs come from the host's memory each time."""
    limit_memory()
    used = techniques.chosen()
    for technique in used:
        technique.process(torch, device)
    net, given = made(torch, device, what, size)
    net.eval()
    net, given, around = under(torch, device, used, net, given)
    records = any(t.records_gradients for t in used)
    mode = torch.enable_grad if records else torch.inference_mode
    if copies_inputs:
        give = from_host(device, given, any(t.pinned for t in used))
    else:
        give = lambda: given  # noqa: E731

    def step():
        with mode(), around():
            return called(net, give())

    def check():
        reference, doubled_given = doubled(*made(torch, device, what, size))
        reference.eval()
        with torch.inference_mode():
            wanted = called(reference, doubled_given)
        return relative_error(torch, step().detach(), wanted), workloads.net_tolerance(torch, device)

    return step, check


def training(torch, device, dtype, what, **size):
    """Build one step of AdamW on a batch. Its learning rate is 0, so that every step meets the same weights."""
    limit_memory()
    used = techniques.chosen()
    for technique in used:
        technique.process(torch, device)
    net, given = made(torch, device, what, size)
    trained(net)
    net, given, around = under(torch, device, used, net, given)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.0)
    parts = cut(given, max(t.parts for t in [techniques.BaseTechnique, *used]))
    tolerance = GRADIENT_TOLERANCE if len(parts) == 1 else PARTS_TOLERANCE

    def gradients():
        for part in parts:
            with around():
                loss = called(net, part).float().square().mean() / len(parts)
            loss.backward()

    def step():
        optimizer.zero_grad()
        gradients()
        optimizer.step()

    def check():
        optimizer.zero_grad()
        gradients()
        got = {n.replace("_orig_mod.", ""): p.grad for n, p in net.named_parameters() if p.grad is not None}
        reference, doubled_given = doubled(*made(torch, device, what, size))
        trained(reference)
        called(reference, doubled_given).square().mean().backward()
        wanted = {n: p.grad for n, p in reference.named_parameters() if p.grad is not None}
        off = sum((wide(got[n]) - g).square().sum() for n, g in wanted.items())
        return (off / sum(g.square().sum() for g in wanted.values())).sqrt().item(), tolerance

    return step, check


def decode(torch, device, dtype, what, **size):
    """Build the step that makes one token more, with the context in the cache."""
    limit_memory()
    used = techniques.chosen()
    for technique in used:
        technique.process(torch, device)
    spec = spec_of(what, "decode", size)

    def made_decoder():
        torch.manual_seed(0)
        net, given = timing.real_net(torch, spec)
        return net.eval().to(device), each(given, lambda t: t.to(device))

    net, given, around = under(torch, device, used, *made_decoder())
    with torch.inference_mode(), around():
        step = timing.decode_step(net, net_building.with_cache(torch, net, given, spec))

    def one():
        with torch.inference_mode(), around():
            return step()

    def check():
        reference, doubled_given = doubled(*made_decoder())
        with torch.inference_mode():
            wanted = first_tensor(
                timing.decode_step(reference, net_building.with_cache(torch, reference, doubled_given, spec))()
            )
        return relative_error(torch, first_tensor(one()), wanted), workloads.net_tolerance(torch, device)

    return one, check


BUILDERS = {"inference": inference, "training": training, "decode": decode}


def limit_memory():
    """Let this process take so much more address space than it has; beyond it, allocations fail as errors."""
    limit = os.environ.get("HWDIAG_MEMORY_LIMIT")
    if limit:
        with open("/proc/self/statm") as statm:
            mapped = int(statm.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + int(limit), resource.RLIM_INFINITY))


def random_like(torch, value, device):
    """Return inputs that are not all alike. What is no tensor stays as it is."""
    if not isinstance(value, torch.Tensor):
        return value
    if value.is_floating_point():
        return torch.randn(value.shape, device=device)
    return torch.randint(1000, value.shape, device=device)


def trained(net):
    """Set training mode without dropout, whose random numbers no reference has."""
    net.train()
    for module in net.modules():
        for name, value in vars(module).items():
            if isinstance(value, float) and ("drop" in name or (name == "p" and "Dropout" in type(module).__name__)):
                setattr(module, name, 0.0)


def cut(given, parts):
    """Return the batch in so many parts of equal size, as near as can be."""
    if parts == 1:
        return [given]
    first = next(v for v in (given.values() if isinstance(given, dict) else given) if hasattr(v, "square"))
    if len(first) % parts:
        raise ValueError("a batch of %d cannot be cut into %d equal parts" % (len(first), parts))
    pieces = []
    for i in range(parts):
        size = len(first) // parts
        pieces.append(each(given, lambda t, i=i, size=size: t[i * size : (i + 1) * size]))
    return pieces


def from_host(device, given, pinned):
    """Return a function that copies the inputs from the host's memory, where a data loader leaves them."""
    here = each(given, lambda t: t.cpu().pin_memory() if pinned else t.cpu())
    return lambda: each(here, lambda t: t.to(device, non_blocking=pinned))
