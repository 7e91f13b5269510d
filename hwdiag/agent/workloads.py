"""Workloads: each builder gives ``(step, check)``; ``check()`` is the largest error relative to the largest reference.

A module of this folder whose ``BUILDERS`` has a workload's kind is where it is built: ``measure.MODULES`` lists them.
"""

import math

from . import techniques
from .applying import called, doubled, under, wide
from .precision_given import TF32_EPS, exact_convolutions, given

SEED = 0
"""Of weights and inputs, so that a reference has the same."""
NET_TOLERANCE = 1e-3
"""Of a net's results in float32: rounding errors of some fifty layers add up; a wrong kernel is off by far more."""

NET_TOLERANCE_TF32 = 1e-2
"""The same in TF32: a tenth of what a net may be off in bf16, which has three bits less."""


def relative_error(torch, got, reference):
    return ((wide(got) - reference).abs().max() / reference.abs().max()).item()


def rounding_tolerance(torch, dtype, terms, given=None):
    """Return the error allowed for a sum of ``terms`` products: random-walk growth of fp32 rounding plus the output's
    own, or that of operands that are ``given`` a lower precision.

    Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., section 4.3: errors of long sums grow like the
    square root of their length; the factors 4 and 8 leave room for other orders of summation.
    """
    eps = TF32_EPS if given == "tf32" else torch.finfo(dtype).eps
    return 4 * math.sqrt(terms) * torch.finfo(torch.float32).eps + 8 * eps


def values(torch, elements, device, dtype, otherwise):
    """Return an array of random numbers on an accelerator, which may be faster where all are alike.

    On the CPU all are ``otherwise``: filled by torch's own threads, the first touch puts each page on the node of the
    thread that uses it later, and drawing them takes one thread.
    """
    if torch.device(device).type == "cpu":
        return torch.full((elements,), otherwise, device=device, dtype=dtype)
    return torch.rand(elements, device=device, dtype=dtype)


def build_matmul(torch, device, dtype, n):
    a = torch.randn(n, n, device=device).to(dtype)
    b = torch.randn(n, n, device=device).to(dtype)
    out = torch.empty(n, n, device=device, dtype=dtype)

    def check():
        rows = torch.linspace(0, n - 1, 8, device=device).long()
        allowed = rounding_tolerance(torch, dtype, n, given(torch, device, dtype, "matmul"))
        return relative_error(torch, out[rows], wide(a[rows]) @ wide(b)), allowed

    return lambda: torch.mm(a, b, out=out), check


def build_onednn(torch, device, dtype, n):
    """Build the product by oneDNN's linear layer, whatever ``torch.mm`` would take."""
    a = torch.randn(n, n, device=device).to(dtype)
    b = torch.randn(n, n, device=device).to(dtype)
    x, weight = a.to_mkldnn(), b.to_mkldnn()

    def step():
        return torch.ops.aten.mkldnn_linear(x, weight, None)

    def check():
        rows = torch.linspace(0, n - 1, 8, device=device).long()
        reference = a[rows].double() @ b.double().t()
        return relative_error(torch, step().to_dense()[rows], reference), rounding_tolerance(torch, dtype, n)

    return step, check


def build_numpy(torch, device, dtype, n):
    """Build the product by NumPy's BLAS."""
    import numpy

    a, b = torch.randn(n, n).to(dtype), torch.randn(n, n).to(dtype)
    left, right = a.numpy(), b.numpy()
    out = torch.empty(n, n, dtype=dtype)
    target = out.numpy()

    def check():
        rows = torch.linspace(0, n - 1, 8).long()
        return relative_error(torch, out[rows], a[rows].double() @ b.double()), rounding_tolerance(torch, dtype, n)

    return lambda: numpy.matmul(left, right, out=target), check


