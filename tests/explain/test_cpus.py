"""Which CPUs a program may use, its threads, its priority and its neighbours: on observations of chosen values."""

from __future__ import annotations

from typing import Any

import pytest

from hwdiag.core.finding import Finding
from hwdiag.explain.model import Case
from hwdiag.explain.probes import cpus, neighbours, priority, threads
from hwdiag.process.observation.model import CgroupOfProcess, InsideReport, Neighbour
from tests.conftest import make_host
from tests.explain.observed import case, checks, findings, process, thread

ALL = (0, 1, 2, 3)


def asked(of: Case) -> dict[str, Finding]:
    """Return what the four probes find."""
    probes = (cpus, threads, priority, neighbours)
    return findings([answer for probe in probes for answer in probe.look(of)])


def busy(pid: int = 100, count: int = 1, cpu_s: float = 9.5, wait_s: float = 0.1, **more: Any) -> Any:
    """Return a process with so many busy threads."""
    values = {key: more.pop(key) for key in ("nice", "policy") if key in more}
    mask = more.get("allowed", ALL)
    return process(
        pid, *(thread(cpu_s, wait_s, tid=pid + n, allowed=mask, **values) for n in range(count)),
        **{"first_allowed": mask, **more},
    )  # fmt: skip


# Which CPUs


def test_all_cpus_allowed_is_said_with_what_was_looked_at() -> None:
    answer = checks([*cpus.look(case(busy(count=4)))])["cpus-allowed"]
    assert answer.title == "It may run on all 4 CPUs of this host"
    assert not asked(case(busy(count=4)))


def test_a_mask_that_was_inherited_is_told_with_the_command_that_widens_it() -> None:
    found = asked(case(busy(allowed=(0,)), own_allowed=(0,)))["cpus-narrowed"]
    assert found.title.startswith(
        "It may use 1 of the 4 CPUs of this host (CPU 0): the affinity mask was narrowed before"
    )
    assert "'taskset -c 0-3 python train.py'" in found.detail
    assert "taskset -apc 0-3 100" in found.detail
    assert found.severity == "warning"


def test_a_mask_of_the_command_itself_is_told_apart() -> None:
    assert "its own command" in asked(case(busy(allowed=(0, 1))))["cpus-narrowed"].title


def test_a_cpuset_and_a_batch_system_are_named() -> None:
    group = CgroupOfProcess(path="/docker/7", cpuset=(1,))
    found = asked(case(busy(allowed=(1,), cgroup=group), own_allowed=(1,)))["cpus-narrowed"]
    assert "the cpuset of its control group /docker/7" in found.title
    assert "--cpuset-cpus" in found.detail
    env = {"SLURM_JOB_ID": "7", "SLURM_CPUS_PER_TASK": "1"}
    found = asked(case(busy(allowed=(1,), environment=env), own_allowed=(1,)))["cpus-narrowed"]
    assert "Slurm gave the job no more" in found.title
    assert "--cpus-per-task" in found.detail


def test_a_mask_that_came_after_the_start_names_the_variable_or_the_call() -> None:
    env = {"OMP_PROC_BIND": "true"}
    found = asked(case(busy(first_allowed=ALL, allowed=(0,), environment=env)))["cpus-narrowed"]
    assert "OMP_PROC_BIND=true" in found.title
    assert "unset OMP_PROC_BIND" in found.detail
    found = asked(case(busy(first_allowed=ALL, allowed=(0,))))["cpus-narrowed"]
    assert "sched_setaffinity" in found.title
    assert "after the start" in found.title


def test_ranks_that_have_a_part_of_the_cpus_each_are_not_narrowed() -> None:
    ranks = [busy(pid, 2, allowed=mask) for pid, mask in ((100, (0, 1)), (200, (2, 3)))]
    assert not asked(case(*ranks))


def test_threads_bound_to_one_cpu_each_are_no_fault() -> None:
    bound = [thread(9, 0.1, tid=100 + n, allowed=(n,)) for n in range(4)]
    env = {"OMP_PROC_BIND": "close"}
    assert not asked(case(process(100, *bound, allowed=(0,), environment=env)))


def test_workers_that_inherit_one_cpu_are_told_with_the_variable_that_bound_them() -> None:
    env = {"GOMP_CPU_AFFINITY": "0-3"}
    main = process(
        100, *[thread(4, 3, tid=100 + n, allowed=(n,)) for n in range(4)], first_allowed=ALL, allowed=(0,),
        environment=env,
    )  # fmt: skip
    workers = [busy(200 + n, cpu_s=3, wait_s=6, allowed=(0,), worker=True, environment=env) for n in range(2)]
    found = asked(case(main, *workers))["threads-share-a-cpu"]
    assert found.title.startswith("3 busy threads share CPU 0, and may not use CPU 1-3: GOMP_CPU_AFFINITY binds")
    assert "unset GOMP_CPU_AFFINITY" in found.detail
    assert "worker_init_fn" in found.detail


