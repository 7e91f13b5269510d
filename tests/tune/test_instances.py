"""Several instances: which are tried on which machine, and how they are measured together."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path

import pytest

from hwdiag.experiment.budget import BUDGETS
from hwdiag.experiment.campaign import Campaign, at_once, processes_that_fit
from hwdiag.experiment.lever import DEFAULT, Lever, Plan
from hwdiag.experiment.workloads import matmul
from hwdiag.host.model import Host, Limits
from hwdiag.process.launch import InstancePlacement, Launch
from hwdiag.tune.instances import instances
from hwdiag.tune.user_workloads import file_workload
from tests.conftest import make_host, make_software

USABLE = sorted(os.sched_getaffinity(0))


def levers(host: Host, most: int = 999) -> list[Lever]:
    return list(instances(host, make_software(), most=most).levers)


def teams(host: Host, most: int = 999) -> list[Launch]:
    return [lever.launch for lever in levers(host, most)]


def cpus(team: Launch) -> list[tuple[int, ...]]:
    return [place.cpus for place in team.instances]


def test_one_per_node_per_group_of_cores_and_per_core() -> None:
    found = {len(t.instances): t for t in teams(make_host(nodes=2, cores_per_node=4))}
    assert sorted(found) == [2, 4, 8]
    assert "8 instances on CPUs 0; 1; ... 7" in {x.title for x in levers(make_host(nodes=2, cores_per_node=4))}
    assert cpus(found[2]) == [(0, 1, 2, 3), (4, 5, 6, 7)]
    assert cpus(found[4]) == [(0, 1), (2, 3), (4, 5), (6, 7)]
    assert (found[2].threads, found[4].threads, found[8].threads) == (4, 2, 1)
    assert [p.memory and p.memory.nodes for p in found[4].instances] == [(0,), (0,), (1,), (1,)]
    assert {p.memory.mode for t in found.values() for p in t.instances if p.memory} == {"preferred"}


def test_siblings_are_instances_of_their_own_last() -> None:
    *_, last = levers(make_host(cores_per_node=2, smt=2))
    per_cpu = last.launch
    assert last.title == "4 instances on CPUs 0; 1; 2; 3"
    assert (cpus(per_cpu), per_cpu.threads) == ([(0,), (1,), (2,), (3,)], 1)


@pytest.mark.parametrize("nodes", [1, 2, 8])
@pytest.mark.parametrize("cores", [1, 3, 4, 6, 32])
@pytest.mark.parametrize("smt", [1, 2])
def test_every_team_is_sound_and_there_are_few(nodes: int, cores: int, smt: int) -> None:
    host = make_host(nodes=nodes, cores_per_node=cores, smt=smt)
    found = teams(host)
    assert len(found) <= 4 + math.log2(nodes * cores)
    for team in found:
        used = [cpu for place in team.instances for cpu in place.cpus]
        assert len(used) == len(set(used)), "two instances on one CPU"
        assert set(used) <= set(host.usable_cpus)
        assert {len(place.cpus) for place in team.instances} == {team.threads}
        assert len(team.instances) >= 2
        for place in team.instances:  # none lies astride two nodes
            assert len({host.cpu.logical[c].node for c in place.cpus}) == 1


def test_they_stay_within_the_mask_the_quota_and_the_memory() -> None:
    masked = make_host(nodes=2, limits=Limits(allowed=(1, 2, 3, 5, 6, 7, 99)))  # 99 is offline
    for team in teams(masked):
        assert {cpu for place in team.instances for cpu in place.cpus} <= {1, 2, 3, 5, 6, 7}
    assert cpus(teams(masked)[0]) == [(1, 2, 3), (5, 6, 7)]
    quota = make_host(nodes=2, limits=Limits(allowed=tuple(range(8)), cpu_quota=2.5))
    assert teams(quota)
    assert all(len(t.instances) * (t.threads or 0) <= 3 for t in teams(quota))
    assert {len(t.instances) for t in teams(make_host(cores_per_node=8), most=4)} == {2, 4}
    assert teams(make_host(cores_per_node=8), most=1) == []


def test_counts_that_were_asked_for_bound_the_instances() -> None:
    found = instances(make_host(nodes=2), make_software(), most=99, threads=(2,)).levers
    assert {x.launch.threads for x in found} == {2}


def test_a_node_without_memory_is_never_bound_to() -> None:
    host = make_host(nodes=3)
    bare = host.numa[1].model_copy(update={"memory_bytes": 0})
    host = host.model_copy(update={"numa": (host.numa[0], bare, host.numa[2])})
    bound = {place.memory.nodes for team in teams(host) for place in team.instances if place.memory}
    assert bound == {(0,), (2,)}


def test_uneven_parts_are_cut_alike_and_tiny_ones_left_out() -> None:
    uneven = make_host(nodes=3, limits=Limits(allowed=(0, 1, 2, 3, 4, 5, 6, 8)))
    assert cpus(teams(uneven)[0]) == [(0, 1, 2), (4, 5, 6)]


def test_memory_decides_how_many_processes_take_turns() -> None:
    host, small = make_host(), matmul("float32", 4)
    few = host.model_copy(update={"memory": host.memory.model_copy(update={"available_bytes": 4 << 30})})
    assert processes_that_fit(few, [small]) == 2
    assert (at_once(few, [small]), at_once(few, [small], 2), at_once(few, [small], 8)) == (2, 1, 1)
    assert at_once(host, [small], 2) == 6


def test_a_team_says_what_it_is_and_each_member_is_a_launch() -> None:
    team = teams(make_host(nodes=2))[0].plus(Launch(env={"THP": "1"}))
    assert team.describe() == (
        "2 instances at the same time, 4 threads each, on CPUs 0-3; 4-7, each with the memory of its node, THP=1"
    )
    first, second = team.members
    assert (first.cpus, second.cpus, second.threads) == ((0, 1, 2, 3), (4, 5, 6, 7), 4)
    assert second.env == {"MKL_NUM_THREADS": "4", "THP": "1"}
    assert second.binding()[:2] == ("numactl", "--physcpubind=4-7")
    assert Launch().members == (Launch(),)


# Measured, with real workers


def campaign_of() -> Campaign:
    return Campaign(sys.executable, BUDGETS["quick"].for_teams(), seed=1, child_timeout_s=60)


def two() -> Plan:
    launch = Launch(threads=1, instances=(InstancePlacement(cpus=(USABLE[0],)), InstancePlacement(cpus=(USABLE[-1],))))
    return Plan.of(Lever(id="two", factor="instances", title="two", launch=launch))


def test_a_team_works_at_the_same_time_and_its_throughput_adds_up(tmp_path: Path) -> None:
    """Iterations that only wait: two instances do twice as many in the same time, each as fast as one alone."""
    pytest.importorskip("torch")
    path = tmp_path / "waits.py"
    path.write_text("import time\ndef build(): return lambda: time.sleep(0.02)")
    found = {m.plan: m for m in campaign_of().run([DEFAULT, two()], [file_workload(path)], "screen")}
    assert all(m.outcome.ok for m in found.values()), [m.outcome.detail for m in found.values()]
    assert found["default"].latency_s is None
    assert found["default"].median_s / found["two"].median_s == pytest.approx(2, rel=0.3)
    assert found["two"].latency_s == pytest.approx(found["default"].median_s, rel=0.4)
    assert (found["two"].peak_rss_bytes or 0) > 1.5 * (found["default"].peak_rss_bytes or 0)


@pytest.mark.skipif(len(USABLE) < 2, reason="needs two CPUs")
def test_members_overlap_and_are_bound_each_to_its_own_place(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    path = tmp_path / "tells.py"
    path.write_text(
        "import os, time, pathlib\n"
        f"log = pathlib.Path({str(tmp_path)!r}, f'{{os.getpid()}}.log').open('a', buffering=1)\n"
        "def step():\n  log.write(f'{time.monotonic()} {sorted(os.sched_getaffinity(0))[0]}\\n'); time.sleep(0.01)\n"
        "def build(): return step\n"
    )
    (m,) = campaign_of().run([two()], [file_workload(path)], "screen")
    assert m.outcome.ok, m.outcome.detail
    logs = [[line.split() for line in log.read_text().splitlines()] for log in tmp_path.glob("*.log")]
    assert sorted({cpu for _, cpu in log}.pop() for log in logs) == sorted([str(USABLE[0]), str(USABLE[-1])])
    ends = [(float(log[0][0]), float(log[-1][0])) for log in logs]
    (a_start, a_end), (b_start, b_end) = ends
    assert min(a_end, b_end) - max(a_start, b_start) > 0.4  # the two windows of 0.25 s


def test_a_member_that_fails_fails_the_team_in_one_line(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    path = tmp_path / "second_dies.py"
    path.write_text(
        "import os\n"
        f"def build():\n  if 0 not in os.sched_getaffinity(0) or {len(USABLE) < 2}: os.abort()\n  return lambda: None"
    )
    results = campaign_of().run([DEFAULT, two()], [file_workload(path), matmul("float32", 4, n=64)], "screen")
    found = {(m.plan, m.workload): m.outcome for m in results}
    assert found["two", "file"].kind == "signal"
    assert found["two", "matmul-fp32"].ok, found["two", "matmul-fp32"].detail  # in fresh processes
    assert found["default", "matmul-fp32"].ok
