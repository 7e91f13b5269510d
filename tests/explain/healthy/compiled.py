"""Compiles a small net and runs it."""

import torch
from torch import nn

torch.manual_seed(0)
net = torch.compile(nn.Sequential(nn.Linear(256, 512), nn.GELU(), nn.Linear(512, 256)).eval())
x = torch.randn(64, 256)
with torch.inference_mode():
    for _ in range(600):
        y = net(x)
print(y.shape)
