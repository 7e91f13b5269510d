"""Which devices there are: what torch says, and one clear line for each GPU that it cannot use."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from hwdiag.devices.discovery import find, is_gone, usable
from hwdiag.devices.kernels import dispatches, product
from hwdiag.devices.model import Device
from hwdiag.devices.study import Measuring
from hwdiag.experiment.interleaved import Candidate, InterleavedBlock, ProcessResult, Turn
from hwdiag.host.model import Gpu, Host
from hwdiag.process.launch import Launch
from hwdiag.process.model import Disturbance, Outcome
from hwdiag.process.torch_builds import TorchDevice, has_kernels, too_old
from tests.conftest import make_host, make_software

RTX = Gpu(index=0, name="NVIDIA GeForce RTX 3060", driver="470.223.02", cuda="11.4", memory_bytes=12 << 30)
SEEN = {"name": "cuda:0", "title": RTX.name, "memory_bytes": 12 << 30, "unified_memory": False, "capability": "8.6"}


OLD = (
    "the driver 470.223.02 is for CUDA 11.4 at most, and this torch was built for 13.0, which needs driver "
    "580.65.06 or newer: update the driver, or take another build, one for CUDA 11.8 fits: "
    "pip install 'torch<2.8' --index-url https://download.pytorch.org/whl/cu118"
)
P100 = Gpu(index=0, name="Tesla P100-PCIE-16GB", driver="580.65.06", cuda="13.0", compute_capability="6.0")


def host(*gpus: Gpu) -> Host:
    return make_host().model_copy(update={"gpus": gpus})


def why(*gpus: Gpu, devices: Sequence[dict[str, Any]] = (), **software: Any) -> list[str]:
    _, absent = usable(
        host(*gpus), make_software(accelerators=tuple(map(TorchDevice.model_validate, devices)), **software)
    )
    return [f"{a.what}: {a.why}" for a in absent]


def test_a_gpu_that_torch_sees_is_a_device_and_nothing_is_amiss() -> None:
    devices, absent = usable(host(RTX), make_software(cuda="11.3", accelerators=(TorchDevice.model_validate(SEEN),)))
    assert [d.name for d in devices] == ["cpu", "cuda:0"]
    assert absent == ()


@pytest.mark.parametrize(
    ("software", "words"),
    [
        ({"cuda": "13.0"}, OLD),
        ({"cuda": "13.0", "cuda_note": "RuntimeError: too old (found version 11040)"}, OLD),
        ({"cuda": "11.3", "environment": {"CUDA_VISIBLE_DEVICES": ""}}, "CUDA_VISIBLE_DEVICES is empty"),
        ({"cuda": "11.3", "environment": {"CUDA_VISIBLE_DEVICES": "7"}}, "CUDA_VISIBLE_DEVICES is '7'"),
        ({"cuda": None}, "this torch was built without CUDA"),
        ({"cuda": "11.3", "cuda_note": "RuntimeError: no"}, "RuntimeError: no"),
    ],
)
def test_a_gpu_that_torch_does_not_see_is_one_line_that_says_why(software: dict[str, Any], words: str) -> None:
    (line,) = why(RTX, **software)
    assert line.startswith("NVIDIA GeForce RTX 3060: ")
    assert words in line
    assert "\n" not in line


def test_a_card_that_torch_has_no_kernels_for_is_named_before_anything_runs() -> None:
    """A P100 with a build for CUDA 13, which begins with Turing."""
    seen = TorchDevice(name="cuda:0", title=P100.name, capability="6.0", architectures=("sm_75", "sm_86", "sm_120"))
    software = make_software(cuda="13.0", torch_version="2.13.0+cu130", accelerators=(seen,))
    devices, (absent,) = usable(host(P100), software)
    assert [d.name for d in devices] == ["cpu"]
    assert (absent.what, absent.why) == (
        "Tesla P100-PCIE-16GB (cuda:0)",
        "this torch 2.13.0+cu130 has kernels for sm_75, sm_86, sm_120, and none for compute capability 6.0; one for "
        "CUDA 12.6 fits: pip install torch --index-url https://download.pytorch.org/whl/cu126",
    )


@pytest.mark.parametrize(
    ("capability", "name", "built_for", "has"),
    [
        ("6.0", None, ("sm_75", "sm_120"), False),
        ("8.6", None, ("sm_75", "sm_80"), True),  # of the same major number
        ("8.6", None, ("sm_75", "sm_89"), False),
        ("12.1", None, ("sm_90", "sm_120"), True),
        ("10.0", None, ("sm_90a",), False),
        ("9.0", None, ("sm_90a",), True),
        ("12.0", None, ("sm_90", "compute_90"), True),  # compiled when it is first used
        ("6.0", None, (), True),  # not told
        (None, None, ("sm_75",), True),
        ("9.0", "gfx90a:sramecc+:xnack-", ("gfx90a", "gfx1100"), True),
        ("10.3", "gfx1031", ("gfx90a", "gfx1100"), False),
        ("8.6", "NVIDIA GeForce RTX 3060", ("sm_86",), True),
    ],
)
def test_which_cards_torch_has_kernels_for(capability: Any, name: Any, built_for: tuple[str, ...], has: bool) -> None:
    assert has_kernels(capability, name, built_for) is has


@pytest.mark.parametrize(
    ("driver", "cuda", "built_for", "capability", "words"),
    [
        ("535", "12.2", "13.0", "8.6", "580.65.06 or newer: update the driver, or take another build, one for CUDA 12"),
        ("535.183.01", "12.2", "13.0", "6.0", "one for CUDA 12.6 fits"),
        ("470.223.02", "11.4", "12.6", "12.0", "none of PyTorch's own builds fits it"),
        ("535.183.01", "12.2", "12.8", "8.6", ""),  # a driver runs all of its major version
        (None, None, "13.0", None, ""),
    ],
)  # fmt: skip
def test_a_driver_that_is_too_old(driver: Any, cuda: Any, built_for: str, capability: Any, words: str) -> None:
    said = too_old(driver, cuda, built_for, capability)
    assert words in said if words else said == ""


def test_slices_of_a_gpu_are_named() -> None:
    sliced = RTX.model_copy(update={"name": "NVIDIA A100-SXM4-40GB", "mig": True, "cuda": "13.0"})
    (line,) = why(sliced, devices=[{**SEEN, "title": "NVIDIA A100-SXM4-40GB MIG 1g.5gb"}], cuda="13.0")
    assert "cut into slices (MIG)" in line


def test_gpus_that_a_variable_hides_beside_others_are_named() -> None:
    second = RTX.model_copy(update={"index": 1})
    (line,) = why(RTX, second, devices=[SEEN], cuda="11.3", environment={"CUDA_VISIBLE_DEVICES": "0"})
    assert line.startswith("1 more of the host's GPUs: CUDA_VISIBLE_DEVICES is '0'")


def test_the_devices_of_this_torch() -> None:
    software, devices, absent = find(sys.executable, make_host(), 60)
    assert software.outcome.ok
    assert devices[0].name == "cpu"
    assert len(devices) == 1 + len(software.cuda_devices)
    assert devices[1:] or [a.what for a in absent] == ["GPUs"]


def test_without_torch_there_are_no_devices_and_one_line(python_without_torch: str) -> None:
    _, devices, (absent,) = find(python_without_torch, make_host(), 60)
    assert devices == ()
    assert "torch cannot be imported" in absent.why


FAKE = """
import types
float32 = "float32"
__version__ = "2.13.0+cu130"
version = types.SimpleNamespace(cuda="13.0")
__config__ = types.SimpleNamespace(parallel_info=lambda: "", show=lambda: "")
def manual_seed(_): pass
def get_num_threads(): return 1
get_num_interop_threads = get_num_threads
def device(name): return types.SimpleNamespace(type=name.split(":")[0])
class Denormal:
    __mul__ = lambda self, _: self
    __eq__ = lambda self, _: self
    item = lambda self: False
