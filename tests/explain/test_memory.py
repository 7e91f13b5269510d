"""Memory that grows to the end is told, and memory that is loaded, filled or let go is not."""

from __future__ import annotations

import numpy as np
import pytest

from hwdiag.explain.probes.memory import look
from hwdiag.process.observation.model import CgroupOfProcess, InsideReport
from tests.explain.observed import MIB, case, checks, findings, points, process

LEAK = [200 + 20 * n for n in range(60)]


def test_steady_growth_is_told_with_its_rate_and_what_to_look_for() -> None:
    found = findings([*look(case(process(memory=points(LEAK))))])["memory-grows:100"]
    assert "grows steadily, by" in found.title
    assert "MB a second" in found.title
    assert "loss.item()" in found.detail
    assert "detach()" in found.detail
    assert "torch.no_grad()" in found.detail


@pytest.mark.parametrize(
    "resident",
    [
        [200.0] * 60,
        [min(2000, 200 + 120 * n) for n in range(60)],  # loading, for a quarter of the time
        [400 + 300 * (1 - np.exp(-n / 8)) for n in range(60)],  # a cache fills
        [500 + 200 * (n % 10) / 10 for n in range(60)],  # a saw
        [800 - 5 * n for n in range(60)],
        [400 + 300 * (1 - np.exp(-n / 20)) for n in range(60)],  # the same, slower
        [400 + 0.4 * n for n in range(60)],  # too little to matter
        [min(900, 200 + 20 * n) for n in range(60)],  # loading, for more than half of the time
        [300] * 59 + [900],  # one step at the end
    ],
)
def test_what_is_loaded_or_levels_off_is_no_growth(resident: list[float]) -> None:
    of = case(process(memory=points(resident)))
    assert not findings([*look(of)])
    assert "at most" in checks([*look(of)])["memory-grows"].detail


def test_growth_that_is_too_little_to_tell_is_not_called_steady() -> None:
    found = checks([*look(case(process(memory=points([400.0 + n for n in range(60)]))))])["memory-grows"]
    assert (found.state, "too little to judge" in found.detail) == ("unchecked", True)


def test_compilers_and_what_is_there_for_a_short_while_are_no_leaks() -> None:
    assert not findings([*look(case(process(name="cc1plus", memory=points(LEAK))))])
    part = process(ended_s=3.0, memory=points(LEAK, 3.0))
    assert not findings([*look(case(process(200, memory=points([300.0] * 60)), part))])


def test_a_program_that_was_too_short_is_not_called_fine() -> None:
    of = case(process(ended_s=1.0, memory=points(LEAK, 1.0)))
    assert checks([*look(of)])["memory-grows"].state == "unchecked"


def test_mapped_files_that_are_read_are_no_leak_and_kept_batches_are_named() -> None:
    files = points(LEAK, file_bytes=[value - 150 for value in LEAK])
    assert not findings([*look(case(process(memory=files)))])
    shared = points(LEAK, shared_bytes=[value - 150 for value in LEAK])
    found = findings([*look(case(process(memory=shared)))])["memory-grows:100"]
    assert "batch.clone()" in found.detail


def test_what_is_counted_from_inside_says_what_grows() -> None:
    def told(**growth: object) -> str:
        inside = InsideReport(pid=100, command=("python",), state="written", growth=growth)
        return findings([*look(case(process(memory=points(LEAK)), inside=(inside,)))])["memory-grows:100"].detail

    graph = told(graph_nodes=[10, 5000], live_tensors=[40, 2500])
    assert "graph nodes went from 10 to 5,000" in graph
    assert "loss.item()" in graph
    assert "tracemalloc" not in graph
    assert "tensor bytes went from 1 MiB to 3 GiB" in told(tensor_bytes=[1 << 20, 3 << 30])
    objects = told(graph_nodes=[10, 10], python_objects=[90000, 4000000])
    assert "tracemalloc" in objects
    assert "loss.item()" not in objects


def test_swapping_is_told_and_a_group_at_its_limit_that_reads_pages_again() -> None:
    swapped = points([500.0] * 60, swapped_bytes=[0.0] * 30 + [300.0] * 30)
    found = findings([*look(case(process(memory=swapped), machine={"swap.in": 5e6}))])["swapped"]
    assert "300 MiB of its memory were swapped out; 5 MB a second" in found.title
    group = CgroupOfProcess(path="/a", memory_limit_bytes=600 * MIB, memory_peak_bytes=600 * MIB)
    at_limit = process(memory=points([500.0] * 60), cgroup=group, major_faults=5000)
    assert "500 times a second" in findings([*look(case(at_limit))])["major-faults"].title
    cold = process(memory=points([500.0] * 60), major_faults=5000)
    assert not findings([*look(case(cold))]), "libraries that are read at the start"


def test_a_leak_is_told_although_its_end_takes_long_and_imports_are_none() -> None:
    seen = [83, 138, 165, 196, 205, 225, 245, 272, 287, 319, 355, 365, 407, 451, 503, 530, 555, 556, 556, 500]
    files = [38, 65, 74, 75, 75, 77, 78, 80, 80, 88, 88, 88, 88, 88, 88, 88, 88, 88, 88, 88]
    leak = points([float(v) for v in seen], 17.0, file_bytes=[float(v) for v in files])
    assert findings([*look(case(process(ended_s=17.0, memory=leak), seconds=17.0))]), "as it was seen on a busy machine"
    imports = [60.0 + 20 * n for n in range(45)] + [960.0] * 15
    mapped = [30.0 + 8 * n for n in range(45)] + [390.0] * 15
    assert not findings([*look(case(process(memory=points(imports, file_bytes=mapped))))])
