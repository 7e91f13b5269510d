"""A GPU that is slow at a normal clock is found by the rate that it reaches."""

from __future__ import annotations

import pytest

from hwdiag.core.finding import Check, Finding
from hwdiag.devices.achieved import achieved, part_of_gpu
from hwdiag.devices.model import Device, Study
from hwdiag.experiment.ceilings import Ceiling
from hwdiag.experiment.lever import DEFAULT


def study(title: str, tflops: float | None, dtype: str = "bfloat16") -> Study:
    """A study with one GPU whose best product has this rate."""
    ceilings = () if tflops is None else (
        Ceiling(device="cuda:0", kind="compute", dtype=dtype, value=tflops * 1e12, workload="matmul", measurement="m1"),
        Ceiling(device="cuda:0", kind="memory", dtype="float64", value=1e12, workload="copy", measurement="m2"),
    )  # fmt: skip
    devices = (Device(name="cpu", title="a CPU"), Device(name="cuda:0", title=title))
    return Study(
        started_at="2026-12-01T10:00:00Z", cpu="a CPU", software="2.9.0", budget="quick", seed=1, min_effect=0.03,
        devices=devices, plans=(DEFAULT,), ceilings=ceilings,
    )  # fmt: skip


def test_a_gb10_in_its_hidden_slow_state() -> None:
    """Its peak is 124 TFLOP/s in bf16; in that state it has a quarter or less, at 2400 MHz."""
    (found,) = achieved(study("NVIDIA GB10", 22))
    assert isinstance(found, Finding)
    assert (found.severity, found.evidence) == ("problem", ("m1",))
    assert "cuda:0 (NVIDIA GB10) reaches 18% of its peak at best" in found.title
    assert "unplug it for a minute" in found.detail


@pytest.mark.parametrize(
    ("title", "tflops", "dtype"), [("NVIDIA GB10", 98, "bfloat16"), ("NVIDIA GeForce RTX 3060", 10.4, "float32")]
)
def test_a_gpu_near_its_peak_is_fine(title: str, tflops: float, dtype: str) -> None:
    (found,) = achieved(study(title, tflops, dtype))
    assert isinstance(found, Check)
    assert found.state == "fine"


def test_another_gpu_has_another_remedy() -> None:
    (found,) = achieved(study("NVIDIA H100 80GB HBM3", 90))
    assert isinstance(found, Finding)
    assert "nvidia-smi" in found.detail


@pytest.mark.parametrize(
    ("title", "tflops", "why"), [("NVIDIA GB10", None, "no product"), ("NVIDIA GB99", 5, "no such GPU")]
)
def test_what_cannot_be_compared_says_so(title: str, tflops: float | None, why: str) -> None:
    (found,) = achieved(study(title, tflops))
    assert isinstance(found, Check)
    assert (found.state, why in found.detail) == ("unchecked", True)


@pytest.mark.parametrize(
    ("title", "part"),
    [
        ("NVIDIA A100-SXM4-40GB", "A100"), ("NVIDIA H100 80GB HBM3", "H100"), ("NVIDIA GeForce RTX 3060", "3060"),
        ("NVIDIA GeForce RTX 4070 Ti", "4070 Ti"), ("NVIDIA GeForce RTX 4070", "4070"), ("Tesla T4", "T4"),
        ("NVIDIA RTX 6000 Ada Generation", "6000 Ada"), ("NVIDIA GeForce RTX 3060 Laptop GPU", None),
        ("NVIDIA A100-SXM4-40GB MIG 1g.5gb", None),
    ],
)  # fmt: skip
def test_the_catalogues_gpu_of_a_name(title: str, part: str | None) -> None:
    found = part_of_gpu(Device(name="cuda:0", title=title))
    assert (found is None) == (part is None)
    if found is not None and part is not None:
        assert part in found.name
        assert ("Ti" in found.name) == ("Ti" in title)
