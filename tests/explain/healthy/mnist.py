"""Trains a small convolutional net on pictures of 28 by 28, as the first example of everybody does."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
pictures, labels = torch.rand(2048, 1, 28, 28), torch.randint(0, 10, (2048,))
net = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 13 * 13, 10))
best = torch.optim.Adam(net.parameters(), lr=1e-3)
for epoch in range(2):
    total = 0.0
    for x, y in DataLoader(TensorDataset(pictures, labels), batch_size=64, shuffle=True):
        best.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        best.step()
        total += loss.item()
    print(f"epoch {epoch}: {total / 32:.3f}")
