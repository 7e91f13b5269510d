"""The program that the explain notebook looks at where none is given: a training that prepares its data by itself.

It is run by path, with torch alone. Its loop waits for data most of the time, since its Dataset works in the process
that trains (``num_workers=0``).
"""

import math
import time

import torch
from torch.utils.data import DataLoader, Dataset

SECONDS = 6.0


class Waves(Dataset):
    """Samples that are computed in Python, one number after the other."""

    def __len__(self):
        return 4096

    def __getitem__(self, index):
        return torch.tensor([math.sin(index * step / 100) for step in range(2000)]), index % 10


def train():
    net = torch.nn.Sequential(torch.nn.Linear(2000, 256), torch.nn.ReLU(), torch.nn.Linear(256, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    ends, steps = time.monotonic() + SECONDS, 0
    for samples, labels in DataLoader(Waves(), batch_size=32):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(samples), labels).backward()
        optimizer.step()
        steps += 1
        if time.monotonic() > ends:
            break
    print(f"{steps} steps of 32 samples")


if __name__ == "__main__":
    train()
