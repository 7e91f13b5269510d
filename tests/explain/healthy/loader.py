"""Trains from a DataLoader of four workers."""

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Pictures(Dataset):
    def __len__(self):
        return 600

    def __getitem__(self, i):
        return torch.rand(3, 32, 32), i % 10


if __name__ == "__main__":
    net = nn.Sequential(
        nn.Conv2d(3, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)
    )
    best = torch.optim.SGD(net.parameters(), lr=0.01)
    for _ in range(2):
        for x, y in DataLoader(Pictures(), batch_size=32, num_workers=4):
            best.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            best.step()
