"""Nets of a person's own, as hwdiag's counting meets them."""

import torch
from torch import nn


def linear():
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 8)), (torch.zeros(4, 64),)


def shared():
    net = nn.Sequential(nn.Linear(64, 64, bias=False), nn.Linear(64, 64, bias=False))
    net[1].weight = net[0].weight
    return net, (torch.zeros(1, 64),)


class Asks(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 8)

    def forward(self, x):
        x = self.layer(x)
        return self.layer(x) if x.sum() > 0 else x


def data_dependent():
    return Asks(), (torch.zeros(1, 8),)


class Chooses(nn.Module):
    def forward(self, x):
        return x[x > 0] * 2


def data_dependent_shape():
    return Chooses(), (torch.zeros(8),)


library = torch.library.Library("hwdiag_tests", "DEF")
library.define("secret(Tensor x) -> Tensor")
library.impl("secret", lambda x: x * 2, "CPU")
library.define("known(Tensor x) -> Tensor")
library.impl("known", lambda x: x * 2, "CPU")
library.impl("known", torch.empty_like, "Meta")


class Custom(nn.Module):
    def __init__(self, name):
        super().__init__()
        self.layer = nn.Linear(8, 8)
        self.name = name

    def forward(self, x):
        return getattr(torch.ops.hwdiag_tests, self.name)(self.layer(x))


def custom_without_shape():
    return Custom("secret"), (torch.zeros(64, 8),)


def custom_with_shape():
    return Custom("known"), (torch.zeros(64, 8),)


def encoder():
    """A layer that PyTorch runs as one operator where it may."""
    return nn.TransformerEncoderLayer(64, 4, 128, batch_first=True), (torch.zeros(2, 16, 64),)


class Last(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(32, 48, batch_first=True)

    def forward(self, x):
        return self.lstm(x)[0]


def lstm():
    return Last(), (torch.zeros(2, 10, 32),)


class Attention(nn.Module):
    def forward(self, q):
        return nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True)


def attention():
    return Attention(), (torch.zeros(1, 8, 128, 64),)


class Elementwise(nn.Module):
    """One of each operation that a calibration times."""

    def __init__(self, pixels, width):
        super().__init__()
        self.batch, self.layer = nn.BatchNorm2d(pixels), nn.LayerNorm(width)

    def forward(self, x, image):
        f = nn.functional
        rows = [x + x, x * 0.5, f.relu(x), f.gelu(x), torch.tanh(x), f.silu(x), torch.exp(x), x.pow(3.0)]
        rows += [torch.softmax(x, -1), self.layer(x), x.mean(-1), x.clone(), x.t().contiguous(), torch.cat([x, x[:1]])]
        rows += [torch.zeros(x.shape), x.to(torch.bfloat16), f.relu_(x)]
        pictures = [self.batch(image), f.max_pool2d(image, 3, 2, 1), f.avg_pool2d(image, 2)]
        return rows, pictures


def elementwise():
    return Elementwise(32, 512), (torch.zeros(128, 512), torch.zeros(1, 32, 28, 28))


def inference():
    class Inside(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8))

        def forward(self, x):
            with torch.inference_mode():
                return self.body(x)

    return Inside(), (torch.zeros(1, 3, 16, 16),)


def nothing():
    return None


def raises():
    raise RuntimeError("no\nluck")


class Flexible(nn.Module):
    def forward(self, q):
        from torch.nn.attention.flex_attention import flex_attention

        return flex_attention(q, q, q)


def flexible():
    return Flexible(), (torch.zeros(1, 2, 128, 16),)


def quantised():
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 8))
    with torch.device("cpu"):  # it quantises real weights, which a count does not have
        return torch.ao.quantization.quantize_dynamic(net, {nn.Linear}, dtype=torch.qint8), (torch.zeros(4, 64),)


def scripted():
    return torch.jit.script(nn.Sequential(nn.Linear(8, 8))), (torch.zeros(4, 8),)


class Sparse(nn.Module):
    def forward(self, x):
        return torch.sparse.mm(x.to_sparse(), x)


def sparse():
    return Sparse(), (torch.zeros(8, 8),)


class Scan(nn.Module):
    """A state-space recurrence, step by step."""

    def __init__(self, steps, width):
        super().__init__()
        self.decay = nn.Parameter(torch.zeros(width))
        self.steps = steps

    def forward(self, x):
        state, out = torch.zeros_like(x[:, 0]), []
        for t in range(self.steps):
            state = state * self.decay + x[:, t]
            out.append(torch.tanh(state))
        return torch.stack(out, 1)


def scan():
    return Scan(1000, 256), (torch.zeros(1, 1000, 256),)


class Signals(nn.Module):
    """What is seldom in nets of language: a spectrum, a warped image, distances, bags of rows, a recurrence."""

    def __init__(self):
        super().__init__()
        self.bags, self.gru = nn.EmbeddingBag(1000, 32), nn.GRU(32, 48, batch_first=True)

    def forward(self, image, grid, points, rows):
        f = nn.functional
        spectrum = torch.fft.irfft2(torch.fft.rfft2(image))
        warped = f.grid_sample(image, grid, align_corners=False)
        near = torch.cdist(points, points)
        return spectrum, warped, near, self.bags(rows), self.gru(points)[0]


def signals():
    return Signals(), (
        torch.zeros(2, 3, 32, 32),
        torch.zeros(2, 16, 16, 2),
        torch.zeros(2, 40, 32),
        torch.zeros(2, 5, dtype=torch.long),
    )


def texts(batch=2, tokens=16):
    """Takes the sizes itself."""
    return nn.Sequential(nn.Embedding(100, 32), nn.Linear(32, 32)), (torch.zeros(batch, tokens, dtype=torch.long),)


def plain_texts():
    """Brings eight texts of sixteen tokens."""
    return nn.Sequential(nn.Embedding(100, 32), nn.Linear(32, 32)), (torch.zeros(8, 16, dtype=torch.long),)


def no_common_batch():
    class Two(nn.Module):
        def forward(self, a, b):
            return a @ b

    return Two(), (torch.zeros(4, 8), torch.zeros(8, 3))


def small_llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=128,
        vocab_size=100,
    )  # fmt: skip
    return LlamaForCausalLM(config), {"input_ids": torch.zeros(3, 32, dtype=torch.long)}
