"""Clock and idle states of the CPU. Their files are absent in most virtual machines."""

from __future__ import annotations

from hwdiag.audit.kinds.file import Files
from hwdiag.audit.kinds.idle_state import IdleStates
from hwdiag.audit.knobs.model import Knob, KnobCase
from hwdiag.audit.knobs.rules import equals, fixed, symptom
from hwdiag.host.settings import BOOST, CPU, CPU_POLICY, GOVERNOR, NO_TURBO, POLICY

IDLE = f"{CPU}/cpu*/cpuidle/state*"
PM = "https://docs.kernel.org/admin-guide/pm"


def of_policies(name: str) -> Files:
    """Return a file of each group of CPUs that share a clock."""
    return Files(path=f"{POLICY}/{name}", older=f"{CPU_POLICY}/{name}")


def deeper_than_given(case: KnobCase) -> str | None:
    """Disable the states that take longer to wake up from than the person allows; never the shallowest one."""
    latency = case.beside("latency") or ""
    if case.value is None or not latency.isdecimal() or case.setting.target.endswith("state0"):
        return None
    return "1" if int(latency) > int(case.value) else None


KNOBS = (
    Knob(
        id="cpu.governor",
        group="cpu",
        what="Who chooses the CPU's clock.",
        source=Files(path=GOVERNOR[0], older=GOVERNOR[1]),
        known="'performance' asks for the highest clock all the time. It helps where the CPU was seen to run below its "
        "clock while it computed; otherwise modern drivers are there within milliseconds.",
        evidence="documented",
        link=f"{PM}/cpufreq.html",
        risk="More heat, noise and power; on a chip that shares its power with a GPU, less is left for the GPU.",
        wanted=fixed("performance"),
        takes="[a-z]{3,20}",
        takes_text="a governor of scaling_available_governors",
        listed_in="scaling_available_governors",
        trigger=symptom("cpu-below-clock"),
        beside=(of_policies("scaling_available_governors"),),
        disturbs=("energy_performance_preference",),
        persists="unit",
    ),
    Knob(
        id="cpu.energy_preference",
        group="cpu",
        what="The balance of speed and power, where the CPU chooses its clock itself.",
        source=of_policies("energy_performance_preference"),
        known="With intel_pstate and amd-pstate in active mode this counts, and the governor only sets its extremes.",
        evidence="documented",
        link=f"{PM}/intel_pstate.html",
        risk="More heat, noise and power.",
        wanted=fixed("performance"),
        takes="[a-z_]{3,24}",
        takes_text="a word of energy_performance_available_preferences",
        listed_in="energy_performance_available_preferences",
        trigger=symptom("cpu-below-clock"),
        beside=(of_policies("energy_performance_available_preferences"),),
        after=("cpu.governor",),
        persists="unit",
    ),
    Knob(
        id="cpu.boost",
        group="cpu",
        what="Whether the CPU may run above its base clock.",
        source=Files(path=BOOST),
        known="Off, it caps every core at the base clock.",
        evidence="documented",
        link=f"{PM}/cpufreq.html",
        risk="More heat and power.",
        wanted=fixed("1"),
        takes="[01]",
        takes_text="0 or 1",
        objection=equals("0", because="boost is off: no core may run above its base clock"),
        severity="note",
        persists="unit",
    ),
    Knob(
        id="cpu.no_turbo",
        group="cpu",
        what="The same for intel_pstate, the other way round.",
        source=Files(path=NO_TURBO),
        known="1 caps every core at the base clock.",
        evidence="documented",
        link=f"{PM}/intel_pstate.html",
        risk="More heat and power.",
        wanted=fixed("0"),
        takes="[01]",
        takes_text="0 or 1",
        objection=equals("1", because="turbo is off: no core may run above its base clock"),
        severity="note",
        persists="unit",
    ),
    Knob(
        id="cpu.idle_latency",
        group="cpu",
        what="The longest time, in microseconds, that a core may take to wake up: deeper idle states are disabled.",
        source=IdleStates(path=f"{IDLE}/disable"),
        known="For services that answer within microseconds and measured their wake-up. States are chosen by the "
        "latency that the kernel gives, as their numbers mean something else on every platform.",
        evidence="documented",
        link=f"{PM}/cpuidle.html",
        risk="Much more power while idle; on Intel, cores that never sleep deeply leave less turbo to the others, and "
        "on a chip that shares its power with a GPU less is left for that.",
        wanted=deeper_than_given,
        takes=r"\d{1,7}",
        takes_text="microseconds",
        beside=(Files(path=f"{IDLE}/latency"), Files(path=f"{IDLE}/name")),
        persists="unit",
    ),
)
