"""Variables of an observed program: what fits the processes that run side by side is no finding."""

from __future__ import annotations

from hwdiag.explain.probes.environment import look
from tests.explain.observed import case, findings, process, thread


def test_one_thread_for_each_of_two_ranks_on_two_cpus_is_right_although_both_wait_for_cpus() -> None:
    ranks = [
        process(
            pid, thread(1.0, 8.0, allowed=(0, 1)), first_allowed=(0, 1), allowed=(0, 1),
            environment={"OMP_NUM_THREADS": "1"},
        )
        for pid in (100, 200)
    ]  # fmt: skip
    assert "inherited-omp-num-threads" not in findings([*look(case(*ranks, own_allowed=(0, 1)))])