def full(*_, **__): return Denormal()
def zeros(*_, **__): return None
def add(*_, **__): return None
class backends:
    class cpu:
        get_cpu_capability = staticmethod(lambda: "none")
    mkl = mkldnn = types.SimpleNamespace(is_available=lambda: True)
class accelerator:
    calls = 0
    is_available = staticmethod(lambda: True)
    device_count = staticmethod(lambda: 2)
    current_accelerator = staticmethod(lambda: types.SimpleNamespace(type="cuda"))
    @classmethod
    def synchronize(cls, device):
        cls.calls += 1
        if cls.calls > 3: raise RuntimeError("CUDA error: unspecified launch failure")
class cuda:
    is_available = staticmethod(lambda: True)
    device_count = staticmethod(lambda: 2)
    get_device_name = staticmethod(lambda index: "NVIDIA GB10")
    @staticmethod
    def get_device_properties(index):
        return types.SimpleNamespace(name="NVIDIA GB10", total_memory=128 << 30, is_integrated=1, major=12, minor=1)
"""


def test_accelerators_are_asked_whoever_made_them(fake_python: Callable[[str], str]) -> None:
    _, devices, _ = find(fake_python(FAKE), make_host(), 60)
    spark = Device(name="cuda:0", title="NVIDIA GB10", memory_bytes=128 << 30, unified_memory=True, capability="12.1")
    assert devices[1:] == (spark, spark.model_copy(update={"name": "cuda:1"}))


def test_a_gpu_that_goes_away_while_a_kernel_runs_is_a_row(fake_python: Callable[[str], str]) -> None:
    """The child's synchronisation fails after a while, as CUDA's does."""
    workload = next(iter(dispatches()))
    candidate = Candidate(Launch(), [workload], check=False)
    turn = Turn(warmup_s=0, window_s=0.01, windows=2, min_samples=1)
    InterleavedBlock(fake_python(FAKE), turn, timeout_s=30).run([candidate], device="cuda:0", seed=1)
    outcome = candidate.results[workload.name].outcome
    assert outcome.kind == "error"
    assert is_gone(outcome)


def test_a_gpu_without_memory_left_is_a_row(fake_python: Callable[[str], str]) -> None:
    """In CUDA's own words; the process lives on, and the next kernel is measured."""
    words = "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 11.76 GiB of which 2.81 MiB"
    full = FAKE.replace("cls.calls > 3", "False").replace(
        "def zeros(*_, **__): return None",
        f"class OutOfMemoryError(RuntimeError): pass\nasked = []\ndef zeros(*_, **__):\n    asked.append(1)\n"
        f"    if len(asked) == 1: raise OutOfMemoryError({words!r})",
    )
    candidate = Candidate(Launch(), [*dispatches()], check=False)
    turn = Turn(warmup_s=0, window_s=0.01, windows=1, min_samples=1)
    InterleavedBlock(fake_python(full), turn, timeout_s=30).run([candidate], device="cuda:0", seed=1)
    outcomes = [r.outcome for r in candidate.results.values()]
    assert sorted(o.kind for o in outcomes) == ["ok", "out-of-memory"]
    assert [o.detail for o in outcomes if not o.ok] == [f"OutOfMemoryError: {words}"]


