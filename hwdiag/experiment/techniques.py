"""The techniques, declared as data: what each changes in a process and in its results, and what it writes down.

Adding one is adding an entry here and what it changes in the agent, in ``agent/techniques.py``.
"""

from __future__ import annotations

from typing import Literal

from hwdiag.core.choices import Accuracy
from hwdiag.core.value import Value
from hwdiag.experiment.lever import Lever, Plan
from hwdiag.process.launch import Launch

Mode = Literal["inference", "training"]


class Technique(Value):
    """One technique. Its gain is the time without it over the time with it."""

    name: str
    title: str
    sentence: str
    """What it does."""
    accuracy: Accuracy = "same"
    """What it does to results."""
    modes: tuple[Mode, ...] = ("inference", "training")
    cpu: bool = True
    """Whether it can do anything on a CPU."""
    accelerator: bool = True
    cuda: bool = False
    """Whether only CUDA has it."""
    needs: str = ""
    """What a net must have: ``convolutions``, ``attention``, ``linear_layers``."""
    copies_inputs: bool = False
    """Whether it is about how inputs come to the device."""
    is_default: bool = False
    """Whether it is how things run anyway: then the process that is compared is the one without it."""
    slow_start: bool = False
    """Whether the first call compiles, for seconds or minutes."""
    saves: str = ""
    """What it is for where that is not speed: ``memory``."""
    children: tuple[str, ...] | None = None
    """What the agent is told to use, by names of ``agent/techniques.py``; None: what bears its own name."""
    env: dict[str, str] = {}
    setup: tuple[str, ...] = ()
    """Lines of settings.py for the process."""
    prepare: tuple[str, ...] = ()
    """Lines of settings.py that change ``net``."""
    inputs: str = ""
    """In settings.py: what becomes of an input tensor ``x``."""
    around: str = ""
    """In settings.py: the context that a forward pass runs inside of."""
    by_hand: str = ""
    """What a script has to do itself, where none of these can."""
    caution: str = ""
    source: str

    @property
    def plan(self) -> Plan:
        """Return the plan of the process that is compared with the default one."""
        return Plan.of(self.lever("technique"))

    def lever(self, factor: str) -> Lever:
        """Return the technique as a lever of this factor."""
        return Lever(
            id=self.name,
            factor=factor,
            title=self.title,
            launch=Launch(env=self.env),
            techniques=(self.name,) if self.children is None else self.children,
            accuracy=self.accuracy,
        )


GUIDE = "torch performance tuning guide"
BEFORE = "an environment variable, to be set before the process starts"


def allocator(setting: str) -> dict[str, str]:
    """Return the settings of CUDA's allocator, under its name and that before torch 2.9, so that no inherited one
    counts."""
    return {"PYTORCH_ALLOC_CONF": setting, "PYTORCH_CUDA_ALLOC_CONF": setting}


