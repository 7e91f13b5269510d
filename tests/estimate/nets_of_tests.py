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
