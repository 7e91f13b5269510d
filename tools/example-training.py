"""What the example of the monitor notebook watches: data is made, a small net is trained on it and saved."""

import os
import tempfile

import torch


def mark(text: str) -> None:
    """Say what begins, where 'hwdiag monitor' watches."""
    if pipe := os.environ.get("HWDIAG_MARKS"):
        with open(pipe, "w") as file:
            file.write(f"{text}\n")


mark("data")
data = [torch.randn(256, 3, 32, 32) for _ in range(24)]
net = torch.nn.Sequential(
    torch.nn.Conv2d(3, 64, 3), torch.nn.ReLU(), torch.nn.Conv2d(64, 64, 3), torch.nn.Flatten(), torch.nn.LazyLinear(10)
)
net(data[0][:1])  # which tells the last layer its size
optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
for threads in (1, torch.get_num_threads()):
    torch.set_num_threads(threads)
    mark(f"{threads} threads" if threads > 1 else "1 thread")
    for batch in data[:8]:
        optimizer.zero_grad()
        net(batch).square().mean().backward()
        optimizer.step()
mark("save")
with tempfile.TemporaryFile() as file:
    for _ in range(4):
        torch.save([data, net.state_dict()], file)
    os.fsync(file.fileno())
