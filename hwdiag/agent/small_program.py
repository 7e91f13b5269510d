"""The program that a diagnosis looks at where the person's own is not known: it computes with torch for some seconds.

It is run by path, with torch alone, and does nothing but products and additions of the usual size.
"""

import time

import torch

SECONDS = 3.0


def compute():
    net = torch.nn.Sequential(torch.nn.Linear(1024, 1024), torch.nn.ReLU(), torch.nn.Linear(1024, 1024))
    x, ends, steps = torch.randn(64, 1024), time.monotonic() + SECONDS, 0
    with torch.no_grad():
        while time.monotonic() < ends:
            x = net(x)
            steps += 1
    print(f"{steps} steps")


if __name__ == "__main__":
    compute()
