"""What a program gets that is started here: each limit that holds it back is named with the way to lift it."""

from __future__ import annotations

from typing import Any

import pytest

from hwdiag.core.finding import Check, Finding
from hwdiag.host.model import Hidden, Host, Isa, Limits
from hwdiag.process.ancestry import Ancestor, ancestors, narrowed_words, origin_words
from hwdiag.process.preflight import preflight
from tests.conftest import make_host, make_software

GIB = 1 << 30
ROOMY = {
    "allowed": (0, 1, 2, 3), "nofile": (1024, 524288), "shared_memory_bytes": 8 * GIB,
    "shared_memory_free_bytes": 8 * GIB, "processes": (100000, 100000), "address_space_bytes": (None, None),
}  # fmt: skip


def host(compilers: tuple[str, ...] | None = ("g++", "gcc"), **limits: Any) -> Host:
    found = make_host(limits=Limits.model_validate({**ROOMY, **limits}))
    return found.model_copy(update={"system": found.system.model_copy(update={"compilers": compilers})})


def answers(there: Host, environment: dict[str, str] | None = None, **more: Any) -> dict[str, Finding | Check]:
    return {a.id: a for a in preflight(there, environment=environment or {}, **more)}


def test_a_host_that_holds_nothing_back_gets_no_finding() -> None:
    found = answers(host(), software=make_software(main_cpus=(0, 1, 2, 3), libraries=()))
    assert not [a for a in found.values() if isinstance(a, Finding)]
    assert found["threads"].title.startswith("torch starts 4 threads on 4 CPUs")
    assert all(isinstance(a, Check) and a.state == "fine" for a in found.values() if a.id != "hidden-isa")


@pytest.mark.parametrize(
    ("limits", "id_", "cause", "remedy"),
    [
        ({"cpu_quota": 1.0}, "quota-below-cpus", "pays for 1 CPU of 4", "OMP_NUM_THREADS=1"),
        ({"cpu_quota": 2.5}, "quota-below-cpus", "pays for 2.5 CPUs of 4", "OMP_NUM_THREADS=2"),
        ({"allowed": (0,)}, "narrow-affinity", "1 of 4 CPUs: CPU 0", "taskset -cp 0-3"),
        ({"allowed": (0, 1), "cpuset": (0, 1)}, "narrow-affinity", "2 of 4 CPUs: CPU 0-1", "--cpuset-cpus"),
        ({"shared_memory_bytes": 64 << 20}, "small-shared-memory", "64 MiB", "--shm-size=8g"),
        ({"shared_memory_bytes": 0, "shared_memory_free_bytes": 0}, "small-shared-memory", "not there", "--ipc=host"),
        ({"shared_memory_free_bytes": 1 << 20}, "full-shared-memory", "nearly full", "ls -l /dev/shm"),
        ({"nofile": (256, 256)}, "few-open-files", "256 files", "hard limit is the same"),
        ({"nofile": (256, 4096)}, "few-open-files", "256 files", "ulimit -n 4096"),
        ({"pids": 100, "pids_now": 60}, "few-processes", "allows 100 processes", "--pids-limit"),
        ({"processes": (50, 50)}, "few-processes", "50 processes", "ulimit -u"),
        ({"address_space_bytes": (4 * GIB, None)}, "limited-address-space", "4 GiB", "ulimit -v unlimited"),
    ],
)
def test_a_limit_is_named_with_its_remedy(limits: dict[str, Any], id_: str, cause: str, remedy: str) -> None:
    found = answers(host(**limits))[id_]
    assert isinstance(found, Finding)
    assert cause in found.title
    assert remedy in found.detail


def test_a_quota_that_the_threads_keep_to_is_fine() -> None:
    found = answers(host(cpu_quota=1.0), {"OMP_NUM_THREADS": "1"}, software=make_software(threads=1))
    assert isinstance(found["quota"], Check)
    assert isinstance(found["environment"], Check)
    assert "threads" not in found, "it is the quota that counts"


def test_threads_are_not_fine_where_a_limit_or_a_binding_takes_them_away() -> None:
    capped = answers(host(), {"OMP_THREAD_LIMIT": "1"}, software=make_software(thread_limit=1))
    assert "threads" not in capped
    assert isinstance(capped["inherited-omp-thread-limit"], Finding)
    assert "threads" not in answers(host(), software=make_software(main_cpus=(0,)))
    few = answers(host(), software=make_software(threads=1))
    assert isinstance(few["fewer-threads-than-cores"], Finding)


def test_without_a_child_nothing_is_said_of_torchs_threads() -> None:
    assert "threads" not in answers(host())


@pytest.mark.parametrize(
    ("compilers", "environment", "words"),
    [
        ((), {}, "apt install g++"),
        (("clang++",), {}, "export CXX=clang++"),
        (("gcc",), {}, "apt install g++"),
    ],
)
def test_a_missing_compiler_is_named(compilers: tuple[str, ...], environment: dict[str, str], words: str) -> None:
    found = answers(host(compilers), environment)["no-compiler"]
    assert isinstance(found, Finding)
    assert words in found.detail


def test_a_cpu_type_that_hides_features_says_which_to_choose() -> None:
    there = host()
    isa = Isa(level="x86-64-v1", features=(), missing=("AVX2",),
              hidden=(Hidden(features=(), by="hypervisor", why="'Common KVM processor' is a CPU type"),))  # fmt: skip
    there = there.model_copy(update={"cpu": there.cpu.model_copy(update={"isa": isa})})
    found = answers(there)["hidden-by-hypervisor"]
    assert isinstance(found, Finding)
    assert "CPU type 'host'" in found.detail


def test_of_a_snapshot_the_shell_is_not_judged() -> None:
    there = host(None).model_copy(update={"source": "snapshot"})
    found = answers(there, {"OMP_NUM_THREADS": "1"})
    assert {a.state for a in found.values() if isinstance(a, Check) and a.id in ("environment", "compiler")} == {
        "unchecked"
    }


# Parents


def one(pid: int, *allowed: int, **environment: str) -> Ancestor:
    return Ancestor(pid=pid, command=f"p{pid}", allowed=allowed, environment=environment)


def test_who_narrowed_is_the_one_whose_parent_has_more() -> None:
    chain = (one(30, 0), one(20, 0), one(10, 0, 1))
    words = narrowed_words(chain, (0,))
    assert words.startswith("PID 20 (p20) may use CPU 0 and its parent PID 10 (p10) CPU 0-1")
    assert narrowed_words((one(30, 0), one(20, 0)), (0,)).startswith("All parents")


def test_where_a_variable_came_from_is_told_where_it_shows() -> None:
    chain = (one(4, 0, A="1"), one(3, 0, A="1"), one(2, 0, A="1"), one(1, 0))
    assert origin_words(chain, "A", "1") == "It came with PID 2 (p2), whose parent PID 1 (p1) was started without it."
    assert origin_words(chain[:3], "A", "1") == ""
    assert origin_words((one(2, 0, A="1"), one(1, 0), one(0, 0)), "A", "1") == ""


def test_our_own_parents_can_be_seen() -> None:
    import os

    chain = ancestors()
    assert chain[0].pid == os.getpid()
    assert chain[0].allowed == tuple(sorted(os.sched_getaffinity(0)))
    assert chain[1].pid == os.getppid()
