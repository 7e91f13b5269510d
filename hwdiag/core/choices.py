"""What a person chooses among, by name: budgets, goals, workloads."""

from __future__ import annotations

from typing import Literal

DType = Literal["float32", "bfloat16", "int8"]

Role = Literal["desktop", "headless", "shared"]

ENGINES = {"matmul-fp32": "torch.mm", "linear-onednn": "oneDNN", "matmul-numpy": "NumPy's BLAS"}
"""The same product of the same size by each library that could do it, by workload."""
NAMES = (*ENGINES, "matmul-bf16", "conv2d", "copy", "triad", "resnet18", "gpt2")

BudgetName = Literal["quick", "standard", "thorough"]
Goal = Literal["latency", "throughput"]