def test_the_memory_of_a_gpu_is_what_its_allocator_counts(fake_python: Callable[[str], str]) -> None:
    """Whichever accelerator it is: CUDA's own calls are not needed."""
    counts = "    empty_cache = staticmethod(lambda: None)\n"
    counts += "    reset_peak_memory_stats = staticmethod(lambda device: None)\n"
    counts += "    max_memory_reserved = staticmethod(lambda device: {'cuda:1': 4096}[device])\n"
    steady = FAKE.replace("cls.calls > 3", "False").replace("    calls = 0\n", "    calls = 0\n" + counts)
    workload = next(iter(dispatches()))
    candidate = Candidate(Launch(), [workload], check=False)
    turn = Turn(warmup_s=0, window_s=0.01, windows=1, min_samples=1)
    InterleavedBlock(fake_python(steady), turn, timeout_s=30).run([candidate], device="cuda:1", seed=1)
    result = candidate.results[workload.name]
    assert result.outcome.ok, result.outcome
    assert result.peak_device_bytes == 4096


class Lost:
    """Turns in which the GPU fell off the bus in its first block; the CPU works."""

    devices: list[str] = []

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def run(self, candidates: Sequence[Candidate], *, device: str, seed: int) -> Disturbance:  # noqa: ARG002
        self.devices.append(device)
        lost = Outcome(kind="error", detail="AcceleratorError: CUDA error: unspecified launch failure")
        for candidate in candidates:
            for name in candidate.todo:
                candidate.results[name] = ProcessResult(
                    1, outcome=Outcome(kind="ok") if device == "cpu" else lost, seconds=[0.1]
                )
        return Disturbance()


def test_a_study_goes_on_without_a_gpu_that_went_away(
    fake_python: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hwdiag.devices.study.InterleavedBlock", Lost)
    measuring = Measuring(fake_python(FAKE), make_host(), budget="standard")
    study = measuring.profile()
    assert Lost.devices == ["cpu"] * 4 + ["cuda:0", "cuda:1"], "three blocks, and one of what takes long on a CPU"
    assert [d.name for d in study.devices] == ["cpu"]
    assert [a.why for a in study.absent if "went away" in a.why] == [
        "it went away: AcceleratorError: CUDA error: unspecified launch failure"
    ] * 2
    large = {a.what: a.why for a in study.absent if a.step == "profile" and "on the CPU" in a.what}
    assert large == {
        f"{product(4096).title}, on the CPU": "one takes some 0.8 s, and the budget standard has 0.5 for one",
        f"{product(10000).title}, on the CPU": "one takes some 12 s, and the budget standard has 0.5 for one",
    }
    measuring.techniques()
    assert set(Lost.devices[6:]) == {"cpu"}


def test_a_technique_whose_turn_did_not_come_is_named(
    fake_python: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hwdiag.devices.study.InterleavedBlock", Lost)
    measuring = Measuring(fake_python(FAKE), make_host(), budget="standard", minutes=1e-9)
    measuring.study = measuring.study.model_copy(update={"devices": measuring.study.devices[:1]})
    study = measuring.techniques()
    assert study.gains == ()
    left = {a.what: a.why for a in study.absent if a.step == "techniques"}
    assert left["torch.compile on resnet18-inference"] == "the time was up; --minutes gives more"
    assert "channels_last on resnet18-inference, resnet18-training" in left
