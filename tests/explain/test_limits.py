"""Limits that were hit: each is named with its value, and what was not looked at is not called fine."""

from __future__ import annotations

from typing import Any

import pytest

from hwdiag.core.finding import Finding
from hwdiag.explain.probes.limits import look
from hwdiag.process.observation.model import CgroupOfProcess, ResourceLimits, SharedMemory
from tests.explain.observed import GIB, MIB, case, checks, ending, findings, points, process


def the_only(*processes: Any, **more: Any) -> Finding:
    """Return the one finding of a case."""
    [found] = findings([*look(case(*processes, **more))]).values()
    return found


def test_a_kill_for_want_of_memory_names_the_limit_of_the_control_group() -> None:
    group = CgroupOfProcess(path="/docker/1", memory_limit_bytes=700 * MIB, memory_peak_bytes=700 * MIB, oom_kills=1)
    found = the_only(process(cgroup=group, memory=points([300, 690])), ending=ending(-9), oom_kills=1)
    assert (found.id, found.severity) == ("memory-limit", "problem")
    assert "Out of memory: its control group may use 700 MiB, and the kernel killed 1 process of it" in found.title
    assert "690 MiB resident" in found.detail
    assert "--memory" in found.detail
    assert "SIGKILL" in found.detail


def test_a_group_is_counted_once_however_many_processes_it_has() -> None:
    group = CgroupOfProcess(path="/docker/1", memory_limit_bytes=GIB, oom_kills=2)
    text = "RuntimeError: DataLoader worker (pid 102) is killed by signal: Killed.\n"
    found = the_only(*(process(100 + n, cgroup=group) for n in range(5)), ending=ending(1, text))
    assert "killed 2 processes" in found.title


def test_the_host_is_out_of_memory_where_no_group_is_limited() -> None:
    found = the_only(process(memory=points([100, 60000])), ending=ending(137), oom_kills=1)
    assert found.id == "memory-of-the-host"
    assert "64 GiB" in found.title
    assert "exit status 137, as after SIGKILL" in found.detail


def test_a_kill_that_the_kernel_did_not_count_is_somebody_elses() -> None:
    found = the_only(process(), ending=ending(-9))
    assert found.id == "killed"
    assert "no kill for lack of memory" in found.detail
    unknown = the_only(process(cgroup=CgroupOfProcess()), ending=ending(-9), oom_kills=None)
    assert "is not known here" in unknown.detail


def test_an_address_space_that_is_limited_is_named_with_its_size() -> None:
    limits = ResourceLimits(address_space_bytes=3 * GIB)
    found = the_only(process(limits=limits, memory=points([200, 700])), ending=ending(1, "MemoryError\n"))
    assert found.id == "address-space"
    assert "3 GiB (ulimit -v)" in found.title
    assert "ulimit -v unlimited" in found.detail


def test_memory_that_is_refused_without_a_limit_is_the_hosts() -> None:
    text = "RuntimeError: DefaultCPUAllocator: can't allocate memory: you tried to allocate 400000000000 bytes. Error\n"
    found = the_only(process(), ending=ending(1, text))
    assert found.id == "memory-refused"
    assert "400000000000 bytes" in found.detail


def test_a_refused_thread_names_pids_max_or_ulimit_u() -> None:
    group = CgroupOfProcess(path="/a", pids_limit=40, pids_peak=40, pids_refused=3)
    found = the_only(process(cgroup=group), ending=ending(1, "RuntimeError: can't start new thread\n"))
    assert (found.id, "40 tasks" in found.title) == ("tasks-limit", True)
    assert "--pids-limit" in found.detail
    found = the_only(
        process(limits=ResourceLimits(processes=64)),
        ending=ending(1, "libgomp: Thread creation failed: Resource temporarily unavailable\n"),
    )
    assert "64 of them (ulimit -u)" in found.title
    found = the_only(process(uid=0, limits=ResourceLimits(processes=64)), ending=ending(1, "can't start new thread\n"))
    assert found.id == "tasks-refused", "the limit does not hold for root"


