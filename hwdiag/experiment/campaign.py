"""The measurements of one run: which Plans meet in which blocks, and all that came of it."""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from statistics import median
from typing import Protocol, TypeVar

from hwdiag.experiment import laboratory
from hwdiag.experiment.budget import Budget
from hwdiag.experiment.interleaved import Candidate, InterleavedBlock
from hwdiag.experiment.lever import DEFAULT, Plan
from hwdiag.experiment.model import Measurement, Phase, Workload
from hwdiag.host.model import Gpu, Host
from hwdiag.process.model import Disturbance

T = TypeVar("T")

EXCLUSIVE = ("Exclusive_Process", "Exclusive_Thread")
"""Compute modes of a GPU on which a second process fails."""
CONTEXT_BYTES = 1 << 30
"""What a process holds of a GPU's memory beside a workload's operands, roughly: CUDA's context and the libraries'."""

Progress = Callable[[str, float], None]
"""Told before each block: what runs now, and the share of the budget that is used, 0..1."""

MOST_AT_ONCE = 6
"""Processes that take turns in one block: enough to compare, few enough that a turn comes round soon."""
Most = Callable[[Sequence[Workload]], int]
"""The number of Plans that are alive at once, by what they measure."""
PROCESS_BYTES = 700 * 2**20
"""What a process with torch holds beside a workload's operands, roughly."""


