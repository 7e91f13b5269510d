"""Every timed path of the agent on simulated GPUs: what it says beside the model's truth, and what it leaves behind."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.simulation.device.profiles import PROFILES

pytest.importorskip("torch.utils.backend_registration", reason="no torch with a Python-only backend")

ROOT = Path(__file__).parents[2]
SLOWED = 1000.0
WITHIN = 0.01
"""Of the model's truth."""
OF_TESTS = {"launch_s": 4e-5, "shortest_s": 2e-5, "boost_s": 1e9}
"""Fewer operations fill a sample; and the clock stays where it is."""
CARD = replace(PROFILES["rtx3060"].slowed(SLOWED), **OF_TESTS)
GPT = {"batch": 1, "tokens": 16, "width": 32, "layers": 1, "heads": 4, "vocabulary": 50, "positions": 16}
CONV = {"batch": 2, "channels": 3, "side": 32, "filters": 8, "kernel": 7, "stride": 2}
N = 256
PRODUCT_FLOPS, BYTES = 2.0 * N**3, 4 * N * N
ELEMENTS = 40_000


def workload(kind: str, size: dict[str, int], dtype: str = "float32", what: str | None = None, **more: Any) -> Any:
    return {"name": kind, "kind": kind, "dtype": dtype, "size": size, "what": what, **more}


def asked(cases: list[dict[str, Any]], **install: Any) -> list[dict[str, Any]]:
    """Return what a child with such devices says of the cases."""
    task = {"install": {"slowed": SLOWED, **install}, "cases": cases}
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation.device.inside"], input=json.dumps(task), text=True, cwd=ROOT,
        capture_output=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def product(kind: str) -> float:
    """Return the seconds of the product in a precision: of its operations, or of its bytes where those take longer."""
    width = {"fp64": 8, "bf16": 2, "int8": 1}.get(kind, 4)
    moved = N * N * (2 * width + (4 if kind == "int8" else width))
    return max(PRODUCT_FLOPS / CARD.flops[kind], moved / CARD.bandwidth)


def transfer(rate: float) -> float:
    return CARD.copy_s + BYTES / rate


# name: what is measured, the seconds of the device for one iteration, and the seconds that the host waits in each.
CASES: dict[str, tuple[dict[str, Any], float | None, float]] = {
    "product": (workload("matmul", {"n": N}), product("fp32"), 0),
    "small product": (workload("matmul", {"n": 8}), CARD.shortest_s, 0),
    "copy": (workload("copy", {"elements": ELEMENTS}, "float64"), 16 * ELEMENTS / CARD.bandwidth, 0),
    "triad": (workload("triad", {"elements": ELEMENTS}, "float64"), 24 * ELEMENTS / CARD.bandwidth, 0),
    "scaling": (workload("elementwise", {"elements": ELEMENTS}), 8 * ELEMENTS / CARD.bandwidth, 0),
    "sum": (workload("reduction", {"elements": ELEMENTS}), (4 * ELEMENTS + 4) / CARD.bandwidth, 0),
    "launches": (workload("dispatch", {}, what="in a row"), CARD.shortest_s, 0),
    "launch waited for": (workload("dispatch", {}, what="waited"), CARD.shortest_s, CARD.synchronise_s),
    **{
        f"product in {kind}": (workload("precision", {"n": N}, dtype, kind), product(kind), 0)
        for kind, dtype in (("fp32", "float32"), ("tf32", "float32"), ("bf16", "bfloat16"), ("int8", "int8"))
    },
    "pinned to": (workload("transfer", {"elements": N * N}, what="to pinned"), transfer(CARD.pinned), 0),
    "pinned from": (workload("transfer", {"elements": N * N}, what="from pinned"), transfer(CARD.pinned), 0),
    "pageable to": (workload("transfer", {"elements": N * N}, what="to pageable"), transfer(CARD.pageable), 1),
    "pageable from": (workload("transfer", {"elements": N * N}, what="from pageable"), transfer(CARD.pageable), 1),
    "convolution": (workload("conv2d", CONV), None, 0),
    "exact convolution": (workload("conv2d", CONV, what="exact"), None, 0),
    "attention": (workload("attention", {"batch": 1, "heads": 2, "tokens": 32, "width": 16}), None, 0),
    "net": (workload("gpt2", GPT), None, 0),
    "inference": (workload("inference", GPT, what="gpt2"), None, 0),
    "training": (workload("training", GPT, what="gpt2"), None, 0),
    "image": (workload("inference", {"batch": 1, "side": 32}, what="resnet18"), None, 0),
}
TECHNIQUES = ("bf16", "fp16", "autocast-bf16", "tf32", "graphs", "exact-convolutions", "math-attention", "autograd")
FED = (1e-4, 0.5)
"""Seconds of an item: the device is slower than the data, or the data than the device."""
WITHOUT_FP64 = ("product", "convolution", "sum", "attention", "net", "training", "triad")
OWN_FILE = """
import torch

def build():
    a = torch.randn(256, 256, device="{device}")
    return lambda: torch.mm(a, a)
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the agent said of each case, on device 0, and of some on device 1."""
    folder = tmp_path_factory.mktemp("own")
    cases = {name: {"workload": w} for name, (w, _, _) in CASES.items()}
    for used in TECHNIQUES:
        accuracy = "same" if used in ("graphs", "autograd", "math-attention", "exact-convolutions") else "reduced"
        cases[used] = {"workload": workload("inference", GPT, what="gpt2"), "used": [used], "accuracy": accuracy}
    for name in ("product", "copy", "pinned to", "training"):
        cases[f"{name} on the second"] = {**cases[name], "device": "sim:1"}
    cases["graphs on the second"] = {**cases["graphs"], "device": "sim:1"}
    for name in WITHOUT_FP64:
        cases[f"{name} without fp64"] = {**cases[name], "device": "sim:2"}
    for index in (0, 1):
        path = folder / f"own{index}.py"
        path.write_text(OWN_FILE.format(device=f"sim:{index}"))
        cases[f"own file {index}"] = {"workload": workload("file", {}, path=str(path)), "device": "cpu", "on": index}
    cases |= {f"fed every {takes} s": {"fed": takes} for takes in FED}
    found = asked([*cases.values()], count=3, changed=OF_TESTS, without_fp64=[2])
    return dict(zip(cases, found, strict=True))


