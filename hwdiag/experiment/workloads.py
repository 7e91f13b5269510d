"""The catalogue of workloads: what each does, in operations and bytes, sized for the host at hand."""

from __future__ import annotations

from hwdiag.agent.nets import TITLES
from hwdiag.experiment.model import Workload
from hwdiag.host.model import Host

STREAM_FACTOR = 4
"""Arrays hold at least this many times the last-level caches together (McCalpin, STREAM run rules)."""
SMALLEST_ARRAY = 128 * 2**20
"""Bytes per array where the caches are small or unknown."""
MEMORY_SHARE = 0.25
"""Share of the usable memory that the arrays of one workload may take together."""

MATMUL_N = 2048
CONV = {"batch": 32, "channels": 3, "side": 224, "filters": 64, "kernel": 7, "stride": 2}
RESNET18 = {"batch": 1, "side": 224}
GPT2 = {"batch": 1, "tokens": 64, "width": 768, "layers": 12, "heads": 12, "vocabulary": 50257, "positions": 1024}

RESNET18_PARAMETERS = 11_689_512
RESNET18_FLOPS = 2 * 1_814_073_344
"""Multiply-adds of its convolutions and its linear layer at 224 x 224, counted by torch.utils.flop_counter."""


def catalogue(host: Host) -> tuple[Workload, ...]:
    """Return all workloads, sized for ``host``."""
    engines = (engine("linear-onednn", "onednn", "oneDNN's linear layer"), engine("matmul-numpy", "numpy", "NumPy"))
    return (
        matmul("float32", 4),
        *engines,
        matmul("bfloat16", 2),
        conv2d(),
        *memory_workloads(host),
        resnet18(),
        gpt2(),
    )


def matmul(dtype: str, width: int, n: int = MATMUL_N) -> Workload:
    """Return the product of two n x n matrices; ``width`` is the type's size in bytes."""
    short = {"float32": "fp32", "bfloat16": "bf16"}[dtype]
    return Workload.model_validate(
        {
            "name": f"matmul-{short}",
            "title": f"Matrix product, {short}, {n} x {n}",
            "kind": "matmul",
            "family": "compute",
            "dtype": dtype,
            "size": {"n": n},
            "flops": 2 * n**3,
            "bytes": 3 * n * n * width,
        }
    )


def engine(name: str, kind: str, by: str) -> Workload:
    """Return the fp32 product by another library than ``torch.mm`` takes."""
    title = f"Matrix product by {by}, fp32, {MATMUL_N} x {MATMUL_N}"
    return matmul("float32", 4).model_copy(update={"name": name, "kind": kind, "title": title})


def conv2d() -> Workload:
    """Return the first layer of a ResNet on a batch of 32 images."""
    out = CONV["batch"] * CONV["filters"] * (CONV["side"] // CONV["stride"]) ** 2
    weights = CONV["filters"] * CONV["channels"] * CONV["kernel"] ** 2
    images = CONV["batch"] * CONV["channels"] * CONV["side"] ** 2
    return Workload(
        name="conv2d",
        title="Convolution, fp32, 32 x 3 x 224 x 224 to 64 channels, 7 x 7, stride 2",
        kind="conv2d",
        family="compute",
        dtype="float32",
        size=CONV,
        flops=2 * out * CONV["channels"] * CONV["kernel"] ** 2,
        bytes=4 * (images + weights + out),
        note="Includes allocating its result of 103 MB, as every such call in PyTorch does.",
    )


def exact_conv2d() -> Workload:
    """Return the same convolution with all bits of float32, where a GPU takes TF32 for it by default."""
    about = {
        "name": "conv2d-exact",
        "what": "exact",
        "note": "With torch.backends.cudnn.allow_tf32 = False.",
    }
    return conv2d().model_copy(update={**about, "title": f"{conv2d().title}, without TF32"})


def memory_workloads(host: Host) -> tuple[Workload, Workload]:
    """Copy and triad over arrays that no cache can hold."""
    wanted = max(SMALLEST_ARRAY, STREAM_FACTOR * host.cpu.llc_bytes)
    usable = host.usable_memory_bytes
    size = wanted if usable is None else min(wanted, int(usable * MEMORY_SHARE / 3))
    elements = max(1, size // 8)
    note = None
    if size < wanted:
        note = (
            f"Arrays of {size / 2**20:.0f} MiB only, for lack of memory: "
            f"{size / max(1, host.cpu.llc_bytes):.1f} times the last-level cache."
        )
    title = f"float64, arrays of {size / 2**20:.0f} MiB"
    size_of = {"elements": elements}
    return (
        Workload(name="copy", title=f"Memory copy, {title}", kind="copy", family="memory", dtype="float64",
                 size=size_of, flops=0, bytes=16 * elements, note=note),
        Workload(name="triad", title=f"Memory triad a = b + s c, {title}", kind="triad", family="memory",
                 dtype="float64", size=size_of, flops=2 * elements, bytes=24 * elements, note=note),
    )  # fmt: skip


def resnet18() -> Workload:
    """Return ResNet-18 on one image."""
    return Workload(
        name="resnet18",
        title=f"{TITLES['resnet18']} inference, fp32, batch 1, 224 x 224",
        kind="resnet18",
        family="model",
        dtype="float32",
        size=RESNET18,
        flops=RESNET18_FLOPS,
        bytes=4 * (RESNET18_PARAMETERS + 3 * 224 * 224 + 1000),
    )


def gpt2() -> Workload:
    """Return GPT-2 small on one prompt, with the logits of all positions."""
    t, width, vocabulary = GPT2["tokens"], GPT2["width"], GPT2["vocabulary"]
    # Per layer and token: 12 width^2 weights in the four linear layers; attention multiplies 2 t width per token.
    multiply_adds = GPT2["layers"] * (12 * width**2 * t + 2 * t * t * width) + t * width * vocabulary
    # Weights are read once; of the token embedding every row, since it is the output layer too.
    weights = GPT2["layers"] * (12 * width**2 + 13 * width) + width * vocabulary + t * width + 2 * width
    return Workload(
        name="gpt2",
        title=f"{TITLES['gpt2']} inference, fp32, batch 1, prompt of {t} tokens",
        kind="gpt2",
        family="model",
        dtype="float32",
        size=GPT2,
        flops=2 * multiply_adds,
        bytes=4 * (weights + t * vocabulary),
    )