def at_once(
    host: Host,
    workloads: Sequence[Workload],
    teams_of: int = 1,
    *,
    gpu: Gpu | None = None,
    device_bytes: int | None = None,
) -> int:
    """Return the number of teams of this size in one block: half of the usable memory holds them, whatever they
    measure.

    On a GPU its own memory does too, and there is one where the driver lets only one process compute on it.
    """
    if gpu is not None and gpu.compute_mode in EXCLUSIVE:
        return 1
    fit = processes_that_fit(host, workloads)
    if device_bytes is not None:
        each = CONTEXT_BYTES + max((w.bytes for w in workloads), default=0)
        fit = min(fit, int(device_bytes / 2 / each))
    return max(1, min(MOST_AT_ONCE, fit // teams_of))


def processes_that_fit(host: Host, workloads: Sequence[Workload]) -> int:
    """Return the number of processes that half of the usable memory holds; 2 where that is not known."""
    if host.usable_memory_bytes is None:
        return 2
    each = PROCESS_BYTES + max((w.bytes for w in workloads), default=0)
    return int(host.usable_memory_bytes / 2 / each)


class BlockRunner(Protocol):
    """Runs one block of candidates."""

    def run(self, candidates: Sequence[Candidate], *, device: str, seed: int) -> Disturbance:
        """Measure all workloads into the candidates' results, and return what else the machine did meanwhile."""


class Campaign:
    """The blocks of one run: where they run, how long they may, and all that was measured so far."""

    def __init__(
        self,
        python: str,
        budget: Budget,
        *,
        seed: int,
        child_timeout_s: float,
        progress: Progress | None = None,
        most: Most = lambda workloads: MOST_AT_ONCE,
        clock: Callable[[], float] = time.monotonic,
        runner: BlockRunner | None = None,
        check_all: bool = False,
        ends: bool = False,
    ) -> None:
        """``most`` gives the Plans that are alive at once; ``child_timeout_s`` bounds each answer of theirs.

        ``runner`` measures the blocks in place of agents. ``check_all``: the first of a Plan's processes checks its
        results in the screening too, for Plans that may change them. ``ends``: the budget is a deadline, at which a
        block is cut off that a busy machine made last longer.
        """
        self.python = python
        self.budget = budget
        self.progress: Progress = progress or (lambda text, share: None)
        self.most = most
        self.measurements: list[Measurement] = []
        self.seed, self._random = seed, random.Random(seed)
        self.clock, self._started = clock, clock()
        self._ids, self._blocks = itertools.count(1), itertools.count(1)
        self._runner = runner or InterleavedBlock(
            python, budget.turn, timeout_s=child_timeout_s, processes=itertools.count(1), left=self._left
        )
        self._check_all, self._ends = check_all, ends
        self._checked: set[tuple[str, str, str]] = set()
        self._failed: set[tuple[str, str, str]] = set()

    @property
    def remaining_s(self) -> float:
        """Return the seconds that are left of the budget, without its grace."""
        return self.budget.total_s - (self.clock() - self._started)

    def run(
        self,
        plans: Sequence[Plan],
        workloads: Sequence[Workload],
        phase: Phase,
        device: str = "cpu",
        only: Mapping[str, Collection[str]] | None = None,
    ) -> list[Measurement]:
        """Measure every Plan once, in fresh processes; those of one block take turns.

        Where there are too many for one block, the first of ``plans`` takes part in each, so that all others have been
        compared with it. ``only`` names the workloads of a Plan that does not do all of them, by its id.
        """
        fresh: list[Measurement] = []
        for batch in batches(plans, self.most(workloads)):
            self.progress(f"{phase}: {', '.join(plan.title for plan in batch)}", self._used())
            fresh += self._run_batch(self._random.sample(batch, len(batch)), workloads, phase, device, only or {})
        self.measurements += fresh
        return fresh

    def _run_batch(
        self,
        plans: Sequence[Plan],
        workloads: Sequence[Workload],
        phase: Phase,
        device: str,
        only: Mapping[str, Collection[str]],
    ) -> list[Measurement]:
        """Measure one batch of plans, and leave out each workload that failed before under a plan: it would fail or
        hang again."""
        candidates = {
            plan.id: Candidate(
                plan.launch,
                [
                    w
                    for w in workloads
                    if (plan.id, w.name, device) not in self._failed
                    and (plan.id not in only or w.name in only[plan.id])
                ],
                # Only what may be recommended, and what it is compared with, is worth the time of a reference.
                check=(self._check_all or phase != "screen")
                and any((plan.id, w.name, device) not in self._checked for w in workloads),
                techniques=plan.techniques,
                accuracy=plan.accuracy,
            )
            for plan in plans
        }
        fresh: list[Measurement] = []
        block = next(self._blocks)
        # Where memory holds only one process at a time they follow each other, and the noise between them is greater.
        is_together = self.most(workloads) > 1
        for batch in [candidates] if is_together else [{plan: candidate} for plan, candidate in candidates.items()]:
            disturbance = self._runner.run([*batch.values()], device=device, seed=self._random.randrange(2**31))
            fresh += self._read(batch, disturbance, block, phase, device)
        self._checked |= {(m.plan, m.workload, device) for m in fresh if m.max_error is not None}
        self._failed |= {(m.plan, m.workload, device) for m in fresh if not m.outcome.ok}
        return fresh

    def _left(self) -> float:
        """Return the seconds until a block is cut off: never, or when the budget and some grace are over."""
        return self.remaining_s + self.budget.grace_s if self._ends else math.inf

    def _used(self) -> float:
        return min(1.0, 1 - self.remaining_s / self.budget.total_s) if self.budget.total_s else 1.0

    def _read(
        self, candidates: Mapping[str, Candidate], disturbance: Disturbance, block: int, phase: Phase, device: str
    ) -> Iterator[Measurement]:
        for plan, candidate in candidates.items():
            for workload, result in candidate.results.items():
                yield Measurement(
                    id=f"m{next(self._ids):04d}",
                    plan=plan,
                    workload=workload,
                    device=device,
                    phase=phase,
                    block=block,
                    process=result.process,
                    outcome=result.outcome,
                    seconds=tuple(result.seconds),
                    latency_s=median(result.latencies) if result.latencies else None,
                    warmup=result.warmup,
                    max_error=result.max_error,
                    tolerance=result.tolerance,
                    applied=result.applied,
                    peak_rss_bytes=result.peak_rss_bytes,
                    peak_device_bytes=result.peak_device_bytes,
                    first_s=result.first_s,
                    on_device=result.on_device,
                    disturbance=disturbance,
                )


class CampaignLaboratory:
    """Measures plans beside today's way in a campaign, on some workloads of one device."""

    def __init__(self, campaign: Campaign, workloads: Sequence[Workload], device: str = "cpu") -> None:
        self.campaign, self.workloads, self.device = campaign, workloads, device

    def measure(self, plans: Sequence[Plan], phase: Phase) -> list[laboratory.Block]:
        """Measure each plan once, today's way in each block."""
        return laboratory.blocks_of(self.campaign.run([DEFAULT, *plans], self.workloads, phase, self.device))

    def clock(self) -> float:
        """Return the campaign's clock."""
        return self.campaign.clock()


def batches(plans: Sequence[T], most: int) -> list[list[T]]:
    """Return groups of at most ``most``, but of two at least, each with the first Plan in it."""
    first, *others = plans
    size = max(1, most - 1)
    return [[first, *others[i : i + size]] for i in range(0, len(others), size)] or [[first]]
