"""What a search says of the noise that it met."""

from __future__ import annotations

import pytest

from hwdiag.experiment.lever import BASELINE, CONTROL
from hwdiag.experiment.model import Measurement
from hwdiag.process.model import Outcome
from hwdiag.tune.tune import noise_of


def block(number: int, seconds: float, twin: float | None = None) -> list[Measurement]:
    """Today's default, beside its twin where it met it."""
    times = {BASELINE: seconds} | ({} if twin is None else {CONTROL.id: twin})
    phase = "screen" if twin is None else "noise"
    return [
        Measurement.model_validate(
            {
                "id": f"m{number:04d}",
                "plan": plan,
                "workload": "gpt2",
                "phase": phase,
                "block": number,
                "process": number,
                "outcome": Outcome(kind="ok"),
                "seconds": (time,),
            }
        )
        for plan, time in times.items()
    ]


def test_the_whole_run_says_how_far_single_processes_differ_and_drift() -> None:
    rising = [m for i in range(2, 22) for m in block(i, 1 + 0.01 * i)]
    found = noise_of([*block(0, 1, 1.001), *block(1, 1, 0.999), *rising], ["gpt2"])
    assert found is not None
    assert found.pairs == 2
    assert found.spread == pytest.approx(0.0015, rel=0.1)
    assert 0.05 < found.alone < 0.12
    assert found.drift_p < 1e-6
    assert found.autocorrelation > 0.7


def test_one_meeting_says_nothing() -> None:
    assert noise_of([*block(0, 1, 1.001), *block(1, 1)], ["gpt2"]) is None
