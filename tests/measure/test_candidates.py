"""Candidates come from the topology, stay within what may be used, and leave out what is today's default anyway."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwdiag.host.model import CoreKind, Host, Limits, LogicalCpu
from hwdiag.measure.candidates import candidates, find_allocators, thread_counts
from hwdiag.measure.launch import Allocator, Launch, MemoryPolicy
from hwdiag.measure.model import Applied
from hwdiag.measure.verify import not_applied
from tests.conftest import make_host, make_software


def names(host: Host, *, numactl: bool = True, threads: tuple[int, ...] | None = None) -> list[str]:
    found = candidates(host, make_software(threads=8), threads=threads, allocators=(), numactl=numactl)
    return [launch.name for launch in found]


def test_thread_counts_are_one_powers_of_two_cores_and_all_cpus() -> None:
    assert thread_counts(make_host(nodes=2, cores_per_node=10, smt=2)) == (1, 2, 4, 8, 16, 20, 32, 40)
    assert thread_counts(make_host(cores_per_node=1)) == (1,)


def test_a_quota_and_a_mask_bound_the_thread_counts() -> None:
    assert thread_counts(make_host(cores_per_node=8, limits=Limits(allowed=tuple(range(8)), cpu_quota=2.5))) == (
        1,
        2,
        3,
    )
    assert thread_counts(make_host(cores_per_node=8, limits=Limits(allowed=(3, 5)))) == (1, 2)


def test_the_default_comes_first_and_is_not_repeated() -> None:
    found = names(make_host(cores_per_node=8))
    assert found == ["default", "threads=1", "threads=2", "threads=4"]
    assert names(make_host(cores_per_node=8), threads=(3, 8)) == ["default", "threads=3"]


def test_nodes_are_bound_and_interleaved_only_where_there_are_several_and_numactl() -> None:
    two = make_host(nodes=2, cores_per_node=4, smt=2)
    assert names(two)[-3:] == ["node=0", "node=1", "interleave"]
    assert not any("node" in n for n in names(two, numactl=False))
    assert not any("node" in n for n in names(make_host()))


def test_a_node_launch_uses_its_own_cores_and_memory() -> None:
    two = make_host(nodes=2, cores_per_node=4, smt=2)
    found = candidates(two, make_software(), threads=None, allocators=(), numactl=True)
    node = next(launch for launch in found if launch.name == "node=1")
    assert node.cpus == (4, 5, 6, 7, 12, 13, 14, 15)
    assert (node.threads, node.env) == (4, {"MKL_NUM_THREADS": "4"})
    assert node.binding() == ("numactl", "--physcpubind=4-7,12-15", "--preferred=1", "--")


def test_nodes_out_of_reach_are_not_bound_to() -> None:
    only_first = Limits(allowed=(0, 1, 2, 3), mems=(0,))
    assert not any("node" in n for n in names(make_host(nodes=2, cores_per_node=4, limits=only_first)))


def test_mkl_is_told_only_where_it_is() -> None:
    plain = candidates(make_host(), make_software(mkl=False), threads=(2,), allocators=(), numactl=False)
    assert plain[1].environment() == {"OMP_NUM_THREADS": "2"}


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
        (Launch(name="default"), None),
        (Launch(name="x", threads=4, cpus=(0, 1)), None),
        (Launch(name="x", threads=8), "asked for 8 threads, torch uses 4"),
        (Launch(name="x", cpus=(0, 1, 2)), "asked for CPUs 0-2, may use 0-1"),
        (Launch(name="x", memory=MemoryPolicy(mode="interleave", nodes=(0, 1))), None),
        (
            Launch(name="x", memory=MemoryPolicy(mode="bind", nodes=(1,))),
            "asked for memory policy bind 1, the process has interleave:0-1",
        ),
        (Launch(name="x", allocator=Allocator(name="jemalloc", path="/lib/libjemalloc.so.2")), None),
        (Launch(name="x", allocator=Allocator(name="tcmalloc", path="/no/libtc.so")), "/no/libtc.so was not loaded"),
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


def test_each_kind_of_core_gets_a_launch_with_a_thread_per_core() -> None:
    found = candidates(hybrid(), make_software(), threads=(), allocators=(), numactl=False)
    assert [(x.name, x.threads, x.cpus) for x in found[1:]] == [
        ("cores=P-core", 2, (0, 1, 2, 3)),
        ("cores=LP-E-core", 4, (4, 5, 6, 7)),
    ]
    assert found[1].binding() == ("taskset", "--cpu-list", "0-3")
    assert not any(n.startswith("cores=") for n in names(make_host(cores_per_node=8)))


def test_kinds_that_may_not_be_used_are_not_measured() -> None:
    assert not any(n.startswith("cores=") for n in names(hybrid(limits=Limits(allowed=(0, 1, 2)))))
    found = candidates(
        hybrid(limits=Limits(allowed=(0, 4, 5))), make_software(), threads=(), allocators=(), numactl=False
    )
    assert [(x.threads, x.cpus) for x in found[1:]] == [(1, (0,)), (2, (4, 5))]
