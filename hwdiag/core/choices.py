"""Names that a person chooses among: budgets, goals, workloads."""

from __future__ import annotations

from typing import Literal, get_args

EstimateType = Literal["float32", "bfloat16", "float16", "float8", "int8", "int8-weights", "int4-weights"]
"""``int8-weights`` and ``int4-weights``: weights in groups of 32 with a scale each, the arithmetic in 16 bits."""
Software = Literal["eager", "compiled", "engine", "llama.cpp"]
"""What runs a net: PyTorch operation by operation, ``torch.compile``, an inference engine (OpenVINO, TensorRT, vLLM,
oneDNN by an MLPerf submitter), or llama.cpp and what is built on it."""

Role = Literal["desktop", "headless", "shared"]

ENGINES = {"matmul-fp32": "torch.mm", "linear-onednn": "oneDNN", "matmul-numpy": "NumPy's BLAS"}
"""The same product of the same size by each library that could do it, by workload."""
NAMES = (*ENGINES, "matmul-bf16", "conv2d", "copy", "triad", "resnet18", "gpt2")

Accuracy = Literal["same", "reduced", "quantised"]
"""What a lever does to results: rounding of the same precision, lower precision (bf16, fp16, TF32), integers.
The weakest last: who takes one takes those before it too."""
ACCURACIES: tuple[Accuracy, ...] = get_args(Accuracy)

BudgetName = Literal["quick", "standard", "thorough"]
Goal = Literal["latency", "throughput"]
SHELLS = ("bash", "zsh", "tcsh")
"""Shells that a completion can be made for."""