TECHNIQUES: tuple[Technique, ...] = (
    Technique(
        name="inference-mode",
        title="inference_mode",
        sentence="Records nothing for gradients.",
        modes=("inference",),
        is_default=True,
        children=("autograd",),
        around="torch.inference_mode()",
        source=GUIDE,
    ),
    Technique(
        name="channels-last",
        title="channels_last",
        sentence="Stores images pixel by pixel, as convolution kernels of oneDNN and cuDNN like them.",
        needs="convolutions",
        prepare=("net = net.to(memory_format=torch.channels_last)",),
        inputs="x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x",
        caution="inputs must be given as x.contiguous(memory_format=torch.channels_last)",
        source="torch channels-last tutorial",
    ),
    Technique(
        name="bf16",
        title="whole net in bf16",
        sentence="Keeps weights and activations in bf16: faster products where a CPU has them, and half the memory.",
        accuracy="reduced",
        prepare=("net = net.to(torch.bfloat16)",),
        inputs="x.to(torch.bfloat16) if x.is_floating_point() else x",
        caution="8 bits of precision, also in what a training adds to its weights; inputs must be given in bf16",
        source="torch documentation, bfloat16",
    ),
    Technique(
        name="fp16",
        title="whole net in fp16",
        sentence="Keeps weights and activations in fp16; a CPU without instructions for it is slow at that.",
        accuracy="reduced",
        modes=("inference",),
        cpu=False,
        prepare=("net = net.to(torch.float16)",),
        inputs="x.to(torch.float16) if x.is_floating_point() else x",
        caution="values beyond 65,504 overflow; inputs must be given in fp16",
        source="torch documentation, float16",
    ),
    Technique(
        name="bf16-channels-last",
        title="whole net in bf16, channels_last",
        sentence="Both together: convolution kernels of 16 bits want their images pixel by pixel.",
        accuracy="reduced",
        needs="convolutions",
        children=("bf16", "channels-last"),
        prepare=("net = net.to(torch.bfloat16, memory_format=torch.channels_last)",),
        inputs="x.to(torch.bfloat16, memory_format=torch.channels_last) if x.dim() == 4 else x",
        caution="8 bits of precision; inputs must be given in bf16 and channels_last",
        source="torch channels-last tutorial",
    ),
    Technique(
        name="fp16-channels-last",
        title="whole net in fp16, channels_last",
        sentence="Both together: convolution kernels of 16 bits want their images pixel by pixel.",
        accuracy="reduced",
        modes=("inference",),
        cpu=False,
        needs="convolutions",
        children=("fp16", "channels-last"),
        prepare=("net = net.to(torch.float16, memory_format=torch.channels_last)",),
        inputs="x.to(torch.float16, memory_format=torch.channels_last) if x.dim() == 4 else x",
        caution="values beyond 65,504 overflow; inputs must be given in fp16 and channels_last",
        source="torch channels-last tutorial",
    ),
    Technique(
        name="autocast-bf16-channels-last",
        title="autocast to bf16, channels_last",
        sentence="Both together: convolutions in bf16 on images stored pixel by pixel.",
        accuracy="reduced",
        needs="convolutions",
        children=("autocast-bf16", "channels-last"),
        prepare=("net = net.to(memory_format=torch.channels_last)",),
        inputs="x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x",
        around='torch.autocast("{device}", dtype=torch.bfloat16)',
        caution="8 bits of precision; inputs must be given in channels_last",
        source="torch channels-last tutorial",
    ),
    Technique(
        name="compile-bf16",
        title="torch.compile of the whole net in bf16",
        sentence="Both together: half the memory, and what lies between products is fused.",
        accuracy="reduced",
        modes=("inference",),
        slow_start=True,
        children=("bf16", "compile"),
        prepare=("net = torch.compile(net.to(torch.bfloat16))",),
        inputs="x.to(torch.bfloat16) if x.is_floating_point() else x",
        caution="8 bits of precision; the first call compiles; inputs must be given in bf16",
        source="torch.compile documentation",
    ),
    Technique(
        name="autocast-bf16",
        title="autocast to bf16",
        accuracy="reduced",
        sentence="Runs products and convolutions in bf16, whose range needs no GradScaler.",
        around='torch.autocast("{device}", dtype=torch.bfloat16)',
        caution="8 bits of precision",
        source="torch.amp documentation",
    ),
    Technique(
        name="autocast-fp16",
        accuracy="reduced",
        title="autocast to fp16",
        sentence="Runs products and convolutions in fp16; training would need torch.amp.GradScaler as well.",
        modes=("inference",),
        cpu=False,
        around='torch.autocast("{device}", dtype=torch.float16)',
        caution="values beyond 65,504 overflow",
        source="torch.amp documentation",
    ),
    Technique(
        name="compile",
        title="torch.compile",
        sentence="Compiles the net: fuses what lies between products, and starts fewer kernels.",
        slow_start=True,
        prepare=("net = torch.compile(net)",),
        caution="the first call compiles, and so does each new shape",
        source="torch.compile documentation",
    ),
    Technique(
        name="compile-reduce-overhead",
        title="torch.compile, reduce-overhead",
        sentence="As torch.compile, and starts all kernels at once as a CUDA graph.",
        cpu=False,
        cuda=True,
        slow_start=True,
        prepare=('net = torch.compile(net, mode="reduce-overhead")',),
        caution="inputs of one shape; its memory stays taken",
        source="torch.compile documentation",
    ),
    Technique(
        name="int8",
        accuracy="quantised",
        title="int8 by torchao",
        sentence="Multiplies linear layers in int8: weights once, activations at each call; convolutions stay.",
        modes=("inference",),
        needs="linear_layers",
        prepare=(
            "from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_",
            "quantize_(net, Int8DynamicActivationInt8WeightConfig())",
        ),
        caution="accuracy must be checked on data of your own",
        source="torchao documentation",
    ),
    Technique(
        name="fused-attention",
        title="fused attention (SDPA)",
        sentence="scaled_dot_product_attention takes a fused kernel where the device has one.",
        needs="attention",
        is_default=True,
        children=("math-attention",),
        source="torch SDPA documentation",
    ),
    Technique(
        name="tf32",
        accuracy="reduced",
        title="TF32",
        sentence="float32 products with 10 bits of mantissa.",
        cpu=False,
        cuda=True,
        setup=('torch.set_float32_matmul_precision("high")',),
        caution="10 bits of precision",
        source="torch numerical accuracy notes",
    ),
    Technique(
        name="tf32-convolutions",
        accuracy="reduced",
        title="TF32 in convolutions",
        sentence="cuDNN computes convolutions of float32 with 10 bits of mantissa by default.",
        cpu=False,
        cuda=True,
        needs="convolutions",
        is_default=True,
        children=("exact-convolutions",),
        caution="10 bits of precision; torch.backends.cudnn.allow_tf32 = False undoes it",
        source="torch CUDA semantics notes",
    ),
    Technique(
        name="cudnn-benchmark",
        title="cudnn.benchmark",
        sentence="Times the algorithms for each new shape of a convolution, and takes the fastest.",
        cpu=False,
        cuda=True,
        needs="convolutions",
        setup=("torch.backends.cudnn.benchmark = True",),
        caution="for inputs of one shape; varying shapes pay for it each time",
        source="torch reproducibility notes",
    ),
    Technique(
        name="graphs",
        title="CUDA graphs",
        sentence="Records the net's kernels once and starts all of them together.",
        modes=("inference",),
        cpu=False,
        cuda=True,
        by_hand="net = torch.cuda.make_graphed_callables(net, (x,))",
        caution="inputs of one shape, at one address",
        source="torch CUDA semantics notes",
    ),
    Technique(
        name="pinned",
        title="pinned memory and non_blocking",
        sentence="Inputs lie in page-locked memory, from which the device copies while the host goes on.",
        modes=("inference",),
        cpu=False,
        copies_inputs=True,
        by_hand="DataLoader(..., pin_memory=True), and x = x.to(device, non_blocking=True)",
        source="torch CUDA semantics notes",
    ),
    Technique(
        name="expandable-segments",
        title="expandable_segments",
        sentence="The allocator grows its segments, so that less is lost between them.",
        cpu=False,
        cuda=True,
        saves="memory",
        children=(),
        env=allocator("expandable_segments:True"),
        caution=BEFORE,
        source="torch CUDA semantics notes",
    ),
    Technique(
        name="split-limit",
        title="max_split_size_mb:128",
        sentence="The allocator does not split blocks larger than that, so that they can be used whole again.",
        cpu=False,
        cuda=True,
        saves="memory",
        children=(),
        env=allocator("max_split_size_mb:128"),
        caution=BEFORE,
        source="torch CUDA semantics notes",
    ),
    Technique(
        name="malloc-async",
        title="backend:cudaMallocAsync",
        sentence="Memory comes from CUDA's own pool instead of torch's.",
        cpu=False,
        cuda=True,
        saves="memory",
        children=(),
        env=allocator("backend:cudaMallocAsync"),
        caution=BEFORE,
        source="torch CUDA semantics notes",
    ),
    Technique(
        name="guide-threads",
        title="a guide's OpenMP variables",
        sentence="Eight threads, bound close, whatever the machine; KMP_ variables are for Intel's OpenMP alone.",
        modes=("inference",),
        accelerator=False,
        children=(),
        env={
            "OMP_NUM_THREADS": "8",
            "MKL_NUM_THREADS": "8",
            "KMP_AFFINITY": "granularity=fine,compact,1,0",
            "KMP_BLOCKTIME": "1",
        },
        caution=f"{BEFORE}; hwdiag run searches the values that suit this host",
        source="a guide for an old Xeon",
    ),
    Technique(
        name="checkpointing",
        title="gradient checkpointing",
        sentence="Keeps a block's input only, and computes the block again in the backward pass.",
        modes=("training",),
        saves="memory",
        by_hand="in a block's caller: x = torch.utils.checkpoint.checkpoint(block, x, use_reentrant=False)",
        caution="costs about one forward pass more",
        source="torch.utils.checkpoint documentation",
    ),
    Technique(
        name="accumulation",
        title="gradient accumulation",
        sentence="Cuts a batch into four, and steps the optimiser once.",
        modes=("training",),
        saves="memory",
        by_hand="for part in x.chunk(4): (loss_of(net(part)) / 4).backward(); then one optimizer.step()",
        caution="batch norm sees the small batches",
        source=GUIDE,
    ),
)

