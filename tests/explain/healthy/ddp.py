"""Trains with two ranks; started by torchrun."""

import torch
import torch.distributed as dist
from torch import nn

dist.init_process_group("gloo")
torch.manual_seed(dist.get_rank())
net = nn.parallel.DistributedDataParallel(nn.Sequential(nn.Linear(256, 512), nn.GELU(), nn.Linear(512, 10)))
best = torch.optim.SGD(net.parameters(), lr=0.01)
for _ in range(120):
    best.zero_grad()
    loss = nn.functional.cross_entropy(net(torch.randn(64, 256)), torch.randint(0, 10, (64,)))
    loss.backward()
    best.step()
print(f"rank {dist.get_rank()}: {loss.item():.3f}")
dist.destroy_process_group()
