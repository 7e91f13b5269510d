"""What each technique changes in the process that uses it; ``hwdiag.devices.techniques`` says of each why."""

import contextlib
import os
import shutil


class Missing(Exception):
    """A technique cannot be used here, in one line that says why."""


class Technique:
    """What one of them changes; in this class nothing."""

    records_gradients = False
    """In inference."""
    parts = 1
    """Into which a training step's batch is cut."""
    pinned = False

    def process(self, torch, device):
        """Switches of the whole process, before a net is built."""

    def net(self, torch, net, given):
        """The net to call in place of this one."""
        return net

    def given(self, torch, tensor):
        """An input in place of this one."""
        return tensor

    def around(self, torch, device):
        """What the forward pass runs inside of."""
        return contextlib.nullcontext()


class Autograd(Technique):
    records_gradients = True


class ChannelsLast(Technique):
    def net(self, torch, net, given):
        if not any(p.dim() == 4 for p in net.parameters()):
            raise Missing("the net has no convolutions")
        return net.to(memory_format=torch.channels_last)

    def given(self, torch, tensor):
        return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor


class Compile(Technique):
    def __init__(self, mode=None):
        self.mode = mode

    def process(self, torch, device):
        compilers = (os.environ.get("CXX"), "g++", "clang++", "c++")
        if device.type == "cpu" and not any(shutil.which(name) for name in compilers if name):
            raise Missing("torch.compile needs a C++ compiler on the CPU, and there is no g++ or clang++ on the path")

    def net(self, torch, net, given):
        return torch.compile(net, mode=self.mode)


class Autocast(Technique):
    def __init__(self, dtype):
        self.dtype = dtype

    def around(self, torch, device):
        return torch.autocast(device.type, dtype=getattr(torch, self.dtype))


class Int8(Technique):
    """Weights and activations of linear layers; convolutions stay as they are."""

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


class MathAttention(Technique):
    def around(self, torch, device):
        attention = torch.nn.attention
        return attention.sdpa_kernel(attention.SDPBackend.MATH)


class CudnnBenchmark(Technique):
    def process(self, torch, device):
        torch.backends.cudnn.benchmark = True


class Tf32(Technique):
    def process(self, torch, device):
        torch.set_float32_matmul_precision("high")


class Graphs(Technique):
    """All kernels of the net are recorded once, and started together."""

    def net(self, torch, net, given):
        tensors = given if isinstance(given, tuple) else tuple(given.values())
        if isinstance(given, dict) or not all(isinstance(t, torch.Tensor) for t in tensors):
            raise Missing("CUDA graphs take nets of tensors alone")
        return torch.cuda.make_graphed_callables(net, tensors)


class Checkpointing(Technique):
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
    """The largest parts of which a net has at least so many of one class of its own."""
    found = []
    inside = set()
    classes = [type(m) for m in net.modules()]
    for module in net.modules():  # from the outside in
        of_torch = type(module).__module__.startswith("torch.nn")
        if id(module) not in inside and not of_torch and classes.count(type(module)) >= least:
            found.append(module)
            inside.update(id(part) for part in module.modules())
    return found


class Accumulation(Technique):
    parts = 4


class Pinned(Technique):
    pinned = True


TECHNIQUES = {
    "autograd": Autograd,
    "channels-last": ChannelsLast,
    "compile": Compile,
    "compile-reduce-overhead": lambda: Compile("reduce-overhead"),
    "autocast-bf16": lambda: Autocast("bfloat16"),
    "autocast-fp16": lambda: Autocast("float16"),
    "int8": Int8,
    "math-attention": MathAttention,
    "cudnn-benchmark": CudnnBenchmark,
    "tf32": Tf32,
    "graphs": Graphs,
    "checkpointing": Checkpointing,
    "accumulation": Accumulation,
    "pinned": Pinned,
}


def chosen():
    """Those that this process uses."""
    names = os.environ.get("HWDIAG_TECHNIQUES", "").split()
    return [TECHNIQUES[name]() for name in names]
