"""What a trace says: on a recorded one of a CPU, and on events as a CUDA build writes them, with known answers.

The GPU's events are made up, in the format that libkineto writes (libkineto/src/output_json.cpp) and Chrome reads
("Trace Event Format"): names, categories and arguments are those of real traces, the times are chosen.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwdiag.core.errors import UsageError
from hwdiag.process.trace import analyse, read_trace
from hwdiag.process.trace_events import overlap, sound_events, total, union, without
from hwdiag.profile import show
from hwdiag.profile.measure import Profiled

RECORDED = Path(__file__).parent / "traces" / "two-layers-cpu.pt.trace.json.gz"
"""Three steps of SGD on a net of two layers, fed by a DataLoader, recorded by torch 2.13.0 on two CPUs."""


def x(cat: str, name: str, ts: float, dur: float, tid: int = 1, **args: Any) -> dict[str, Any]:
    where = {"pid": 0, "tid": 7} if cat in ("kernel", "gpu_memcpy", "gpu_memset") else {"pid": 100, "tid": tid}
    return {"ph": "X", "cat": cat, "name": name, "ts": ts, "dur": dur, **where, "args": args}


def cuda_trace() -> dict[str, Any]:
    """1000 µs: the GPU works for 400 of them, 350 kernels and 50 a copy alone, and is idle for 600, told below."""
    events = [
        x("Trace", "PyTorch Profiler (0)", 0, 1000),
        x("user_annotation", "enumerate(DataLoader)#_MultiProcessingDataLoaderIter.__next__", 0, 200),
        x("cpu_op", "aten::pin_memory", 50, 20, **{"External id": 1}),  # within the DataLoader: input all the same
        x("cuda_runtime", "cudaMemcpyAsync", 200, 10, correlation=1, **{"External id": 2}),
        x("gpu_memcpy", "Memcpy HtoD (Pinned -> Device)", 210, 50, device=0, stream=7, correlation=1),
        x("cuda_runtime", "cudaMalloc", 260, 100, correlation=2),
        x("cpu_op", "aten::mm", 360, 50, **{"External id": 3}),
        x("cuda_runtime", "cudaLaunchKernel", 400, 8, correlation=3, **{"External id": 3}),
        x("kernel", "ampere_sgemm_128x64_tn", 410, 300, device=0, stream=7, correlation=3, **{"External id": 3}),
        # The backward pass runs in a thread of its own, while the main thread waits outside of PyTorch.
        x("cpu_op", "autograd::engine::evaluate_function: MmBackward0", 710, 60, tid=2, **{"External id": 4}),
        x("kernel", "vectorized_elementwise_kernel", 770, 50, device=0, stream=7, correlation=9),
        x("cuda_runtime", "cudaStreamSynchronize", 820, 80, correlation=5),
        {"ph": "i", "name": "[memory]", "ts": 300, "s": "t", "pid": 100, "tid": 1,
         "args": {"Total Allocated": 5 << 20, "Bytes": 5 << 20, "Device Id": 0, "Device Type": 1}},
        {"ph": "i", "name": "[memory]", "ts": 900, "s": "t", "pid": 100, "tid": 1,
         "args": {"Total Allocated": 1 << 20, "Bytes": -(4 << 20), "Device Id": 0, "Device Type": 1}},
        {"ph": "s", "id": 3, "cat": "ac2g", "name": "ac2g", "pid": 100, "tid": 1, "ts": 400},
        {"ph": "M", "name": "process_name", "pid": 100, "args": {"name": "python"}},
    ]  # fmt: skip
    return {"schemaVersion": 1, "deviceProperties": [{"id": 0, "name": "NVIDIA A100"}], "traceEvents": events}


def test_the_gpus_idle_time_is_told_by_its_cause() -> None:
    traced = analyse(cuda_trace())
    (gpu,) = traced.gpus
    assert (gpu.index, gpu.name) == (0, "NVIDIA A100")
    assert gpu.busy == pytest.approx(0.4)
    assert gpu.copying == pytest.approx(0.05)
    assert gpu.idle == {
        "input": pytest.approx(0.200),
        "allocation": pytest.approx(0.100),
        "synchronisation": pytest.approx(0.090),  # 10 of the copy's call, 80 of waiting
        "compilation": 0,
        "launching": pytest.approx(0.110),  # 50 of aten::mm before its kernel ran, 60 of the backward pass
        "communication": 0,
        "elsewhere": pytest.approx(0.100),  # at the end, in Python
    }
    assert gpu.busy + sum(gpu.idle.values()) == pytest.approx(1)
    assert traced.bound == "CPU"


def cpu_trace(*events: dict[str, Any]) -> dict[str, Any]:
    """1000 µs."""
    return {"traceEvents": [x("Trace", "PyTorch Profiler (0)", 0, 1000), *events]}


def test_all_threads_at_work_count() -> None:
    """A server computes in threads of its own, as ComfyUI does."""
    traced = analyse(
        cpu_trace(
            x("cpu_op", "aten::mm", 0, 400, tid=2),
            x("cpu_op", "aten::mm", 400, 300, tid=3),
            x("cpu_op", "aten::add", 0, 10, tid=1),
        )
    )
    assert traced.cpu["launching"] == pytest.approx(0.7)
    assert traced.threads == {"2": pytest.approx(0.4), "3": pytest.approx(0.3), "1": pytest.approx(0.01)}


def test_collectives_are_a_cause_of_their_own_where_nothing_is_computed_meanwhile() -> None:
    traced = analyse(
        cpu_trace(
            x("cpu_op", "aten::mm", 0, 500),
            x("user_annotation", "gloo:all_reduce", 300, 500, tid=9),  # 200 of it hidden behind the product
        )
    )
    assert traced.cpu["launching"] == pytest.approx(0.5)
    assert traced.cpu["communication"] == pytest.approx(0.3)
    assert traced.cpu["elsewhere"] == pytest.approx(0.2)


def test_compiling_is_a_cause_of_its_own_with_the_operations_that_it_traces() -> None:
    steps = (x("cpu_op", "compile_file (dynamo_timed)", 0, 600), x("cpu_op", "aten::mm", 100, 100))
    traced = analyse(cpu_trace(*steps, x("cpu_op", "aten::mm", 700, 100)))
    assert traced.cpu["compilation"] == pytest.approx(0.6)
    assert traced.cpu["launching"] == pytest.approx(0.1)


def test_what_was_before_the_loop_does_not_count_where_anything_came_after() -> None:
    events = cpu_trace(x("cpu_op", "aten::fill_", 0, 300), x("cpu_op", "aten::mm", 400, 500))
    assert {o.name for o in analyse(events, from_first=True, after_s=0.2 + 350e-6).operations} == {"aten::mm"}
    assert len(analyse(events, from_first=True, after_s=5.0).operations) == 2


def test_what_was_before_the_first_operation_does_not_count() -> None:
    traced = analyse(cpu_trace(x("cpu_op", "aten::mm", 800, 100)), from_first=True)
    assert traced.seconds == pytest.approx(200e-6)
    assert traced.cpu["launching"] == pytest.approx(0.5)


def test_the_rate_of_a_product_and_of_a_convolution() -> None:
    product = {"Input Dims": [[96, 512], [512, 1024]], "Input type": ["c10::BFloat16", "c10::BFloat16"]}
    conv = {
        "Input Dims": [[1, 24, 48, 48], [24, 24, 3, 3], [24], [], [], [], [], [], []],
        "Input type": ["float", "float", "float", *["ScalarList"] * 6],
        "Concrete Inputs": ["", "", "", "[1, 1]", "[1, 1]", "[1, 1]", "False", "[0, 0]", "1"],
    }
    events = [x("cpu_op", "aten::mm", 0, 100, **product), x("cpu_op", "aten::convolution", 100, 300, **conv)]
    (slow, fast) = analyse(cpu_trace(*events)).heavy
    assert (slow.name, slow.flop) == ("aten::convolution", 2 * 48 * 48 * 24 * 24 * 9)
    assert (fast.flop, fast.types) == (2 * 96 * 512 * 1024, ("c10::BFloat16", "c10::BFloat16"))
    assert fast.rate == pytest.approx(2 * 96 * 512 * 1024 / 100e-6)


def test_a_busy_gpu_is_what_bounds_it() -> None:
    trace = cuda_trace()
    trace["traceEvents"].append(x("kernel", "nccl", 0, 900, device=0, stream=20, correlation=99))
    traced = analyse(trace)
    assert traced.gpus[0].busy == pytest.approx(0.9)
    assert traced.bound == "GPU"
    assert "GPU-bound: GPU 0 had work for 90 % of the time" in show.verdict(profiled(trace))


def test_kernels_count_for_the_operation_that_launched_them() -> None:
    found = {o.name: o for o in analyse(cuda_trace()).operations}
    assert found["aten::mm"].gpu_s == pytest.approx(300e-6)
    assert found["aten::mm"].cpu_s == pytest.approx(50e-6)
    assert found["vectorized_elementwise_kernel"].gpu_s == pytest.approx(50e-6), "launched by nobody that was recorded"
    trace = cuda_trace()
    for event in trace["traceEvents"]:
        if event.get("cat") == "kernel":
            event["args"].pop("External id", None)
    assert {o.name: o.gpu_s for o in analyse(trace).operations}["aten::mm"] == pytest.approx(300e-6)


def test_two_gpus_are_told_apart_and_memory_too() -> None:
    trace = cuda_trace()
    trace["traceEvents"].append(x("kernel", "other", 0, 1000, device=1, stream=7, correlation=50))
    traced = analyse(trace)
    assert [(g.index, g.name, round(g.busy, 3)) for g in traced.gpus] == [(0, "NVIDIA A100", 0.4), (1, "", 1.0)]
    (line,) = traced.memory
    assert (line.device, line.peak_bytes, line.seconds) == ("GPU 0", 5 << 20, (0.0003, 0.0009))


def profiled(trace: dict[str, Any]) -> Profiled:
    return Profiled(started_at="", command=("python", "x.py"), outcome="", status=0, trace="t", traced=analyse(trace))


def test_what_is_shown_has_the_shares() -> None:
    done = profiled(cuda_trace())
    assert show.verdict(done) == (
        "CPU-bound: GPU 0 had work for 40 % of the time (idle: 20 % waiting for the DataLoader, 11 % PyTorch's own "
        "work on the CPU: operations and launches, 10 % getting memory from the driver, 10 % outside of "
        "PyTorch: Python and all else and 9 % copying to or from the CPU, or waiting for that)."
    )
    assert "idle: waiting for the DataLoader" in show.idle(analyse(cuda_trace())).to_text()
    figure = show.memory_figure(analyse(cuda_trace()))
    assert figure is not None
    assert "5 MiB" in figure.svg


# Recorded here


def test_a_recorded_trace_of_a_cpu() -> None:
    trace = json.loads(gzip.decompress(RECORDED.read_bytes()))
    traced = analyse(trace)
    assert traced.gpus == ()
    assert traced.bound == "CPU"
    assert sum(traced.cpu.values()) == pytest.approx(1)
    assert traced.cpu["input"] > 0
    assert traced.cpu["launching"] > traced.cpu["input"]
    calls = {o.name: o.calls for o in traced.operations}
    assert calls["aten::addmm"] == 6  # two layers, three steps
    assert calls["aten::mm"] == 9  # two for the second layer's backward pass, one for the first's
    own = sum(o.cpu_s for o in traced.operations)
    assert 0 < own <= traced.seconds
    (line,) = traced.memory
    assert line.device == "CPU"
    assert line.peak_bytes > 16 * 64 * 4
    words = show.verdict(profiled(trace))
    assert words.startswith("CPU-bound: no GPU took part.")


def test_the_committed_trace_names_no_place() -> None:
    assert b"/" not in gzip.decompress(RECORDED.read_bytes())


# Damaged


def test_a_trace_that_was_cut_off_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps(cuda_trace())[:-40])
    with pytest.raises(UsageError, match="no whole trace"):
        read_trace(path)
    with pytest.raises(UsageError, match="no trace at"):
        read_trace(tmp_path / "none")
    path.write_text("[1]")
    with pytest.raises(UsageError, match="no trace of torch"):
        read_trace(path)


@pytest.mark.parametrize("events", [[], [{}], [1, None], [{"ph": "X", "name": "x"}], [x("python_function", "f", 0, 1)]])
def test_a_trace_without_pytorch_is_one_line(events: list[Any]) -> None:
    with pytest.raises(UsageError, match="no operation of PyTorch"):
        analyse({"traceEvents": sound_events(events)})


# Stretches of time

spans = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda p: (min(p), max(p))), max_size=12)


def moments(found: list[tuple[float, float]]) -> set[int]:
    return {m for begin, end in found for m in range(int(begin), int(end))}


@given(spans, spans)
def test_stretches_are_sets_of_moments(a: list[tuple[float, float]], b: list[tuple[float, float]]) -> None:
    one, two = union(a), union(b)
    assert moments(one) == moments(a)
    assert total(one) == len(moments(a))
    assert moments(overlap(one, two)) == moments(a) & moments(b)
    both = overlap(one, two)
    assert moments(without(one, both)) == moments(a) - moments(b)
    assert total(without(one, both)) == len(moments(a) - moments(b))


OWN_SUMS = """
import json, sys, torch
from torch import nn
net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 30 * 30, 64))
optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
x = torch.randn(16, 3, 32, 32)
def step():
    optimizer.zero_grad()
    net(x).square().mean().backward()
    optimizer.step()
step()
with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as p:
    for _ in range(40):
        step()
p.export_chrome_trace(sys.argv[1])
print(json.dumps({e.key: e.self_cpu_time_total / 1e6 for e in p.key_averages() if not e.is_user_annotation}))
"""


def test_shares_of_operations_are_the_profilers_own_sums(tmp_path: Path) -> None:
    """Within 5 points each, of all operations' time."""
    pytest.importorskip("torch")
    path = tmp_path / "trace.json"
    done = subprocess.run([sys.executable, "-c", OWN_SUMS, str(path)], capture_output=True, text=True, timeout=120)
    sums = json.loads(done.stdout)
    whole = sum(sums.values())
    found = {o.name: o.cpu_s for o in analyse(read_trace(path)).operations}
    assert sum(found.values()) > 0.8 * whole
    assert {name for name, took in sums.items() if took > 0.05 * whole} <= found.keys()
    assert {name: took / whole for name, took in found.items()} == pytest.approx(
        {name: sums.get(name, 0.0) / whole for name in found}, abs=0.05
    )
