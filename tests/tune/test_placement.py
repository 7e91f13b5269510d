"""Candidates come from the topology, stay within what may be used, and leave out what is today's default anyway."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from hwdiag.experiment.lever import Lever, Plan
from hwdiag.experiment.workloads import catalogue
from hwdiag.host.model import CoreKind, Host, Limits, LogicalCpu
from hwdiag.process.launch import Allocator, Launch, MemoryPolicy
from hwdiag.process.model import Applied, ThreadPool
from hwdiag.process.verify import not_applied
from hwdiag.tune.placement import domains, kind_domains, placement, thread_counts
from hwdiag.tune.runtime import find_allocators, heap, interop, runtime
from hwdiag.tune.user_workloads import file_workload
from tests.conftest import make_host, make_software


def levers(host: Host, *, today: int = 8, threads: tuple[int, ...] | None = None, memory: bool = True) -> list[Lever]:
    return [*placement(host, make_software(threads=today), threads=threads, memory=memory).levers]


def options(host: Host, **more: object) -> list[Launch]:
    return [lever.launch for lever in levers(host, **more)]  # type: ignore[arg-type]


def names(host: Host, **more: object) -> list[str]:
    return [lever.title for lever in levers(host, **more)]  # type: ignore[arg-type]


def test_thread_counts_go_down_from_the_cores_in_steps_of_two_on_a_small_host_and_of_four_on_a_large_one() -> None:
    assert thread_counts(make_host(cores_per_node=8)) == [1, 2, 4, 8]
    assert thread_counts(make_host(nodes=2, cores_per_node=10, smt=2)) == [1, 5, 20, 39]
    assert thread_counts(make_host(cores_per_node=1)) == [1]


def test_a_quota_and_a_mask_bound_the_thread_counts_and_the_bindings() -> None:
    quota = make_host(cores_per_node=8, limits=Limits(allowed=tuple(range(8)), cpu_quota=2.5))
    assert thread_counts(quota) == [1, 2, 3]
    assert max(o.threads or 0 for o in options(quota)) == 3
    assert thread_counts(make_host(cores_per_node=8, limits=Limits(allowed=(3, 5)))) == [1, 2]
    assert {
        cpu for o in options(make_host(cores_per_node=8, limits=Limits(allowed=(3, 5)))) for cpu in o.cpus or ()
    } <= {3, 5}


def test_what_is_todays_default_is_left_out() -> None:
    assert names(make_host(cores_per_node=2), today=2) == ["threads=1"]
    assert names(make_host(cores_per_node=2), threads=(2,), today=2) == []
    assert names(make_host(cores_per_node=8), threads=(3, 8)) == ["threads=3", "cpus=0-2"]


def test_every_sort_of_domain_is_tried_whole() -> None:
    two = make_host(nodes=2, cores_per_node=4, smt=2)
    found = {o.cpus: o for o in options(two, today=16)}
    assert (found[0, 1, 2, 3].threads, found[0, 1, 2, 3].memory) == (4, MemoryPolicy(mode="preferred", nodes=(0,)))
    assert (found[tuple(range(8))].threads, found[tuple(range(8))].env) == (8, {"MKL_NUM_THREADS": "8"})
    assert found[0, 1, 2, 3, 8, 9, 10, 11].threads == 8  # the SMT siblings of the node too
    assert {x.title for x in levers(two, today=16) if x.launch.memory and x.launch.memory.mode == "interleave"} == {
        "interleave",
        "cpus=0-7, interleave",
    }
    assert not any(o.memory for o in options(two, memory=False))
    assert not any(o.memory for o in options(make_host()))


def test_a_node_without_memory_or_out_of_reach_is_not_bound_to() -> None:
    only_first = Limits(allowed=(0, 1, 2, 3), mems=(0,))
    assert not any(o.memory for o in options(make_host(nodes=2, cores_per_node=4, limits=only_first)))
    three = make_host(nodes=3, cores_per_node=4)
    starved = three.numa[0].model_copy(update={"memory_bytes": 0})
    host = three.model_copy(update={"numa": (starved, *three.numa[1:])})
    assert {n for o in options(host) if o.memory for n in o.memory.nodes} == {1, 2}


def test_the_search_looks_around_the_best_and_on_other_nodes() -> None:
    host = make_host(nodes=2, cores_per_node=8, smt=1)
    factor = placement(host, make_software(threads=16))

    def near(best: Lever) -> list[Launch]:
        return [lever.launch for lever in factor.refine(Plan.of(best))]

    free = next(x for x in factor.levers if x.title == "threads=8")
    # Not 16, which is today's; one core left; and the best count bound.
    assert [(o.threads, o.cpus) for o in near(free)] == [
        *((n, None) for n in (4, 6, 12, 15)),
        (8, tuple(range(8))),
    ]
    bound = next(x for x in factor.levers if x.launch.cpus == tuple(range(8)))
    refined = factor.refine(Plan.of(bound))
    assert tuple(range(8, 16)) in {x.launch.cpus for x in refined}
    over_all = next(x for x in refined if x.launch.memory and x.launch.memory.mode == "interleave")
    memory = over_all.launch.memory
    assert (over_all.launch.cpus, memory.nodes if memory else ()) == (tuple(range(8)), (0, 1))
    assert all(o.memory == memory for o in near(over_all))
    assert all(len(x.launch.cpus or ()) == x.launch.threads for x in refined)


@pytest.mark.parametrize("counts", [(4,), (2, 6)])
def test_counts_that_were_asked_for_bound_the_search(counts: tuple[int, ...]) -> None:
    """Whole domains, siblings, interleaving and what lies near the best among it."""
    for host in (make_host(nodes=2, cores_per_node=4, smt=2), make_host(cores_per_node=8)):
        factor = placement(host, make_software(threads=8), threads=counts)
        near = [x for lever in factor.levers for x in factor.refine(Plan.of(lever))]
        assert factor.levers
        assert {x.launch.threads for x in (*factor.levers, *near)} <= set(counts)
        assert all(len(x.launch.cpus) == x.launch.threads for x in factor.levers if x.launch.cpus)


def test_siblings_are_tried_with_one_cpu_left_and_with_all_memory() -> None:
    host = make_host(nodes=2, cores_per_node=4, smt=2)
    factor = placement(host, make_software(threads=8))
    siblings = dict(host.usable_cores)

    def shared(best: Lever) -> list[tuple[int, str | None]]:
        found = [x.launch for x in factor.refine(Plan.of(best))]
        near = [o for o in found if o.cpus and any(siblings.get(c) in o.cpus for c in o.cpus)]
        assert all(len(o.cpus or ()) == o.threads for o in near)
        return [(o.threads or 0, o.memory.mode if o.memory else None) for o in near]

    node = next(x for x in factor.levers if x.launch.threads == 4 and x.launch.cpus)
    assert shared(node) == [(7, "preferred")]
    spread = [x for x in factor.levers if x.launch.memory and x.launch.memory.mode == "interleave"]
    over_all = next(x for x in spread if x.launch.cpus)
    assert shared(over_all) == [(15, "interleave")]
    free = next(x for x in factor.levers if x.title == "threads=15")
    assert shared(free) == [(15, None), (15, "interleave")]
    assert shared(next(x for x in factor.levers if x.title == "threads=4")) == [(15, None), (15, "interleave")]


def test_their_number_grows_no_faster_than_the_logarithm_of_the_cpus_times_the_nodes() -> None:
    def number(nodes: int, cores: int) -> int:
        return len(options(make_host(nodes=nodes, cores_per_node=cores, smt=2)))

    for nodes in (1, 2, 4, 8):
        for cores in (4, 16, 64):
            assert number(nodes, cores) <= 4 * math.log2(nodes * cores * 2)
    assert number(2, 32) + 1 <= 2 * (number(1, 4) + 1)  # with the default


def test_mkl_is_told_only_where_it_is() -> None:
    (plain, *_) = placement(make_host(), make_software(mkl=False), threads=(2,)).levers
    assert plain.launch.environment() == {"OMP_NUM_THREADS": "2"}


def test_only_the_runtime_that_is_loaded_is_set() -> None:
    def variables(pool: str) -> set[str]:
        pools = (ThreadPool(api="openmp", name=pool),)
        return {name for x in runtime(make_host(), make_software(pools=pools)).levers for name in x.launch.env}

    assert variables("libgomp") == {"OMP_PROC_BIND", "OMP_PLACES", "OMP_WAIT_POLICY"}
    assert variables("libiomp5") == {"OMP_PROC_BIND", "OMP_PLACES", "KMP_BLOCKTIME"}
    assert not runtime(make_host(), make_software()).levers


def test_inter_op_threads_are_asked_about_only_for_a_file_of_ones_own() -> None:
    mine = file_workload(Path("mine.py"))
    assert [x.launch.interop_threads for x in interop(make_software(interop_threads=8), [mine]).levers] == [1, 4]
    assert not interop(make_software(interop_threads=1), [mine]).levers
    assert not interop(make_software(interop_threads=8), catalogue(make_host())).levers


def test_inherited_tunables_are_not_overwritten() -> None:
    assert any("GLIBC_TUNABLES" in x.launch.env for x in heap(make_host(), make_software(), ()).levers)
    inherited = make_software(environment={"GLIBC_TUNABLES": "glibc.malloc.check=1"})
    assert not any("GLIBC_TUNABLES" in x.launch.env for x in heap(make_host(), inherited, ()).levers)


def test_allocators_are_found_by_their_sonames(tmp_path: Path) -> None:
    folder = tmp_path / "lib"
    folder.mkdir()
    for name in ("libjemalloc.so.2", "libtcmalloc_minimal.so.4.5.9", "libtcmalloc_minimal.so.4", "libother.so.1"):
        (folder / name).touch()
    found = find_allocators(None, [str(folder)])
    assert [(a.name, Path(a.path).name) for a in found] == [
        ("jemalloc", "libjemalloc.so.2"),
        ("tcmalloc_minimal", "libtcmalloc_minimal.so.4"),
    ]
    assert find_allocators(str(tmp_path), [])[0].path == str(folder / "libjemalloc.so.2")


SEEN = Applied(
    threads=4, interop_threads=4, cpus=(0, 1), memory_policy="interleave:0-1", preloaded=("/lib/libjemalloc.so.2",)
)


@pytest.mark.parametrize(
    ("launch", "missing"),
    [
        (Launch(), None),
        (Launch(threads=4, cpus=(0, 1)), None),
        (Launch(threads=8), "asked for 8 threads, torch uses 4"),
        (Launch(interop_threads=2), "asked for 2 inter-op threads, torch uses 4"),
        (Launch(cpus=(0, 1, 2)), "asked for CPUs 0-2, may use 0-1"),
        (Launch(memory=MemoryPolicy(mode="interleave", nodes=(0, 1))), None),
        (
            Launch(memory=MemoryPolicy(mode="bind", nodes=(1,))),
            "asked for memory policy bind 1, the process has interleave:0-1",
        ),
        (Launch(allocator=Allocator(name="jemalloc", path="/lib/libjemalloc.so.2")), None),
        (Launch(allocator=Allocator(name="tcmalloc", path="/no/libtc.so")), "/no/libtc.so was not loaded"),
    ],
)
def test_what_did_not_take_effect_is_named(launch: Launch, missing: str | None) -> None:
    assert not_applied(launch, SEEN) == missing


def hybrid(**more: object) -> Host:
    """Two P-cores with two threads each (CPUs 0-3) and four E-cores (4-7), as Intel numbers them."""
    places = [*((cpu, cpu // 2, 0) for cpu in range(4)), *((cpu, cpu - 2, 1) for cpu in range(4, 8))]
    logical = tuple(LogicalCpu(id=cpu, core=core, socket=0, node=0, kind=kind) for cpu, core, kind in places)
    kinds = (
        CoreKind(name="P-core", cpus=(0, 1, 2, 3), cores=2, max_mhz=5000),
        CoreKind(name="LP E-core", cpus=(4, 5, 6, 7), cores=4, max_mhz=3000),
    )
    host = make_host(cores_per_node=8)
    cpu = host.cpu.model_copy(update={"logical": logical, "kinds": kinds, "cores": 6, "smt": True})
    return host.model_copy(update={"cpu": cpu, **more})


def test_each_kind_of_core_is_a_domain_of_its_own() -> None:
    assert [(d.name, d.cores) for d in kind_domains(hybrid())] == [
        ("P-core", ((0, 1), (2, 3))),
        ("LP E-core", ((4,), (5,), (6,), (7,))),
    ]
    bound = {o.cpus: o.threads for o in options(hybrid())}
    assert (bound[0, 2], bound[4, 5, 6, 7]) == (2, 4)
    assert not kind_domains(make_host(cores_per_node=8))


def test_kinds_that_may_not_be_used_are_not_measured() -> None:
    assert not kind_domains(hybrid(limits=Limits(allowed=(0, 1, 2))))
    some = hybrid(limits=Limits(allowed=(0, 4, 5)))
    assert [d.cores for d in kind_domains(some)] == [((0,),), ((4,), (5,))]
    assert domains(some)[-1].cores == ((0,), (4,), (5,))