def test_a_quota_that_stops_it_is_told_with_threads_to_start_and_one_that_does_not_is_fine() -> None:
    group = CgroupOfProcess(path="/pod", cpu_quota=1.0, throttled_s=12.0)
    found = asked(case(busy(count=4, cpu_s=2.5, wait_s=7, cgroup=group)))
    assert set(found) == {"cpu-quota"}
    assert "CPU quota of 1 CPU stopped it for 12.0 s of CPU time in 10.0 s" in found["cpu-quota"].title
    assert "OMP_NUM_THREADS=1" in found["cpu-quota"].detail
    calm = CgroupOfProcess(path="/pod", cpu_quota=1.0, throttled_s=0.01)
    answers = [*cpus.look(case(busy(cgroup=calm)))]
    assert checks(answers)["cpu-quota"].title == "Its quota of 1 CPU did not stop it"


def test_steal_is_told() -> None:
    found = asked(case(busy(count=4), machine={"cpu.steal": 22.0, "cpu.use": 90.0}))
    assert "22 % of the CPU time" in found["cpu-steal"].title


# Threads


def test_several_processes_with_all_threads_each_are_told_with_their_part() -> None:
    ranks = [busy(100 * n, 4, cpu_s=2.4, wait_s=7.0) for n in range(1, 5)]
    found = asked(case(*ranks, machine={"cpu.use": 100.0}))["too-many-threads"]
    assert found.title.startswith("16 busy threads in 4 processes share 4 CPUs: they waited for a CPU 74 % of the time")
    assert "OMP_NUM_THREADS=1" in found.detail


def test_one_process_with_more_threads_than_cpus_is_told() -> None:
    found = asked(case(busy(count=16, cpu_s=2.4, wait_s=7.0), machine={"cpu.use": 100.0}))["too-many-threads"]
    assert "16 busy threads in 1 process" in found.title
    assert "OMP_NUM_THREADS=4" in found.detail


def test_processes_that_come_one_after_another_are_not_counted_together() -> None:
    children = [busy(100 + n, cpu_s=0.3, wait_s=0.6, began_s=float(n), ended_s=n + 1.0) for n in range(9)]
    assert "too-many-threads" not in asked(case(*children))
    epochs = [
        busy(200 + 10 * n + k, cpu_s=0.9, wait_s=2.0, worker=True, allowed=(0,), began_s=3.0 * n, ended_s=3.0 * n + 3)
        for n in range(3)
        for k in range(1)
    ]
    assert "threads-share-a-cpu" not in asked(case(busy(100, cpu_s=2, wait_s=0.1), *epochs))


def test_threads_that_only_wait_for_neighbours_are_not_too_many() -> None:
    other = Neighbour(name="render-job", processes=3, cpus=2.5, command="render", user="ann")
    found = asked(case(busy(count=4, cpu_s=4, wait_s=5.5), neighbours=(other,), machine={"cpu.use": 100.0}))
    assert set(found) == {"neighbours"}


def test_what_waits_for_other_programs_wants_no_more_cpus() -> None:
    """Two ranks that mostly slept were said to have too many threads, on a host that others kept busy."""
    other = Neighbour(name="tests", processes=40, cpus=3.6, command="tests", user="ann")
    ranks = [busy(100 + n, count=2, cpu_s=1.0, wait_s=8.0) for n in range(3)]
    found = asked(case(*ranks, neighbours=(other,), machine={"cpu.use": 100.0}))
    assert "too-many-threads" not in found
    assert "too-many-threads" in asked(case(*[busy(100 + n, count=2, cpu_s=6.0, wait_s=9.0) for n in range(3)]))


def test_one_thread_while_others_are_idle_names_what_set_it() -> None:
    env = {"OMP_NUM_THREADS": "1"}
    found = asked(case(busy(environment=env), machine={"cpu.use": 25.0}))["too-few-threads"]
    assert found.title == "torch computes with 1 thread and may use 4 CPUs: OMP_NUM_THREADS=1 was inherited"
    assert "env -u OMP_NUM_THREADS" in found.detail
    limit = asked(case(busy(environment={"OMP_THREAD_LIMIT": "1", "OMP_NUM_THREADS": "4"})))["too-few-threads"]
    assert "OMP_THREAD_LIMIT=1" in limit.title
    inside = InsideReport(pid=100, command=("python",), state="written", facts={"threads": 1})
    assert "the program set that" in asked(case(busy(), inside=(inside,)))["too-few-threads"].title


BLAS = ("/opt/venv/lib/python3.11/site-packages/numpy.libs/libscipy_openblas64_-1.so",)


