"""Trains from a DataLoader with two workers."""

import argparse

import torch
from torch.utils.data import DataLoader, Dataset

p = argparse.ArgumentParser()
p.add_argument("--worker-grows", type=int, default=0, help="MiB that a worker takes")
a = p.parse_args()


class Pictures(Dataset):
    kept: list = []

    def __len__(self):
        return 400

    def __getitem__(self, i):
        if a.worker_grows:
            self.kept.append(torch.ones(a.worker_grows << 13))  # 1/32 of it
        return torch.zeros(3, 160, 160)


if __name__ == "__main__":
    net = torch.nn.Conv2d(3, 4, 3, stride=8)
    for batch in DataLoader(Pictures(), batch_size=16, num_workers=2):
        net(batch).sum().backward()
