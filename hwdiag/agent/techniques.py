"""Changes that each technique makes in the process that uses it; ``hwdiag.experiment.techniques`` says of each why."""

import contextlib
import importlib
import os

from .precision_given import exact_convolutions


class Missing(Exception):
    """A technique cannot be used here, in one line that says why."""


def found(torch, path):
    """Return what lies at this path below torch. Raises Missing where this torch has none."""
    thing = torch
    for name in path.split("."):
        thing = getattr(thing, name, None)
        if thing is None:
            raise Missing("not in this torch (%s): torch.%s" % (torch.__version__, path))
    return thing


class BaseTechnique:
    """A technique that changes nothing, the base of all others."""

    order = 0
    """Those of a lower number change a net first: layout and type, then integers, then what wraps the whole."""
    records_gradients = False
    """In inference."""
    parts = 1
    """Into which a training step's batch is cut."""
    pinned = False

    def process(self, torch, device):
        """Set switches of the whole process, before a net is built."""

    def net(self, torch, net, given):
        """Return the net to call in place of this one."""
        return net

    def given(self, torch, tensor):
        """Return an input in place of this one."""
        return tensor

    def around(self, torch, device):
        """Return the context that the forward pass runs in."""
        return contextlib.nullcontext()


class Autograd(BaseTechnique):
    records_gradients = True


class InferenceMode(BaseTechnique):
    def around(self, torch, device):
        return torch.inference_mode()


class ChannelsLast(BaseTechnique):
    """A net without convolutions stays as it is."""

    order = 10

    def net(self, torch, net, given):
        return net.to(memory_format=torch.channels_last)

    def given(self, torch, tensor):
        return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


class Half(BaseTechnique):
    """The whole net in a type of 16 bits: weights, inputs and what lies between."""

    order = 20

    def __init__(self, dtype):
        self.dtype = dtype

    def net(self, torch, net, given):
        return net.to(getattr(torch, self.dtype))

    def given(self, torch, tensor):
        return tensor.to(getattr(torch, self.dtype)) if tensor.is_floating_point() else tensor


class Compile(BaseTechnique):
    order = 90

    def __init__(self, mode=None, freezing=False):
        self.mode, self.freezing = mode, freezing

    def process(self, torch, device):
        import shutil  # which imports much: a measurement without compilation is not to have it

        compilers = (os.environ.get("CXX"), "g++", "clang++", "c++")
        if device.type == "cpu" and not any(shutil.which(name) for name in compilers if name):
            raise Missing("torch.compile needs a C++ compiler on the CPU, and there is no g++ or clang++ on the path")
        if self.freezing:
            importlib.import_module("torch._inductor.config")  # not with torch itself
            found(torch, "_inductor.config.freezing")
            torch._inductor.config.freezing = True

    def net(self, torch, net, given):
        return found(torch, "compile")(net, mode=self.mode)


class Autocast(BaseTechnique):
    def __init__(self, dtype):
        self.dtype = dtype

    def around(self, torch, device):
        return torch.autocast(device.type, dtype=getattr(torch, self.dtype))


class Int8(BaseTechnique):
    """Weights and activations of linear layers; convolutions stay as they are."""

    order = 30

    def net(self, torch, net, given):
        try:
            from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_
        except Exception as error:
            raise Missing("int8 needs torchao in that interpreter: %s" % (str(error).splitlines() or [""])[0])
        before = [m.weight for m in net.modules() if isinstance(m, torch.nn.Linear)]
        quantize_(net, Int8DynamicActivationInt8WeightConfig())
        after = [m.weight for m in net.modules() if isinstance(m, torch.nn.Linear)]
        if not any(a is not b for a, b in zip(before, after)):
            raise Missing("torchao changed no layer: the net has no linear layers that it takes")
        return net


class DynamicInt8(BaseTechnique):
    """The same by torch's own kernels, which work on the CPU."""

    order = 30

    def net(self, torch, net, given):
        quantize = found(torch, "ao.quantization.quantize_dynamic")
        if not any(isinstance(m, torch.nn.Linear) for m in net.modules()):
            raise Missing("the net has no linear layers")
        return quantize(net, {torch.nn.Linear}, dtype=torch.qint8, inplace=True)