@pytest.mark.parametrize(
    ("libraries", "variable", "told"),
    [
        (BLAS, "OPENBLAS_NUM_THREADS", True),
        (BLAS, "OMP_NUM_THREADS", True),
        (BLAS, "MKL_NUM_THREADS", False),
        ((), "OMP_NUM_THREADS", False),
    ],
)
def test_one_thread_of_a_program_without_torch_is_a_note_where_numpy_could_use_more(
    libraries: tuple[str, ...], variable: str, told: bool
) -> None:
    """Of a program in plain Python, torch was said to compute with one thread."""
    found = asked(case(busy(torch=False, libraries=libraries, environment={variable: "1"})))
    assert ("too-few-threads" in found) == told
    if told:
        assert found["too-few-threads"].severity == "note"
        assert f"OpenBLAS may compute with 1 thread and may use 4 CPUs: {variable}=1" in found["too-few-threads"].title


def test_a_program_whose_threads_are_not_known_to_be_few_is_let_alone() -> None:
    assert not asked(case(busy(), machine={"cpu.use": 25.0}))
    env = {"OMP_NUM_THREADS": "1"}
    assert not asked(case(*(busy(100 + n, environment=env) for n in range(4)))), "ranks of one thread each"
    assert not asked(case(busy(environment=env, cpu_s=1))), "it hardly computes"
    assert not asked(case(busy(environment=env, torch=False), busy(200, 3)))


def test_more_workers_than_cpus_are_a_note_at_most() -> None:
    main = busy(100, 4, cpu_s=2, wait_s=1)
    workers = [busy(200 + n, cpu_s=2, wait_s=3, worker=True) for n in range(8)]
    assert [f.severity for f in asked(case(main, *workers)).values()] == ["note"]


# Priority


@pytest.mark.parametrize(("values", "words"), [({"nice": 19}, "nice 19"), ({"policy": "idle"}, "SCHED_IDLE")])
def test_a_low_priority_is_a_warning_where_it_cost_something_and_a_note_where_not(
    values: dict[str, Any], words: str
) -> None:
    cost = asked(case(busy(count=4, cpu_s=3, wait_s=6, **values)))["low-priority"]
    assert words in cost.title
    assert cost.severity == "warning"
    assert asked(case(busy(count=4, **values)))["low-priority"].severity == "note"


def test_a_low_weight_counts_where_it_waited() -> None:
    group = CgroupOfProcess(path="/batch", cpu_weight=2)
    assert "weight of 2" in asked(case(busy(count=4, cpu_s=3, wait_s=6, cgroup=group)))["low-priority"].title
    assert not asked(case(busy(count=4, cgroup=group)))


# Neighbours


def test_neighbours_are_named_with_their_cpus_and_a_command_that_lowers_them() -> None:
    others = (
        Neighbour(name="render-job", processes=3, cpus=1.6, command="render", user="ann"),
        Neighbour(name="a b; rm -rf", processes=1, cpus=0.5),
    )
    found = asked(case(busy(count=4, cpu_s=4, wait_s=5.5), neighbours=others, machine={"cpu.use": 99.0}))["neighbours"]
    assert "Other programs use 2.1 of the 4 CPUs: render-job (3 processes, 1.6 CPUs, of ann)" in found.title
    assert "renice -n 19 -p $(pgrep -x render-job)" in found.detail
    odd = asked(case(busy(count=4, cpu_s=4, wait_s=5), neighbours=others[1:] * 3, machine={"cpu.use": 99.0}))
    assert "pgrep" not in odd["neighbours"].detail


def test_neighbours_that_leave_room_are_no_finding() -> None:
    other = (Neighbour(name="desktop", processes=1, cpus=1.0),)
    calm = case(busy(count=2), neighbours=other, machine={"cpu.use": 75.0})
    assert not asked(calm)
    assert "desktop" in checks([*neighbours.look(calm)])["neighbours"].detail


def test_waiting_without_a_known_cause_is_told_and_little_of_it_is_fine() -> None:
    found = asked(case(busy(count=4, cpu_s=5, wait_s=3)))
    assert set(found) == {"cpu-waiting"}
    unknown = case(process(100, thread(9.0, None)))
    assert checks([*cpus.look(unknown)])["cpu-waiting"].state == "unchecked"
    assert checks([*cpus.look(case())])["cpus"].state == "unchecked"


def test_a_host_of_one_cpu_has_nothing_to_narrow() -> None:
    one = Case(make_host(cores_per_node=1), case(busy(allowed=(0,)), own_allowed=(0,)).program)
    assert not asked(one)


def test_a_program_that_only_started_is_not_judged_by_its_waiting() -> None:
    other = (Neighbour(name="render-job", processes=3, cpus=3.5),)
    short = case(busy(cpu_s=0.1, wait_s=0.4, nice=10), neighbours=other, seconds=0.6, machine={"cpu.use": 100.0})
    assert not asked(short)
    assert checks([*neighbours.look(short)])["neighbours"].state == "unchecked"
    assert checks([*cpus.look(short)])["cpu-waiting"].state == "unchecked"
