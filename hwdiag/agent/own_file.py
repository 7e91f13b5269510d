"""The person's own file: what ``build()`` gives, as it is called, under the techniques of this process.

``build()`` gives a callable, a pair of it and one that checks its result, or a net and its inputs, to which all
techniques apply.
"""

import importlib.util
import os
import sys

from . import techniques
from .accelerator import is_started, kind_of
from .applying import called, doubled, first_tensor, under, wide
from .channel import one_line
from .failures import WrongResult, is_out_of_memory
from .torch_import import import_torch
from .workloads import SEED, net_tolerance, relative_error

COMPARABLE = 1e-2
"""Error of a net in float32 against itself in float64, beyond which its results are taken to change by themselves."""


def builder_in(path):
    """Return ``build`` of a Python file. Raises ValueError where it has none."""
    sys.path.insert(0, os.path.dirname(path))  # as ``python FILE`` has it, so that it finds what lies beside it
    spec = importlib.util.spec_from_file_location("hwdiag_workload", path)
    if spec is None:
        raise ValueError("%s is no Python file" % path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    if not callable(getattr(module, "build", None)):
        raise ValueError("%s has no function build()" % path)
    return module.build


def is_net(torch, built):
    """Return whether ``build()`` gave a net and its inputs."""
    pair = isinstance(built, tuple) and len(built) == 2 and isinstance(built[0], torch.nn.Module)
    return pair and isinstance(built[1], (torch.Tensor, tuple, list, dict))


def inputs_of(torch, given):
    """Return the inputs of a net as a tuple or a dictionary."""
    if isinstance(given, torch.Tensor):
        return (given,)
    return given if isinstance(given, dict) else tuple(given)


def device_of(torch, net):
    """Return where a net lies."""
    return next((p.device for p in net.parameters()), torch.device("cpu"))


def build_file(torch, device, dtype, path):
    """Return the step and the check of a file. ``device`` and ``dtype`` are the file's own affair."""
    used = techniques.chosen()
    build = builder_in(path)
    for technique in used:
        technique.process(torch, torch.device(kind_of(torch) or "cpu"))
    torch.manual_seed(SEED)
    built = build()
    if is_net(torch, built):
        return user_net(torch, build, built[0], inputs_of(torch, built[1]), used)
    return user_step(torch, path, built, used)


def user_step(torch, path, built, used):
    """Return what calls a callable, and its own check.

    ``check()`` is called once after the first call; the result is wrong if it gives False or an assertion fails.
    """
    call, own_check = built if isinstance(built, tuple) and len(built) == 2 else (built, None)
    if not callable(call) or not (own_check is None or callable(own_check)):
        raise ValueError("build() of %s gives %s, not a callable, a pair of them, or a net and its inputs" % (
            path, type(built).__name__))  # fmt: skip
    step = call
    if used:
        kind = kind_of(torch)
        device = torch.device(kind if kind is not None and is_started(torch, kind) else "cpu")
        _, _, around = under(torch, device, [Within(t) for t in used], None, ())

        def step():
            with around():
                return call()

    def check():
        try:
            right = own_check() is not False
        except AssertionError as error:
            raise WrongResult("check() of %s: %s" % (path, one_line(error))) from None
        if not right:
            raise WrongResult("check() of %s gives False" % path)
        return None, None

    return step, check if own_check else lambda: (None, None)


class Within(techniques.BaseTechnique):
    """The context of a technique in which a call runs: there is no net to change."""

    def __init__(self, technique):
        self.around = technique.around


def user_net(torch, build, net, given, used):
    """Return what calls a net as the file leaves it, and what compares it with itself in float64."""
    device = device_of(torch, net)
    before = fingerprint(torch, net)
    net, given, around = under(torch, device, used, net, given)

    def step():
        with around():
            return net(**given) if isinstance(given, dict) else net(*given)

    def check():
        got = first_tensor(step())
        wanted = None if got is None else reference(torch, build, before)
        if wanted is None or wanted.shape != got.shape:
            return None, None
        return relative_error(torch, got.detach(), wanted), net_tolerance(torch, device)

    return step, check


def fingerprint(torch, net):
    """Return what tells two nets of one class apart by their weights."""
    with torch.no_grad():
        return [float(wide(p).sum()) if p.is_floating_point() else 0.0 for p in net.parameters()]


def reference(torch, build, before):
    """Return the results in float64 of the same net, built once more; in float32 where it knows no float64.

    None where there are none to compare with: it is built with other weights each time, its results change from call
    to call, or memory does not hold it twice.
    """
    try:
        torch.manual_seed(SEED)
        net, given = build()
        if fingerprint(torch, net) != before:
            return None
        given = inputs_of(torch, given)
        with torch.no_grad():
            plain = called(net, given)
            try:
                wanted = called(*doubled(net, given))
            except Exception as error:
                if is_out_of_memory(error):
                    return None
                return wide(plain)  # an operator of its own has no float64
            return wanted if relative_error(torch, plain, wanted) <= COMPARABLE else None
    except Exception as error:
        if is_out_of_memory(error):
            return None
        raise


def describe(channel, path):
    """Tell what ``build()`` gives, and of a net what levers apply to it."""
    torch = import_torch(channel)
    if torch is None:
        return
    built = builder_in(path)()
    if not is_net(torch, built):
        channel.tell("described", is_net=False, device="cpu")
        return
    net = built[0]
    names = [type(m).__name__ for m in net.modules()]
    channel.tell(
        "described",
        is_net=True,
        device=str(device_of(torch, net)),
        convolutions=any(p.dim() == 4 for p in net.parameters()),
        attention=any("ttention" in name for name in names),
        linear_layers=any(isinstance(m, torch.nn.Linear) for m in net.modules()),
        training=net.training,
    )


BUILDERS = {"file": build_file}
VERBS = {"describe": describe}
