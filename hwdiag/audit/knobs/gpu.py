"""NVIDIA GPUs. All of these are forgotten at a reboot, or when the driver unloads, except ECC."""

from __future__ import annotations

from hwdiag.audit.kinds.gpu import GpuFact
from hwdiag.audit.kinds.unit import UnitState
from hwdiag.audit.kinds.unread import Unread
from hwdiag.audit.knobs.model import Knob, KnobCase
from hwdiag.audit.knobs.rules import equals, fixed, given
from hwdiag.host.model import Gpu

SMI = "nvidia-smi manual"


def gpu_of(case: KnobCase) -> Gpu | None:
    """Return the GPU that the setting belongs to."""
    return next((g for g in case.host.gpus if f"GPU {g.index}" == case.setting.target), None)


def driver_unloads(case: KnobCase) -> str | None:
    """Return why the driver forgets a GPU's settings: without a client or persistence mode it unloads the GPU."""
    if case.role == "desktop" or case.now != "Disabled":
        return None
    return "nothing keeps the driver loaded between jobs here: each start waits for it, and it forgets its settings"


def lower_limit(case: KnobCase) -> str | None:
    """Return a power limit within what the GPU allows, and not above what its maker set."""
    gpu = gpu_of(case)
    if gpu is None or case.value is None or gpu.power_min_w is None or gpu.power_limit_w is None:
        return None
    most = min(w for w in (gpu.power_max_w, gpu.power_default_w, gpu.power_limit_w) if w is not None)
    watts = float(case.value)
    return f"{watts:.2f}" if gpu.power_min_w <= watts <= most else None


def one_process_only(case: KnobCase) -> str | None:
    """Return a compute mode that keeps a second process away, on a machine that has several."""
    if case.now in ("", "Default") or (case.now == "Exclusive_Process" and case.role == "headless"):
        return None
    return f"the compute mode is {case.now}: a second CUDA process, such as a notebook beside a training, is refused"


