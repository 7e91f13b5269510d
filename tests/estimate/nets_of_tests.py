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