COMBINED: tuple[Technique, ...] = (
    Technique(
        name="matmul-bf16",
        title="fp32 products in bf16",
        sentence="float32 operands are rounded to bf16 for products and convolutions.",
        accuracy="reduced",
        accelerator=False,
        setup=(
            'torch.set_float32_matmul_precision("medium")',
            'for part in ("matmul", "conv", "rnn"):',
            '    if hasattr(getattr(torch.backends.mkldnn, part, None), "fp32_precision"):',
            '        getattr(torch.backends.mkldnn, part).fp32_precision = "bf16"',
        ),
        caution="8 bits of precision in products",
        source="torch documentation, set_float32_matmul_precision",
    ),
    Technique(
        name="flush-denormals",
        title="denormal numbers count as 0",
        sentence="Numbers below 1.2e-38, which are slow on most CPUs, are taken as 0.",
        accelerator=False,
        setup=("torch.set_flush_denormal(True)",),
        source="torch documentation, set_flush_denormal",
    ),
    Technique(
        name="compile-max-autotune",
        title="torch.compile, max-autotune",
        sentence="As torch.compile, and times several kernels for each product.",
        slow_start=True,
        prepare=('net = torch.compile(net, mode="max-autotune")',),
        caution="the first call takes minutes",
        source="torch.compile documentation",
    ),
    Technique(
        name="compile-freezing",
        title="torch.compile, frozen weights",
        sentence="As torch.compile, with weights taken as constants and laid out for the kernels.",
        modes=("inference",),
        slow_start=True,
        setup=("import torch._inductor.config", "torch._inductor.config.freezing = True"),
        prepare=("net = torch.compile(net)",),
        caution="weights cannot change afterwards",
        source="torch.compile documentation",
    ),
    Technique(
        name="math-attention",
        title="attention from single operations",
        sentence="scaled_dot_product_attention takes no fused kernel.",
        needs="attention",
        around="torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)",
        source="torch SDPA documentation",
    ),
    Technique(
        name="int8-dynamic",
        title="int8 by torch's dynamic quantisation",
        sentence="Multiplies linear layers in int8 on the CPU: weights once, activations at each call.",
        accuracy="quantised",
        modes=("inference",),
        accelerator=False,
        needs="linear_layers",
        prepare=("net = torch.ao.quantization.quantize_dynamic(net, {torch.nn.Linear}, dtype=torch.qint8)",),
        caution="accuracy must be checked on data of your own",
        source="torch quantisation documentation",
    ),
)
"""Those that a search combines with others, and that are not tried by themselves."""

BY_NAME = {t.name: t for t in (*TECHNIQUES, *COMBINED)}
