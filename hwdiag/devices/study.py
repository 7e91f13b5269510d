"""One study: the devices, their kernels and precisions, the techniques on the reference nets, batches and targets."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from hwdiag.core.choices import BudgetName
from hwdiag.core.errors import HwdiagError
from hwdiag.core.text import now
from hwdiag.devices.batch import SHARE, search_batches
from hwdiag.devices.dataloader_fed import feed
from hwdiag.devices.discovery import find, gpu_of, is_gone, is_left
from hwdiag.devices.gains import gains, measure_gains
from hwdiag.devices.kernels import LONGEST_S, kernels, large_products, precisions
from hwdiag.devices.model import (
    Absent,
    BatchSearch,
    DataloaderFed,
    Device,
    Step,
    Study,
    Sustained,
    thinned,
    thinned_points,
)
from hwdiag.devices.nearness import copies, near
from hwdiag.devices.nets import NETS, decoding, tasks
from hwdiag.devices.targets import COUNTED, targets
from hwdiag.devices.techniques import applies
from hwdiag.experiment.budget import Budget
from hwdiag.experiment.campaign import Campaign, Most, Progress, at_once
from hwdiag.experiment.ceilings import ceilings
from hwdiag.experiment.estimates import estimates
from hwdiag.experiment.interleaved import Candidate, InterleavedBlock, Turn
from hwdiag.experiment.judge import Claim
from hwdiag.experiment.lever import DEFAULT
from hwdiag.experiment.model import Measurement, Workload
from hwdiag.experiment.net_count import Count, count_nets
from hwdiag.experiment.techniques import TECHNIQUES, Mode
from hwdiag.host.model import Host

MODES: tuple[Mode, ...] = ("inference", "training")


@dataclass(frozen=True)
class StudyEffort:
    """The amount that a budget measures."""

    blocks: int
    """Processes of the profile and of the precisions, on each device."""
    blocks_s: float
    """Time for them; the first always runs to its end."""
    nets: tuple[str, ...]
    """On which techniques are tried, unless others are named."""
    trained: tuple[str, ...]
    gains_s: float
    """For the techniques, on each device."""
    rounds: int
    """Blocks of the screening."""
    slow_rounds: int
    """The same of techniques that compile first."""
    slow_on: int
    """Workloads on which they are tried."""
    slowest_s: float
    """Of a batch, beyond which no larger one is tried; 0 leaves the batches out."""
    batches_s: float = 0
    """For the batches, in each mode on each device."""
    sustain_s: float = 4
    """Seconds for which a product goes on without a rest, on each accelerator."""
    dataloader_fed: int = 0
    """Processes of a training that a DataLoader feeds, on each device."""


EFFORTS: dict[BudgetName, StudyEffort] = {
    "quick": StudyEffort(1, 20, ("resnet18",), (), 25, 1, 0, 0, 0),
    "standard": StudyEffort(3, 60, ("resnet18", "gpt2"), ("resnet18",), 110, 2, 2, 1, 0.25, 30, 12, 2),
    "thorough": StudyEffort(6, 300, tuple(NETS), tuple(NETS), 2400, 3, 3, 99, 2.0, 300, 60, 5),
}
PROFILE = Turn(warmup_s=0.1, window_s=0.05, windows=3, min_samples=1)
GAINS = Turn(warmup_s=0.1, window_s=0.05, windows=4, min_samples=1)
COMPARED = ("mobilenetv2", "vit-b")
"""With ResNet-18, which guides call friendly to a CPU and which not: so far apart that one process tells."""
FED_S = 1.5
"""Of the training that is fed, at least."""
COMPILE_S = 300.0
"""For a first call that compiles, on an old CPU."""


@dataclass
class Measuring:
    """A study in the making: each step is measured when it is first asked for."""

    python: str
    host: Host
    budget: BudgetName = "standard"
    nets: tuple[str, ...] = ()
    minutes: float | None = None
    min_effect: float = 0.03
    seed: int = 1
    timeout_s: float = 120.0
    progress: Progress = lambda text, share: None
    study: Study = field(init=False)

    def __post_init__(self) -> None:
        self.progress("looking for devices", 0)
        software, devices, absent = find(self.python, self.host, self.timeout_s)
        self.study = Study(
            started_at=now(),
            cpu=self.host.cpu.model or "unknown",
            software=software.torch_version or "none",
            budget=self.budget,
            minutes=self.minutes,
            seed=self.seed,
            min_effect=self.min_effect,
            devices=devices,
            absent=absent,
            plans=(DEFAULT, *(t.plan for t in TECHNIQUES)),
        )

    @property
    def effort(self) -> StudyEffort:
        return EFFORTS[self.budget]

    def profile(self) -> Study:
        """Measure kernels and precisions on each device, and return the study."""
        for device in self.study.devices:
            self._profile(device, compared=len(self.study.devices) > 1)
        known = [w for w in self.study.workloads if w.family in ("compute", "memory")]
        names = {w.name for w in known}
        seen = [m for m in self.study.measurements if m.workload in names]
        return self._update(ceilings=ceilings(seen, known))

    def _profile(self, device: Device, *, compared: bool) -> None:
        """Measure so many blocks, or as many as the time suffices for; what takes long on a CPU is measured once, if
        there is time left."""
        nets = [] if self.budget == "quick" else [NETS["resnet18"].workload("inference"), decoding()]
        todo = [*kernels(self.host, device, compared=compared), *precisions(device), *nets]
        once = [NETS[name].workload("inference") for name in COMPARED if nets and device.is_cpu]
        turn = PROFILE if device.is_cpu else replace(PROFILE, on_device=True)
        campaign = self._campaign(turn, self.effort.blocks_s)
        beside = near(self.host, gpu_of(self.host, device))
        plans = [DEFAULT] if beside is None else [DEFAULT, beside]
        only = {} if beside is None else {beside.id: copies(todo)}
        self._update(plans=tuple(dict.fromkeys((*self.study.plans, *plans))))
        block_s = 0.0
        for _ in range(self.effort.blocks):
            before = campaign.remaining_s
            campaign.run(plans, todo, "device", device.name, only=only)
            block_s = before - campaign.remaining_s
            if self._went_away(device, campaign.measurements, "profile") or campaign.remaining_s < block_s:
                break
        if device.is_cpu:
            larger = self._larger(campaign.measurements, todo)
            once = [*larger, *(once if campaign.remaining_s > block_s else ())]
            if once:
                campaign.run([DEFAULT], once, "device", device.name)
        self._keep([*todo, *once], campaign.measurements)
        if not device.is_cpu and device in self.study.devices:
            self._update(sustained=(*self.study.sustained, self._sustained(device)))

    def _sustained(self, device: Device) -> Sustained:
        """Let a product go on for seconds: in bf16, or in float32 where that fails."""
        self.progress(f"a product on {device.name} that goes on", 0)
        failed = self.study.failures(device.name)
        known = {w.what: w for w in precisions(device)}
        workload = known["fp32"] if known["bf16"].name in failed else known["bf16"]
        turn = Turn(warmup_s=0, window_s=0, windows=0, min_samples=1, sustain_s=self.effort.sustain_s)
        candidate = Candidate(DEFAULT.launch, [workload], check=False)
        block = InterleavedBlock(self.python, turn, timeout_s=self.timeout_s)
        gpus = block.run([candidate], device=device.name, seed=self.seed).gpus
        mine, result = gpu_of(self.host, device), candidate.results[workload.name]
        return Sustained(
            device=device.name,
            workload=workload.name,
            points=thinned_points(result.sustained),
            gpu=next((g for g in gpus if mine is not None and g.index == mine.index), None),
            outcome=result.outcome,
        )

    def _larger(self, measurements: Sequence[Measurement], known: Sequence[Workload]) -> list[Workload]:
        """Return larger matrix products for the CPU than those measured, if it has time for them."""
        flops = {w.name: w.flops for w in known if w.kind == "matmul"}
        rates = [flops[m.workload] / m.median_s for m in measurements if m.workload in flops and m.outcome.ok]
        fits, left_out = large_products(max(rates), self.budget) if rates else ([], {})
        for title, takes in left_out.items():
            why = f"one takes some {takes:.2g} s, and the budget {self.budget} has {LONGEST_S[self.budget]:g} for one"
            self._absent(f"{title}, on the CPU", why, "profile")
        return fits

    def techniques(self) -> Study:
        """Measure each technique on the reference nets, on each device, and return the study."""
        planned: list[Claim] = []
        workloads: dict[str, Workload] = {}
        with compiled_code() as env:
            known = [t.model_copy(update={"env": {**env, **t.env}}) if t.slow_start else t for t in TECHNIQUES]
            for device in self.study.devices:
                todo = self._tasks(device)
                workloads |= {w.name: w for w in todo}
                campaign = self._campaign(GAINS, self._gains_s(), most=partial(self._at_once, device))
                effort = self.effort
                rounds = {"rounds": effort.rounds, "slow_rounds": effort.slow_rounds, "slow_on": effort.slow_on}
                planned += measure_gains(
                    campaign, device, todo, techniques=known, devices=len(self.study.devices), **rounds
                )
                self._went_away(device, campaign.measurements, "techniques")
                self._no_turn(device, todo, campaign.measurements)
                self._keep(todo, campaign.measurements)
        found_gains = gains(
            self.study.measurements, tuple(workloads.values()), self.study.devices, planned, self.min_effect
        )
        return self._update(gains=found_gains)

    def _no_turn(self, device: Device, todo: Sequence[Workload], measurements: Sequence[Measurement]) -> None:
        """Say which techniques were left out for want of time."""
        ran = {(m.plan, m.workload) for m in measurements}
        for t in TECHNIQUES:
            on = todo[: self.effort.slow_on if self.effort.slow_rounds else 0] if t.slow_start else todo
            left = [w.name for w in on if applies(t, w, device) and (t.name, w.name) not in ran]
            if left:
                self._absent(f"{t.title} on {', '.join(left)}", "the time was up; --minutes gives more", "techniques")

    def batches(self) -> Study:
        """Measure batch sizes on each device, and return the study."""
        found: list[BatchSearch] = []
        usable = self.host.usable_memory_bytes
        for device in self.study.devices if self.effort.slowest_s else ():
            if device.unified_memory:
                why = "GPU and CPU share their memory: one batch too many freezes the host instead of failing"
                self._absent(f"batch sizes on {device.title}", why, "batches")
                continue
            for mode in MODES:
                self.progress(f"batch sizes on {device.name}, {mode}", 0)
                limit = int(SHARE * usable) if usable is not None and device.is_cpu else None
                found.append(
                    search_batches(
                        self.python, "resnet18", mode, device, limit_bytes=limit, slowest_s=self.effort.slowest_s,
                        most_s=self.effort.batches_s, timeout_s=self.timeout_s, seed=self.seed,
                    )
                )  # fmt: skip
        return self._update(batches=tuple(found))

    def targets(self) -> Study:
        """Measure the guide's targets, and return the study."""
        devices = self.study.devices if self.effort.dataloader_fed else ()
        self._update(dataloader_fed=tuple(map(self._dataloader_fed, devices)))
        return self._update(targets=targets(self.study, self._counted()), finished_at=now())

    def _dataloader_fed(self, device: Device) -> DataloaderFed:
        self.progress(f"a training on {device.name} that a DataLoader feeds", 0)
        return feed(
            self.python, device, cpus=len(self.host.usable_cpus), processes=self.effort.dataloader_fed, seconds=FED_S,
            timeout_s=self.timeout_s,
        )  # fmt: skip

    def _counted(self) -> dict[str, Count]:
        """Return the operations of the targets' nets; none where that interpreter has no transformers."""
        try:
            return dict(zip(COUNTED, count_nets(self.python, list(COUNTED.values())), strict=True))
        except HwdiagError as error:
            self._absent("what bounds the targets", str(error), "targets")
            return {}

    def _tasks(self, device: Device) -> tuple[Workload, ...]:
        inferred, trained = self.nets or self.effort.nets, self.nets or self.effort.trained
        return (*tasks(inferred, ("inference",), device), *tasks(trained, ("training",), device))

    def _at_once(self, device: Device, todo: Sequence[Workload]) -> int:
        own = None if device.is_cpu or device.unified_memory else device.memory_bytes
        return at_once(self.host, todo, gpu=gpu_of(self.host, device), device_bytes=own)

    def _gains_s(self) -> float:
        return self.effort.gains_s if self.minutes is None else self.minutes * 60

    def _campaign(self, turn: Turn, seconds: float, most: Most = lambda workloads: 1) -> Campaign:
        budget = Budget(total_s=seconds, noise_blocks=0, rounds=0, most_pairs=0, finalists=0, turn=turn)
        timeout_s = max(self.timeout_s, COMPILE_S)
        return Campaign(
            self.python, budget, seed=self.seed, child_timeout_s=timeout_s, progress=self.progress, most=most,
            runner=InterleavedBlock(self.python, turn, timeout_s=timeout_s), check_all=True,
        )  # fmt: skip

    def _went_away(self, device: Device, measurements: Sequence[Measurement], step: Step) -> bool:
        """Return whether a device went away. It is not used any more then, and one line says why."""
        gone = next((m.outcome for m in measurements if is_gone(m.outcome)), None)
        if gone is None or device.is_cpu or is_left(self.python, device, self.timeout_s):
            return False
        self._absent(device.title, f"it went away: {gone.detail}", step)
        self._update(devices=tuple(d for d in self.study.devices if d != device))
        return True

    def _absent(self, what: str, why: str, step: Step) -> None:
        self._update(absent=(*self.study.absent, Absent(what=what, why=why, step=step)))

    def _keep(self, workloads: Sequence[Workload], measurements: Sequence[Measurement]) -> None:
        """Take what was measured into the study, at most ``MOST_SAMPLES`` of each process, numbered through."""
        study = self.study
        first = len(study.measurements) + 1
        slim = [
            m.model_copy(update={"id": f"m{first + n:04d}", "seconds": thinned(m.seconds), "applied": None})
            for n, m in enumerate(measurements)
        ]
        known = {w.name: w for w in (*study.workloads, *workloads)}
        self._update(
            workloads=tuple(known.values()),
            measurements=(*study.measurements, *slim),
            estimates=estimates([*study.measurements, *slim]),
        )

    def _update(self, **values: object) -> Study:
        self.study = self.study.model_copy(update=values)
        return self.study


@contextmanager
def compiled_code() -> Iterator[dict[str, str]]:
    """Yield an empty cache of compiled code, so that the first call of the first process is a cold one."""
    folder = tempfile.mkdtemp(prefix="hwdiag-inductor-")
    try:
        yield {"TORCHINDUCTOR_CACHE_DIR": folder}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