def build_conv2d(torch, device, dtype, batch, channels, side, filters, kernel, stride, what=None):
    """Build a convolution. ``what``: ``exact``, where float32 shall not be computed in TF32."""
    pad = kernel // 2
    if what == "exact":
        exact_convolutions(torch)
    x = torch.randn(batch, channels, side, side, device=device).to(dtype)
    w = torch.randn(filters, channels, kernel, kernel, device=device).to(dtype)

    def step():
        return torch.nn.functional.conv2d(x, w, stride=stride, padding=pad)

    def check():
        # A few output pixels of the first and the last image, from the definition, in float64.
        got = step()
        padded = torch.nn.functional.pad(wide(x[[0, -1]]), (pad, pad, pad, pad))
        where = [0, 1, got.shape[-1] // 2, got.shape[-1] - 1]
        pixels = [(i, j) for i in where for j in where]
        patches = torch.stack(
            [padded[:, :, i * stride : i * stride + kernel, j * stride : j * stride + kernel] for i, j in pixels], 1
        )
        reference = torch.einsum("npchw,fchw->nfp", patches, wide(w))
        some = torch.stack([got[[0, -1], :, i, j] for i, j in pixels], 2)
        allowed = given(torch, device, dtype, "conv")
        terms = channels * kernel * kernel
        return relative_error(torch, some, reference), rounding_tolerance(torch, dtype, terms, allowed)

    return step, check


def build_copy(torch, device, dtype, elements):
    source = values(torch, elements, device, dtype, 1.5)
    target = torch.zeros(elements, device=device, dtype=dtype)
    return lambda: target.copy_(source), lambda: (float(not torch.equal(source, target)), 0.0)


def build_triad(torch, device, dtype, elements):
    b = values(torch, elements, device, dtype, 2.0)
    c = values(torch, elements, device, dtype, 0.5)
    a = torch.zeros(elements, device=device, dtype=dtype)

    def check():
        # Product and sum are rounded once each, or together.
        return float((a - (b + 3.0 * c)).abs().max()), 8 * torch.finfo(dtype).eps

    return lambda: torch.add(b, c, alpha=3.0, out=a), check


def build_net(torch, device, make):
    """Build a net in evaluation mode under the techniques, checked once against itself in float64. ``make`` makes
    it."""
    used = techniques.chosen()
    for technique in used:
        technique.process(torch, device)

    def made():
        torch.manual_seed(SEED)
        net, x = make()
        return net.eval(), (x,)

    net, given, around = under(torch, device, used, *made())

    def step():
        with torch.inference_mode(), around():
            return net(*given)

    def check():
        reference, doubled_given = doubled(*made())
        with torch.inference_mode():
            wanted = called(reference, doubled_given)
        return relative_error(torch, step(), wanted), net_tolerance(torch, device)

    return step, check


def net_tolerance(torch, device):
    """Return the error allowed for a net in float32, by the precision that it is given on this device."""
    is_tf32 = given(torch, device, torch.float32, "conv", "matmul") == "tf32"
    return NET_TOLERANCE_TF32 if is_tf32 else NET_TOLERANCE


def resnet18(torch, device, dtype, batch, side):
    """Return a net and its input: ResNet-18 (He et al. 2015, table 1), 11.7 million parameters."""
    nn = torch.nn

    def conv(cin, cout, kernel, stride):
        return [nn.Conv2d(cin, cout, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(cout)]

    class BasicBlock(nn.Module):
        def __init__(self, cin, cout, stride):
            super().__init__()
            self.body = nn.Sequential(*conv(cin, cout, 3, stride), nn.ReLU(inplace=True), *conv(cout, cout, 3, 1))
            same = cin == cout and stride == 1
            self.skip = nn.Identity() if same else nn.Sequential(*conv(cin, cout, 1, stride))
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x):
            return self.relu(self.body(x) + self.skip(x))

    stem = [*conv(3, 64, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    stages = [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2)]
    blocks = [BasicBlock(*s) for s in [*stages, (512, 512, 1)]]
    net = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))
    return net.to(device, dtype), torch.randn(batch, 3, side, side, device=device).to(dtype)


def give_memory(torch, net, device, dtype):
    """Give the parameters of a net that was made on "meta" memory, not initialised.

    Not ``Module.to_empty``: on "meta" it imports sympy, a second of every child.
    """
    for module in net.modules():
        for name, parameter in [*module.named_parameters(recurse=False)]:
            setattr(module, name, torch.nn.Parameter(torch.empty(parameter.shape, device=device, dtype=dtype)))


def gpt2(torch, device, dtype, batch, tokens, width, layers, heads, vocabulary, positions):
    """Return a net and its input: GPT-2 small (Radford et al. 2019), 124 million parameters; a prompt, without a
    cache."""
    nn, functional = torch.nn, torch.nn.functional

    class TransformerBlock(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x):
            n, t, _ = x.shape
            q, k, v = self.qkv(self.norm1(x)).view(n, t, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
            mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.project(mixed.transpose(1, 2).reshape(n, t, width))
            return x + self.down(functional.gelu(self.up(self.norm2(x)), approximate="tanh"))

    class Gpt2(nn.Module):
        def __init__(self):
            super().__init__()
            # Not nn.Embedding: its initialisation on "meta" imports half of torch's compiler, a second of every child.
            self.token = nn.Parameter(torch.empty(vocabulary, width))
            self.position = nn.Parameter(torch.empty(positions, width))
            self.blocks = nn.Sequential(*[TransformerBlock() for _ in range(layers)])
            self.norm = nn.LayerNorm(width)

        def forward(self, ids):
            x = functional.embedding(ids, self.token) + self.position[: ids.shape[1]]
            return functional.linear(self.norm(self.blocks(x)), self.token)

    with torch.device("meta"):  # the usual initialisation draws 124 million random numbers: seconds of one core
        net = Gpt2()
    give_memory(torch, net, device, dtype)
    noise = torch.randn(2**20, device=device).to(dtype) * 0.02
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "norm" in name:
                parameter.fill_(1.0 if name.endswith("weight") else 0.0)
            else:
                for part in parameter.view(-1).split(noise.numel()):
                    part.copy_(noise[: part.numel()])
    return net, torch.randint(vocabulary, (batch, tokens), device=device)


NETS = {"resnet18": resnet18, "gpt2": gpt2}
"""Those of the reference nets that are written in plain torch: they are measured where there is no transformers."""


def builder_of(net):
    """Return the builder of a forward pass of a net in plain torch."""
    return lambda torch, device, dtype, **size: build_net(torch, device, lambda: net(torch, device, dtype, **size))


BUILDERS = {
    "matmul": build_matmul,
    "onednn": build_onednn,
    "numpy": build_numpy,
    "conv2d": build_conv2d,
    "copy": build_copy,
    "triad": build_triad,
    **{name: builder_of(net) for name, net in NETS.items()},
}
