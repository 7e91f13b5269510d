"""Trains with two ranks over gloo, of which the second one is slow; started by torchrun."""

import time

import torch
import torch.distributed as dist
from torch import nn

torch.set_num_threads(1)
dist.init_process_group("gloo")
net = nn.parallel.DistributedDataParallel(nn.Linear(512, 512))
best = torch.optim.SGD(net.parameters(), lr=0.01)
for _ in range(50):
    best.zero_grad()
    loss = net(torch.randn(8, 512)).square().mean()
    time.sleep(0.1 * dist.get_rank())
    loss.backward()
    best.step()
dist.destroy_process_group()
