"""A training that a DataLoader feeds: what it waits for, and what becomes of the guide's targets for it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hwdiag.devices.claims import judged
from hwdiag.devices.dataloader_fed import feed, run_of
from hwdiag.devices.model import DataloaderFed, DataloaderFedRun, Study
from hwdiag.devices.targets import targets
from hwdiag.process.model import Outcome
from tests.devices.samples import CPU, GPU, study
from tests.devices.test_discovery import FAKE
from tests.process.test_trace import cuda_trace, x

WAYS = {"no workers": 0.4, "workers": 0.1, "afresh": 0.3, "kept": 0.2, "pillow": 3e-3, "memory": 2.97e-3}


def fed(
    device: str = "cpu", *, wait: float = 0.001, cpu: float = 0.7, gpu: float | None = None, **more: Any
) -> DataloaderFed:
    runs = tuple(
        DataloaderFedRun(wait_s=wait * n, step_s=0.2, cpu_use=cpu * n, gpu_use=gpu, ways=WAYS, **more)
        for n in (0.99, 1.0, 1.01)
    )
    return DataloaderFed(device=device, batch=32, side=96, workers=2, runs=runs)


def told(found: Study) -> dict[str, tuple[bool | None, str]]:
    return {f"{t.name} on {t.device}": (t.passed, t.reason) for t in targets(found, {})}


def test_what_is_told_of_a_training_on_this_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hwdiag.devices.dataloader_fed.BATCH", 4)
    monkeypatch.setattr("hwdiag.devices.dataloader_fed.SIDE_ON_CPU", 32)
    found = feed(sys.executable, CPU, cpus=1, processes=1, seconds=0.2, timeout_s=120)
    assert found.outcome.ok, found.outcome
    (run,) = found.runs
    assert {*WAYS} <= run.ways.keys()
    assert 0 <= run.wait_s < run.step_s
    assert run.cpu_use > 0.2, "it trains and decodes"
    assert run.ways["memory"] < run.ways["pillow"]
    assert (run.gpu_use, run.idle) == (None, {})


@pytest.mark.parametrize(
    ("code", "kind", "detail"),
    [
        ("\nimport sys\nsys.modules['PIL'] = None\n", "error", "NotInstalled: the training that is fed needs Pillow"),
        ("\nraise ImportError('no')\n", "import-error", "torch cannot be imported: ImportError: no"),
        ("\nimport os\nos.kill(os.getpid(), 9)\n", "signal", "killed by SIGKILL"),
    ],
)
def test_what_cannot_run_is_one_line(fake_python: Callable[[str], str], code: str, kind: str, detail: str) -> None:
    found = feed(fake_python(FAKE + code), GPU, cpus=2, processes=2, seconds=1, timeout_s=60)
    assert found.runs == ()
    assert found.outcome.kind == kind
    assert found.outcome.detail.startswith(detail)
    said = told(study(devices=(CPU, GPU), dataloader_fed=(found,)))
    assert said["GPU use in training on cuda:0"] == (None, found.outcome.detail)


def test_the_guides_targets_pass_or_fail_with_a_reason() -> None:
    said = told(study(dataloader_fed=(fed(),)))
    assert said["Data loading per batch on cpu"] == (
        True,
        "2 workers alone give a batch of 32 every 100 ms, and the training takes 199 ms for one",
    )
    assert said["CPU use in training on cpu"][0] is True
    assert said["GPU use in training on -"] == (None, "needs a GPU")
    slow = told(study(dataloader_fed=(fed(wait=0.05, cpu=0.99),)))
    assert slow["Data loading per batch on cpu"][0] is False
    assert slow["Data loading per batch on cpu"][1].startswith("input-bound: 2 workers alone give a batch")
    assert slow["CPU use in training on cpu"] == (False, "compute-bound: they train as well as decode")
    assert told(study(dataloader_fed=(fed(wait=0.005),)))["Data loading per batch on cpu"][0] is None
    assert told(study())["Data loading per batch on cpu"] == (None, "not in this budget")


def test_an_idle_gpu_has_its_cause_from_the_trace(tmp_path: Path) -> None:
    figures = {"wait_s": 0.05, "step_s": 0.2, "cpu_s": 2.0, "seconds": 4.0, "ways": WAYS}
    path = tmp_path / "t.json"

    def gpu_use(trace: dict[str, Any]) -> tuple[bool | None, str]:
        path.write_text(json.dumps(trace))
        runs = (run_of(figures, 2, path),) * 3
        assert runs[0].cpu_use == pytest.approx(0.25)
        found = fed("cuda:0").model_copy(update={"runs": runs})
        return told(study(devices=(CPU, GPU), dataloader_fed=(found,)))["GPU use in training on cuda:0"]

    assert gpu_use(cuda_trace()) == (False, "input-bound: idle for 20% of the time, waiting for the DataLoader")
    copies = cuda_trace()
    copies["traceEvents"].append(x("cuda_runtime", "cudaStreamSynchronize", 0, 360))
    copies["traceEvents"] = [e for e in copies["traceEvents"] if e.get("cat") != "user_annotation"]
    assert gpu_use(copies)[1].startswith("transfer-bound: ")
    launches = cuda_trace()
    launches["traceEvents"] = [e for e in launches["traceEvents"] if e.get("cat") not in ("user_annotation", "Trace")]
    launches["traceEvents"].append(x("cpu_op", "aten::add", 0, 200))
    assert gpu_use(launches)[1].startswith("launch-bound: ")
    busy = cuda_trace()
    busy["traceEvents"].append(x("kernel", "sgemm", 0, 900, device=0, stream=8, correlation=9))
    assert gpu_use(busy) == (True, "compute-bound: the rest waits for it")
    path.write_text("{")
    assert run_of(figures, 2, path).gpu_use is None


def test_what_was_promised_of_loaders_is_judged_by_what_they_gave() -> None:
    kept = {p.claim: k for p, k in judged(study(dataloader_fed=(fed(),)))}
    assert kept["Workers load faster than the training's own process"].standing == "holds here"
    assert kept["Workers load faster than the training's own process"].why == "cpu: 4x (4 to 4)"
    assert kept["Decoded pictures kept in memory"].standing == "doesn't", "1 % is below the least effect"
    assert kept["OpenCV loads pictures faster"].standing == "not measured"
    died = DataloaderFed(device="cpu", batch=32, side=96, workers=2, outcome=Outcome(kind="error", detail="no Pillow"))
    without = {p.claim: k for p, k in judged(study(dataloader_fed=(died,)))}
    assert without["Decoded pictures kept in memory"].why == "no Pillow"