def wall_s(found: dict[str, Any], device_s: float, waited_s: float) -> float:
    """Return what a wall clock must say of one iteration: the host's time or the device's, whichever is longer, and
    what starting the first and waiting for the last costs."""
    host_s = found["truth"]["host"]
    if waited_s:
        return host_s
    once = CARD.synchronise_s + min(host_s, CARD.launch_s)
    return max(host_s, device_s) + once / found["loops"]


@pytest.mark.parametrize("name", CASES)
def test_a_figure_is_within_a_hundredth_of_the_truth(name: str, told: dict[str, dict[str, Any]]) -> None:
    found, (_, device_s, waited_s) = told[name], CASES[name]
    assert "failed" not in found, found["failed"]
    truth = found["truth"]["device"]
    assert device_s is None or truth == pytest.approx(device_s, rel=1e-3)
    assert found["seconds"] == pytest.approx(wall_s(found, truth, waited_s), rel=WITHIN)
    assert found["max_error"] <= found["tolerance"]
    if waited_s:
        assert found["warm_s"] is None, "no queue can be held for what waits by itself"
    else:
        assert sorted(found["warm_s"])[2] == pytest.approx(truth, rel=WITHIN)


@pytest.mark.parametrize("name", TECHNIQUES)
def test_a_technique_is_within_a_hundredth_of_the_truth(name: str, told: dict[str, dict[str, Any]]) -> None:
    found = told[name]
    assert "failed" not in found, found["failed"]
    assert found["seconds"] == pytest.approx(wall_s(found, found["truth"]["device"], 0), rel=WITHIN)
    assert found["max_error"] <= found["tolerance"]


@pytest.mark.parametrize("takes", FED)
def test_a_training_that_is_fed_is_within_a_hundredth_of_the_truth(takes: float, told: dict[str, Any]) -> None:
    found = told[f"fed every {takes} s"]
    wait_s, host_s = 2 * takes, found["launches"] * CARD.launch_s
    assert found["wait_s"] == pytest.approx(wait_s, rel=WITHIN)
    assert found["step_s"] == pytest.approx(max(found["device"], wait_s + host_s), rel=WITHIN)
    assert (found["device"] < wait_s + host_s) == (takes == FED[1])


@pytest.mark.parametrize("name", [*CASES, *TECHNIQUES])
def test_nothing_is_left_changed_or_at_work(name: str, told: dict[str, dict[str, Any]]) -> None:
    assert "failed" not in told[name], told[name]["failed"]
    assert told[name]["changed"] == {}
    assert told[name]["left"] <= 0


@pytest.mark.parametrize("name", ["product", "copy", "pinned to", "training", "graphs"])
def test_the_second_device_works_as_the_first(name: str, told: dict[str, dict[str, Any]]) -> None:
    first, second = told[name], told[f"{name} on the second"]
    assert "failed" not in second, second["failed"]
    assert (first["device"], second["device"]) == (0, 1)
    assert second["seconds"] == pytest.approx(first["seconds"], rel=WITHIN)
    assert second["peak"] == pytest.approx(first["peak"], abs=4 << 20)


@pytest.mark.parametrize("name", WITHOUT_FP64)
def test_a_device_without_fp64_is_checked_on_the_cpu(name: str, told: dict[str, dict[str, Any]]) -> None:
    """As many of Intel's: its result in float32 is compared with one of the CPU in float64."""
    found = told[f"{name} without fp64"]
    if name == "triad":
        assert "fp64 is not supported" in found["failed"]
    else:
        assert "failed" not in found, found["failed"]
        assert found["max_error"] <= found["tolerance"]


@pytest.mark.long
@pytest.mark.parametrize("name", PROFILES)
def test_every_card(name: str) -> None:
    """GB10 with one memory, P100 without TF32, a slice of an A100, H200."""
    card = replace(PROFILES[name].slowed(SLOWED), **OF_TESTS)
    todo = {"copy": 16 * ELEMENTS / card.bandwidth, "triad": 24 * ELEMENTS / card.bandwidth,
            "pinned to": card.copy_s + BYTES / card.pinned, "convolution": None, "product in bf16": None}  # fmt: skip
    cases = [{"workload": CASES[case][0]} for case in todo]
    found = asked(cases, profile=name, changed=OF_TESTS)
    for (case, device_s), said in zip(todo.items(), found, strict=True):
        assert "failed" not in said, (case, said["failed"])
        truth = said["truth"]["device"]
        assert device_s is None or truth == pytest.approx(device_s, rel=1e-3), case
        assert said["seconds"] == pytest.approx(wall_s(said, truth, 0), rel=WITHIN), case
        assert said["max_error"] <= said["tolerance"], case


@pytest.mark.parametrize("index", [0, 1])
def test_a_file_of_ones_own_is_waited_for(index: int, told: dict[str, dict[str, Any]]) -> None:
    """Also one that uses another device than the current one."""
    found = told[f"own file {index}"]
    assert "failed" not in found, found["failed"]
    assert found["truth"]["device"] == pytest.approx(product("fp32"), rel=1e-3)
    assert found["seconds"] == pytest.approx(wall_s(found, product("fp32"), 0), rel=WITHIN)
    assert found["left"] <= 0
