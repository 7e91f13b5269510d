"""The check on this host: made in pieces, each net in its own time, on machines with a matrix unit and large caches."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from hwdiag.estimate import check as checking
from hwdiag.estimate.calibrate import LARGEST, Timed, grid, largest_operation
from hwdiag.estimate.check import NETS, OUTSIDE, check, kept_measurements, read_measurements, time_nets
from hwdiag.estimate.steps import chosen_for_check, load
from hwdiag.experiment.net_count import Count, NetSpec
from hwdiag.process.model import Disturbance, Outcome
from hwdiag.process.net_child import AgentReport, ask_each
from tests.conftest import make_host


def test_a_matrix_unit_is_timed_as_another_machine() -> None:
    amx, plain = ("avx512f", "amx_bf16"), ("avx512f",)
    assert largest_operation(amx, "bfloat16", 1) == 16 * largest_operation(amx, "float32", 1)
    assert largest_operation(plain, "bfloat16", 2) == LARGEST
    assert largest_operation(plain, "float32", 64) == 16 * LARGEST
    assert len(list(grid("bfloat16", 1, 16 * LARGEST))) > len(list(grid("bfloat16", 1)))


@pytest.mark.parametrize("llc", [32 << 20, 480 << 20, 1152 << 20])
def test_reading_again_reaches_beyond_any_cache(llc: int) -> None:
    sizes = [p["dims"][0] for p in grid("float32", llc) if p["kind"] == "reread"]
    assert max(sizes) >= 2 * llc
    assert min(sizes) <= llc / 8
    assert sizes == sorted(sizes)


def test_the_nets_outside_the_list_are_eight_others() -> None:
    assert len(OUTSIDE) == 8
    assert not {net for net, _ in OUTSIDE} & {net for net, _ in NETS}


def fake_count(spec: NetSpec) -> Count:
    gemm = {
        "kind": "gemm", "name": "mm", "dtype": spec.dtype, "dims": (1, 64, 256, 256), "flops": 2.0 * 64 * 256 * 256,
        "weight_bytes": 4.0 * 256 * 256, "read_bytes": 4.0 * 64 * 256, "written_bytes": 4.0 * 64 * 256, "times": 8,
    }  # fmt: skip
    size = 4.0 * 256 * 256 * 8
    return Count.model_validate(
        {"spec": spec, "parameters": 1, "weights_bytes": size, "touched_bytes": size, "operations": [gemm]}
    )


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """A host on which everything takes a millisecond; gathers the settings that were measured."""
    seen: list[tuple[str, int]] = []

    def grid_times(_: str, dtype: str, threads: int, **given: Any) -> Timed:
        seen.append((dtype, threads))
        given["between"]()
        return Timed(tuple(1e-3 for _ in grid(dtype, given["llc_bytes"], given["largest"])), "")

    def nets(_: str, __: str, ___: int, nets: Any, ____: Any, found: dict[int, Any], lost: dict[int, str]) -> None:
        found.update(dict.fromkeys(range(len(nets) - 1), (0.008, "")))
        lost[len(nets) - 1] = "no answer for 120 s: killed"

    monkeypatch.setattr(checking, "time_grid", grid_times)
    monkeypatch.setattr(checking, "time_nets", nets)
    monkeypatch.setattr(checking, "count_nets", lambda _, specs: tuple(map(fake_count, specs)))
    return seen


def test_a_check_goes_on_where_it_stopped(measured: list[tuple[str, int]], tmp_path: Path) -> None:
    """Its time over after each turn, it measures every setting once in all, and only then says how far off it is."""
    kept, host = tmp_path / "turns.json", make_host()
    few = [("resnet18", {}), ("vit-b", {}), ("swin-t", {})]
    verdicts = []
    for _ in range(12):
        found, _ = check(
            "python", host, threads=[1], nets=few, blocks=2, minutes=1e-9, kept=kept, dtypes=("float32", "bfloat16")
        )
        verdicts.append(found.verdict)
        if not found.open:
            break
    assert len(measured) == 4 == len(verdicts)
    assert all(v.startswith("Undecided: ") and "the same command goes on" in v for v in verdicts[:-1])
    assert "swin-t (no answer for 120 s: killed)" in verdicts[-1]
    assert not kept.exists(), "what is finished is not resumed"
    assert len(found.rows) == 4


@pytest.mark.usefixtures("measured")
def test_what_another_host_or_other_nets_left_is_not_taken_on(tmp_path: Path) -> None:
    kept, few = tmp_path / "turns.json", [("resnet18", {}), ("vit-b", {})]
    common: dict[str, Any] = {"threads": [1], "dtypes": ["float32"], "blocks": 2, "minutes": 1e-9, "kept": kept}
    check("python", make_host(), nets=few, **common)
    found, _ = check("python", make_host(), nets=[*few, ("gpt2", {})], **common)
    assert found.open == 1
    kept.write_text("{")
    assert read_measurements(kept, "anything") == []
    assert kept_measurements(make_host(), "a") != kept_measurements(make_host(), "b")


def test_what_is_checked_can_be_chosen() -> None:
    nets, dtypes = chosen_for_check(load({"nets": "gpt2", "dtype": "bfloat16", "tokens": 64, "decode": True}))
    assert nets == [("gpt2", {"phase": "decode", "tokens": 64})]
    assert dtypes == ("bfloat16",)
    assert chosen_for_check(load({})) == ([], ("float32", "bfloat16"))


def test_a_net_that_hangs_is_left_out_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*_: Any, **__: Any) -> AgentReport:
        events = (
            {"event": "done", "index": 0, "found": {"samples": [0.1, 0.2, 0.3]}},
            {"event": "lost", "index": 1, "detail": "no answer for 120 s in vit-b: killed"},
            {"event": "failed", "index": 2, "detail": "no"},
        )
        return AgentReport(Outcome(kind="ok"), events, Disturbance())

    monkeypatch.setattr(checking, "ask_each", asked)
    found: dict[int, tuple[float, str]] = {}
    lost: dict[int, str] = {}
    time_nets("python", "float32", 1, [("resnet18", {}), ("vit-b", {}), ("gpt2", {})], random.Random(1), found, lost)
    assert [seconds for seconds, _ in found.values()] == [0.2]
    assert sorted(lost.values()) == ["no", "no answer for 120 s in vit-b: killed"]


HANGS = """
import time, torch


def fine():
    return torch.nn.Linear(4, 4), (torch.zeros(1, 4),)


def hangs():
    time.sleep(600)


def dies():
    import os, signal

    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_an_agent_that_hangs_or_dies_costs_one_answer(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    import sys

    (tmp_path / "nets.py").write_text(HANGS)
    names = ("fine", "hangs", "fine", "dies", "fine")
    specs = [NetSpec(net=f"{tmp_path}/nets.py:{n}").model_dump() for n in names]
    report = ask_each(sys.executable, "count", specs, each_s=12)
    assert report.outcome.ok
    assert [e["event"] for e in sorted(report.events, key=lambda e: e["index"])] == [
        "done", "lost", "done", "lost", "done",
    ]  # fmt: skip
    assert "no answer for 12 s" in report.events[1]["detail"]


def test_an_interpreter_without_torch_is_no_lost_net(python_without_torch: str) -> None:
    report = ask_each(python_without_torch, "count", [NetSpec(net="resnet18").model_dump()], each_s=30)
    assert not report.outcome.ok
    assert "torch cannot be imported" in report.outcome.detail