class MathAttention(BaseTechnique):
    def around(self, torch, device):
        return found(torch, "nn.attention.sdpa_kernel")(torch.nn.attention.SDPBackend.MATH)


class CudnnBenchmark(BaseTechnique):
    def process(self, torch, device):
        torch.backends.cudnn.benchmark = True


class Tf32(BaseTechnique):
    """Products in TF32; convolutions have it by default."""

    def process(self, torch, device):
        torch.set_float32_matmul_precision("high")


class ExactConvolutions(BaseTechnique):
    def process(self, torch, device):
        exact_convolutions(torch)


class MatmulBf16(BaseTechnique):
    """Products and convolutions of float32 operands may be computed in bf16."""

    def process(self, torch, device):
        torch.set_float32_matmul_precision("medium")
        for name in ("matmul", "conv", "rnn"):  # before torch 2.9 oneDNN reads the setting above alone
            part = getattr(torch.backends.mkldnn, name, None)
            if hasattr(part, "fp32_precision"):
                part.fp32_precision = "bf16"


class FlushDenormals(BaseTechnique):
    """Numbers too small to be normal count as 0; they are slow on most CPUs."""

    def process(self, torch, device):
        if not torch.set_flush_denormal(True):
            raise Missing("this torch cannot flush denormal numbers on this CPU")


class Graphs(BaseTechnique):
    """All kernels of the net are recorded once, and started together."""

    order = 95

    def net(self, torch, net, given):
        tensors = given if isinstance(given, tuple) else tuple(given.values())
        if isinstance(given, dict) or not all(isinstance(t, torch.Tensor) for t in tensors):
            raise Missing("CUDA graphs take nets of tensors alone")
        with torch.cuda.device(tensors[0].device):  # a graph is recorded on a stream of the current device
            return torch.cuda.make_graphed_callables(net, tensors)


class Checkpointing(BaseTechnique):
    order = 40

    def net(self, torch, net, given):
        blocks = repeated_blocks(net)
        if not blocks:
            raise Missing("the net has no repeated blocks")
        for block in blocks:
            block.forward = checkpointed(torch, block.forward)
        return net


def checkpointed(torch, forward):
    from torch.utils.checkpoint import checkpoint

    return lambda *args, **kwargs: checkpoint(forward, *args, use_reentrant=False, **kwargs)


def repeated_blocks(net, least=3):
    """Return the largest parts of which a net has at least so many of one class of its own."""
    found = []
    inside = set()
    classes = [type(m) for m in net.modules()]
    for module in net.modules():  # from the outside in
        of_torch = type(module).__module__.startswith("torch.nn")
        if id(module) not in inside and not of_torch and classes.count(type(module)) >= least:
            found.append(module)
            inside.update(id(part) for part in module.modules())
    return found


class Accumulation(BaseTechnique):
    parts = 4


class Pinned(BaseTechnique):
    pinned = True


TECHNIQUES = {
    "autograd": Autograd,
    "inference-mode": InferenceMode,
    "channels-last": ChannelsLast,
    "bf16": lambda: Half("bfloat16"),
    "fp16": lambda: Half("float16"),
    "compile": Compile,
    "compile-reduce-overhead": lambda: Compile("reduce-overhead"),
    "compile-max-autotune": lambda: Compile("max-autotune"),
    "compile-freezing": lambda: Compile(freezing=True),
    "autocast-bf16": lambda: Autocast("bfloat16"),
    "autocast-fp16": lambda: Autocast("float16"),
    "int8": Int8,
    "int8-dynamic": DynamicInt8,
    "matmul-bf16": MatmulBf16,
    "flush-denormals": FlushDenormals,
    "math-attention": MathAttention,
    "cudnn-benchmark": CudnnBenchmark,
    "tf32": Tf32,
    "exact-convolutions": ExactConvolutions,
    "graphs": Graphs,
    "checkpointing": Checkpointing,
    "accumulation": Accumulation,
    "pinned": Pinned,
}


USED = []  # type: ignore[var-annotated]
"""Names of those that this process uses."""


def chosen():
    """Return the techniques that this process uses, in the order in which they change a net."""
    return sorted((TECHNIQUES[name]() for name in USED), key=lambda technique: technique.order)