def test_forks_that_were_refused_are_told_of_a_program_that_ended_well() -> None:
    group = CgroupOfProcess(path="/a", pids_limit=40, pids_peak=40, pids_refused=3, oom_kills=0)
    assert the_only(process(cgroup=group)).severity == "warning"


def test_open_files_are_told_with_the_limit_and_the_other_sharing_strategy() -> None:
    limits = ResourceLimits(open_files=256)
    found = the_only(
        process(limits=limits, most_open_files=250), ending=ending(1, "OSError: [Errno 24] Too many open files\n")
    )
    assert "ran out of open files: the limit is 256" in found.title
    assert "ulimit -n" in found.detail
    assert "set_sharing_strategy('file_system')" in found.detail
    assert "nearly" in the_only(process(limits=limits, most_open_files=250)).title


def test_shared_memory_that_is_full_is_told_with_its_size_and_who_holds_it() -> None:
    text = "RuntimeError: DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that\n"
    shm = SharedMemory(size_bytes=8 * MIB, peak_bytes=8 * MIB)
    own = process(memory=points([100, 120], shared_bytes=[0, 7]))
    found = the_only(own, ending=ending(1, text), shared_memory=shm)
    assert "/dev/shm is too small: shared memory ran out at 8 MiB" in found.title
    assert "--shm-size" in found.detail
    assert "held by others" not in found.detail
    assert "held by others" in the_only(process(), ending=ending(1, text), shared_memory=shm).detail


def test_a_bus_error_with_room_in_shared_memory_is_not_blamed_on_it() -> None:
    shm = SharedMemory(size_bytes=GIB, peak_bytes=0)
    found = the_only(process(), ending=ending(-7), shared_memory=shm)
    assert found.id == "bus-error"


def test_a_full_disk_is_named() -> None:
    text = "OSError: [Errno 28] No space left on device: '/scratch/model.pt'\n"
    found = the_only(process(), ending=ending(1, text, full_disks=("/scratch",)))
    assert "The disk is full: /scratch/model.pt" in found.title
    assert "free on /scratch" in found.detail
    shm = "OSError: [Errno 28] No space left on device: '/dev/shm/x'\n"
    assert the_only(process(), ending=ending(1, shm)).id == "shared-memory"
    quota = "OSError: [Errno 122] Disk quota exceeded: '/home/a/model.pt'\n"
    assert "quota" in the_only(process(), ending=ending(1, quota)).title


def test_a_full_disk_is_no_finding_of_a_program_that_ended_well() -> None:
    assert not findings([*look(case(process(), ending=ending(full_disks=("/boot",))))])


@pytest.mark.parametrize(("status", "id_"), [(-24, "cpu-time"), (-25, "file-size"), (128 + 24, "cpu-time")])
def test_the_signals_of_limits_name_them(status: int, id_: str) -> None:
    limits = ResourceLimits(cpu_s=5, file_size_bytes=MIB)
    found = the_only(process(limits=limits), ending=ending(status))
    assert found.id == id_
    assert ("5 s" if id_ == "cpu-time" else "1 MiB") in found.title


def test_a_worker_that_was_killed_is_told() -> None:
    text = "RuntimeError: DataLoader worker (pid(s) 7, 8) exited unexpectedly\n"
    found = the_only(process(), ending=ending(1, text))
    assert found.id == "worker-killed"
    assert found.severity == "problem"


def test_no_limit_hit_says_what_was_looked_at_and_what_could_not_be() -> None:
    answer = checks([*look(case(process(memory=points([100, 200]))))])["limits"]
    assert answer.state == "fine"
    for words in ("200 MiB", "12 open files in one process, of 1024", "no kill by the kernel"):
        assert words in answer.detail
    unseen = checks([*look(case(process(cgroup=CgroupOfProcess()), oom_kills=None))])["limits"]
    assert "is not known here" in unseen.detail
    assert checks([*look(case())])["limits"].state == "unchecked"
