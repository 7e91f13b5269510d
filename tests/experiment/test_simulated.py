"""How far the search can be trusted, with fewer repetitions than ``python -m benchmarks.simulate`` has."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.simulate import false_alarms, idle_winners, kinds_of, mean_measured, power, regret
from hwdiag.process.launch import Launch
from tests.simulation.virtual import DEFAULT
from tests.simulation.virtual_hosts import random_host
from tests.simulation.virtual_machine import VirtualMachine, recorded_noise

BUSY = recorded_noise("busy")
QUIET = recorded_noise("quiet")
KINDS = kinds_of()


@pytest.mark.parametrize("kind", KINDS)
def test_a_launch_against_itself_is_hardly_ever_better(kind: str) -> None:
    assert false_alarms(KINDS[kind], 10_000) <= 0.01


def test_a_launch_against_itself_can_be_better_by_chance() -> None:
    """So the test above looks for something that there is."""
    assert false_alarms(BUSY, 10_000) > 0.001


def test_searches_among_equals_hardly_ever_name_a_winner() -> None:
    assert idle_winners(BUSY, 100) <= 0.02


def test_a_true_gain_of_five_percent_is_found() -> None:
    assert power(QUIET, 1.05, 80) >= 0.9


def test_no_gain_is_not_found() -> None:
    assert power(QUIET, 1.0, 30) <= 0.02


def test_the_chosen_launch_is_near_the_best_of_all_and_costs_little() -> None:
    found = [regret(QUIET, seed) for seed in range(200)]
    half, most = np.quantile([f.behind for f in found], [0.5, 0.95])
    assert half <= 0.02
    assert most <= 0.05
    # "All" leaves out some places that OMP_PROC_BIND makes, so a choice may be a trifle faster than the best of all.
    assert min(f.behind for f in found) > -0.01
    assert all(4 * f.measured <= f.exhaustive for f in found)


def test_many_cpus_cost_at_most_twice_the_measurements_of_few() -> None:
    few, many = (mean_measured(QUIET, cores, range(15)) for cores in (8, 128))
    assert many <= 2 * few


def test_virtual_hosts_are_as_varied_as_they_should_be() -> None:
    hosts = [random_host(seed).host for seed in range(200)]
    assert {len(h.numa) for h in hosts} == {1, 2, 4, 8}
    cpus = [len(h.usable_cpus) for h in hosts]
    assert (min(cpus), max(cpus)) == (4, 256)
    assert {h.cpu.smt for h in hosts} == {True, False}
    assert any(len(h.cpu.kinds) > 1 for h in hosts)
    assert any(h.limits.cpu_quota for h in hosts)


def test_the_surface_behaves_like_a_machine() -> None:
    """More threads first help, then harm; the far node is dearer; memory over all nodes helps who needs bandwidth."""
    virtual = next(v for v in map(random_host, range(100)) if len(v.host.numa) == 2 and v.bandwidth_work > 0.5)
    near, far = virtual.host.numa
    n = min(8, len(near.cpus))

    def bound(node: tuple[int, ...], mode: str) -> float:
        memory = {"mode": mode, "nodes": node}
        return virtual.seconds(
            Launch.model_validate({"name": "x", "threads": n, "cpus": near.cpus[:n], "memory": memory})
        )

    assert bound((near.id,), "preferred") < bound((far.id,), "preferred")
    one, some = (virtual.seconds(Launch(threads=k)) for k in (1, 4))
    assert some < one


def test_what_fails_is_left_out_and_time_goes_by() -> None:
    virtual = random_host(1)
    launches = list(virtual.questions[0].options[:3])
    machine = VirtualMachine(virtual, BUSY, 1, fails=frozenset({(launches[0].name, "screen")}))
    found = machine.measure([*launches], 2, "screen")
    assert {name: len(ratios) for name, ratios in found.items()} == {o.name: 2 for o in launches[1:]}
    assert machine.processes == 8
    assert machine.now > 2 * 4
    assert DEFAULT.name not in found
