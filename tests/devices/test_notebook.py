"""The devices notebook, its parameters, what it shows of a recorded study, and its verb."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from hwdiag.cli import main
from hwdiag.core.errors import UsageError
from hwdiag.devices import show
from hwdiag.devices import steps as devices_steps
from hwdiag.devices import techniques_show as worth
from hwdiag.devices.claims import judged
from hwdiag.devices.gains import gains
from hwdiag.devices.kernels import kernels, precision
from hwdiag.devices.model import MOST_SAMPLES, Absent, BatchPoint, BatchSearch, Device, Study, thinned
from hwdiag.experiment.statistics import MIN_PAIRS
from hwdiag.process.model import Outcome
from hwdiag.record import store
from hwdiag.report.section import Section
from tests.conftest import make_host
from tests.devices.samples import CPU, GPU, PRODUCT, RESNET, measured, pairs, planned, study

pytestmark = pytest.mark.usefixtures("clean_environment")

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "outputs" / "example"


@pytest.fixture
def replayed(monkeypatch: pytest.MonkeyPatch) -> devices_steps.Devices:
    """The example."""
    monkeypatch.setenv("HWDIAG_REPLAY", str(EXAMPLE / "record.json"))
    return devices_steps.start(devices_steps.parameters({"In": ["nonsense = 1"]}))


def test_each_section_of_the_example_is_a_verdict_drawn_from_it(replayed: devices_steps.Devices) -> None:
    steps = ("devices", "profile", "speedups", "precision", "techniques", "batches", "targets", "claims", "settings")
    for step in steps:
        section = getattr(replayed, step)()
        assert isinstance(section, Section)
        assert section.verdict.endswith(".")
        assert "nan" not in repr(section)
    assert replayed.save().endswith("outputs/example/devices/record.json")


def test_the_example_says_what_a_cpu_can_and_what_it_cannot(replayed: devices_steps.Devices) -> None:
    kept = {promise.claim: kept.standing for promise, kept in judged(replayed.done)}
    assert kept["Pinned memory is critical"] == "needs a GPU"
    assert kept["fuse_modules, where a model has it"] == "doesn't"
    assert {g.technique for g in replayed.done.gains} >= {"inference-mode", "channels-last", "autocast-bf16"}
    decided = [g.comparison for g in replayed.done.gains if g.comparison and g.comparison.verdict != "undecided"]
    assert all(c.speedup.processes >= MIN_PAIRS for c in decided)
    assert "bf16" in replayed.precision().verdict
    text = (EXAMPLE / "devices" / "record.json").read_text()
    assert not any(path in text for path in ("/home/", "/tmp/", "/root/"))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"devices": 3}', '{"schema": 2}'])
def test_a_file_that_is_no_study_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "devices.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"json( is not|: not) a record"):
        store.load(path).study("devices", Study)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"net": "x"}, 'did you mean "nets"'),
        ({"nets": "vgg"}, "nets: there is no net 'vgg'"),
        ({"budget": "long"}, "budget must be quick, standard or thorough, got 'long'"),
        ({"minutes": 0}, "minutes must be above 0 and at most 10080, got 0"),
        ({"min_effect": "many"}, "min_effect must be a number, got 'many'"),
    ],
)
def test_a_wrong_parameter_is_one_clear_line(given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        devices_steps.load(given)
    assert "\n" not in str(raised.value)


def test_the_command_line_refuses_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong, message in (
        (["devices", "--net", "vgg"], "no net 'vgg'"),
        (["devices", "--budget", "long"], "budget must be"),
        (["devices", "--python", "/nonexistent/python"], "there is no file"),
    ):
        assert main(wrong) == 2
        assert message in capsys.readouterr().err


# --- what is shown of studies that this machine cannot make ----------------------------------------------------------


def two_devices() -> Study:
    seen = [
        measured("default", PRODUCT.name, 0.01 if device is CPU else 0.001, block=block, device=device.name)
        for device in (CPU, GPU)
        for block in range(3)
    ]
    return study(seen, [PRODUCT], devices=(CPU, GPU))


def test_the_speed_up_over_the_cpu_has_an_interval() -> None:
    said = repr(show.speedups(two_devices()))
    assert "10.0x (10.0 to 10.0)" in said
    spark = Device(name="cuda:0", title="NVIDIA GB10", unified_memory=True)
    names = ("reduction", "read-in-place", "copy-to-pinned-64MiB")
    reads = [w for w in kernels(make_host(), spark, compared=True) if w.name in names]
    seen = [measured("default", w.name, w.bytes / 200e9, device="cuda:0") for w in reads]
    unified = show.speedups(study([*two_devices().measurements, *seen], [PRODUCT, *reads], devices=(CPU, spark)))
    assert "GPU and CPU have the same memory" in unified.verdict
    said = " ".join(repr(unified).split())
    assert "it reads the host's memory in place 200 GB/s" in said
    assert said.count("200 GB/s (200 to 200)") == len(names)


def test_what_a_later_step_left_out_is_shown_with_that_step() -> None:
    """Its cell runs after that of the devices."""
    left_out = Absent(what="Matrix product, fp32, 10000 x 10000, on the CPU", why="one takes some 10 s", step="profile")
    late = Absent(what="torch.compile on x", why="the time was up", step="techniques")
    found = two_devices().model_copy(update={"absent": (left_out, late)})
    assert left_out.what in repr(show.profile(found))
    assert late.what in repr(worth.techniques(found))
    assert left_out.what not in repr(show.devices(found))


def test_without_a_gpu_there_is_a_reason() -> None:
    why = "CUDA_VISIBLE_DEVICES is empty, which leaves them out; unset it, or name GPUs that are there"
    found = study(absent=(Absent(what="RTX 3060", why=why),))
    assert show.speedups(found).verdict == f"No GPU to compare the CPU with: {why}."
    assert why in show.devices(found).verdict


def test_a_failed_kernel_and_a_failed_technique_are_rows_with_their_reason() -> None:
    lost = Outcome(kind="error", detail="CUDA error: unspecified launch failure")
    seen = [
        measured("default", PRODUCT.name, 0.01),
        measured("default", PRODUCT.name, 0, device="cuda:0", outcome=lost),
    ]
    assert lost.detail in repr(show.profile(study(seen, [PRODUCT], devices=(CPU, GPU))))
    missing = Outcome(kind="error", detail="Missing: torch.compile needs a C++ compiler")
    tried = [measured("default", RESNET.name, 0.1), measured("compile", RESNET.name, 0, outcome=missing)]
    table = repr(worth.techniques(study(gains=gains(tried, [RESNET], [CPU], (), 0.03))))
    assert "cannot" in table
    assert "needs a C++ compiler" in " ".join(table.split())


def test_the_verdict_names_what_is_faster_and_what_is_slower() -> None:
    seen = [*pairs("autocast-bf16", 1.5), *pairs("channels-last", 0.5, default=False)]
    claims = planned("autocast-bf16", "channels-last")
    verdict = worth.techniques(study(gains=gains(seen, [RESNET], [CPU], claims, 0.03))).verdict
    assert verdict.startswith("Clearly faster: autocast to bf16 on resnet18-inference 1.50x")
    assert verdict.endswith("Slower: channels_last.")


def test_products_of_different_sizes_are_compared_by_their_rates() -> None:
    small, large = precision("fp64", 100), precision("fp32", 1000)
    seen = [measured("default", w.name, w.flops / rate) for w, rate in ((small, 1e9), (large, 64e9))]
    ratio = study(seen, [small, large]).rate_ratio(small, large, "cpu")
    assert ratio is not None
    assert ratio.median == pytest.approx(1 / 64)


def test_precisions_say_what_they_gain() -> None:
    assert show.precision(study()).verdict == "On cpu bf16 is 4.0x as fast as fp32."


def test_batches_that_do_not_fit_say_why() -> None:
    full = Outcome(kind="out-of-memory", detail="RuntimeError: can't allocate memory")
    points = (BatchPoint(batch=1, outcome=full),)
    found = study(batches=(BatchSearch(net="resnet18", mode="inference", device="cpu", points=points),))
    assert "not even one fits (RuntimeError: can't allocate memory)" in worth.batches(found).verdict


def test_samples_are_kept_and_bounded_by_even_thinning() -> None:
    few, many = tuple(map(float, range(200))), tuple(map(float, range(10_001)))
    assert thinned(few) == few
    kept = thinned(many)
    assert len(kept) == MOST_SAMPLES
    assert (kept[0], kept[-1]) == (0, 10_000)
    steps = {b - a for a, b in pairwise(kept)}
    assert max(steps) - min(steps) <= 1