KNOBS = (
    Knob(
        id="gpu.persistence",
        group="gpu",
        what="Keep the driver loaded while no program uses the GPU.",
        source=GpuFact(fact="persistence", field="persistence_mode"),
        known="It saves 1 to 3 s at each start and keeps clock and power settings between jobs. It does nothing while "
        "a desktop or another program holds the GPU. The supported way to keep it is nvidia-persistenced.",
        evidence="documented",
        link="https://docs.nvidia.com/deploy/driver-persistence/",
        risk="Slightly more power drawn while idle.",
        wanted=fixed("Enabled"),
        takes="Enabled|Disabled",
        takes_text="Enabled or Disabled",
        trigger=driver_unloads,
        persists="unit",
    ),
    Knob(
        id="gpu.persistenced",
        group="gpu",
        what="Start NVIDIA's daemon that keeps the driver loaded, at each boot.",
        source=UnitState(unit="nvidia-persistenced.service"),
        known="The supported way to have persistence mode after a reboot. Some distributions start it by themselves, "
        "and it cannot be enabled there.",
        evidence="documented",
        link="https://docs.nvidia.com/deploy/driver-persistence/",
        risk="Slightly more power drawn while idle.",
        wanted=fixed("enabled"),
        takes="enabled|disabled",
        takes_text="enabled or disabled",
        persists="enable",
        by_name=True,
    ),
    Knob(
        id="gpu.power_limit",
        group="gpu",
        what="The most power, in watts, that the GPU may draw.",
        source=GpuFact(fact="power_limit_w", field="power.limit"),
        known="Lowering it trades a little speed for much heat and noise; it is never raised here.",
        evidence="documented",
        link=f"{SMI}, --power-limit",
        risk="Slower under full load.",
        wanted=lower_limit,
        takes=r"\d{1,4}(\.\d{1,2})?",
        takes_text="watts, from the least that the GPU allows to its present limit",
        after=("gpu.persistence",),
        persists="unit",
    ),
    Knob(
        id="gpu.clock_lock",
        group="gpu",
        what="The lowest and highest SM clock, in MHz, that is asked for.",
        source=GpuFact(fact="sm_max_mhz", field="clocks.max.sm", write_only="lock"),
        known="A request within power and temperature limits, for benchmarks that repeat: lock at or below the clock "
        "that holds under load. Locking the maximum makes throttling more likely, not less, and removes no power cap.",
        evidence="documented",
        link=f"{SMI}, --lock-gpu-clocks",
        risk="Heat while idle. The driver does not report the lock: undo resets it to the driver's default.",
        wanted=given,
        takes=r"\d{2,5},\d{2,5}",
        takes_text="LOWEST,HIGHEST in MHz, such as 1200,1800",
        after=("gpu.persistence",),
        persists="unit",
    ),
    Knob(
        id="gpu.boost_slider",
        group="gpu",
        what="Shift power from the memory's clock to the cores' (vboost).",
        source=GpuFact(fact="sm_max_mhz", field="clocks.max.sm", write_only="vboost"),
        known="For some data-centre GPUs NVIDIA's own benchmarks set it, for others reports find no gain; nothing is "
        "known for a GB10. If it slows the memory, text generation gets slower. Choose it to measure, where "
        "'nvidia-smi boost-slider -l' shows a range.",
        evidence="folklore",
        link="https://nvidia.github.io/TensorRT-LLM/performance/perf-benchmarking.html",
        risk="Memory-bound work may get slower.",
        wanted=given,
        takes=r"\d",
        takes_text="a step of the range that 'nvidia-smi boost-slider -l' shows",
        after=("gpu.persistence",),
        persists="unit",
    ),
    Knob(
        id="gpu.accounting",
        group="gpu",
        what="Let the driver keep statistics of each process that used the GPU.",
        source=GpuFact(fact="accounting", field="accounting.mode"),
        known="For monitoring. It makes nothing faster.",
        evidence="documented",
        link=f"{SMI}, --accounting-mode",
        risk="A little memory.",
        wanted=fixed("Enabled"),
        takes="Enabled|Disabled",
        takes_text="Enabled or Disabled",
        after=("gpu.persistence",),
        persists="unit",
        by_name=True,
    ),
    Knob(
        id="gpu.compute_mode",
        group="gpu",
        what="How many processes may use CUDA on the GPU at a time.",
        source=GpuFact(fact="compute_mode", field="compute_mode"),
        known="One process only suits batch nodes with a scheduler. Notebooks beside trainings, workers that use CUDA "
        "and several ranks on one GPU fail with it.",
        evidence="documented",
        link=f"{SMI}, --compute-mode",
        risk="The second process is refused.",
        wanted=fixed("Exclusive_Process"),
        takes="Default|Exclusive_Process|Prohibited",
        takes_text="Default, Exclusive_Process or Prohibited",
        objection=one_process_only,
        after=("gpu.persistence",),
        persists="unit",
        by_name=True,
    ),
    Knob(
        id="gpu.ecc",
        group="gpu",
        what="Whether the GPU's memory corrects errors, from the next reset on.",
        source=GpuFact(fact="ecc_pending", field="ecc.mode.pending"),
        known="Without it some older data-centre and workstation GPUs have more memory and bandwidth; HBM2 and newer "
        "lose nothing by it.",
        evidence="documented",
        link=f"{SMI}, --ecc-config",
        risk="Without it, a flipped bit goes unnoticed. It acts after a reset of the GPU or a reboot.",
        wanted=given,
        takes="Enabled|Disabled",
        takes_text="Enabled or Disabled",
        objection=equals("Disabled", because="errors in the GPU's memory are not corrected, which saves little today"),
        severity="note",
        persists="device",
    ),
    Knob(
        id="gpu.application_clocks",
        group="gpu",
        what="Application clocks (nvidia-smi -ac).",
        source=Unread(why="deprecated by the driver"),
        known="Deprecated and announced to be removed; locked clocks took their place.",
        evidence="documented",
        link=f"{SMI}, --applications-clocks",
    ),
    Knob(
        id="gpu.auto_boost",
        group="gpu",
        what="Automatic boost (nvidia-smi --auto-boost-default, CUDA_AUTO_BOOST).",
        source=Unread(why="for GPUs older than Pascal"),
        known="Kepler and Maxwell only; on all newer GPUs it does nothing.",
        evidence="documented",
        link="NVML API reference, auto boosted clocks",
    ),
)
