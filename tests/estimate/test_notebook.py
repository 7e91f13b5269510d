"""The estimate and compare notebooks, their parameters, and what they show of recorded runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hwdiag.cli import main
from hwdiag.compare import steps as compare
from hwdiag.core.errors import UsageError
from hwdiag.estimate import steps
from hwdiag.estimate.model import Checked, EstimateStudy
from hwdiag.experiment.net_count import Count
from hwdiag.record import store
from hwdiag.report.section import Section
from tests.estimate.test_estimate import check_row

pytestmark = pytest.mark.usefixtures("clean_environment")

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "outputs" / "example"


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch) -> steps.Estimator:
    """The example, replayed."""
    monkeypatch.setenv("HWDIAG_REPLAY", str(EXAMPLE / "record.json"))
    return steps.start(steps.parameters({"In": ["nonsense = 1"]}))


def test_the_example_says_where_and_why_the_comparison_was_wrong(study: steps.Estimator) -> None:
    said = " ".join(repr(study.document()).split())
    assert "published latencies lie outside the interval in which nine of ten measured ones do" in said
    assert "it counted 0.713 of 123.1 GFLOP (linear layers without their tokens, no attention)" in said
    assert "the peak at the base clock is 29.5 TOPS, 4.0 times as much" in said
    amx = " ".join(repr(study.amx()).split())
    assert "527 µs 991 µs memory" in amx  # the 8490H with AMX: bound by memory
    assert "4.17 ms 660 µs compute" in amx  # the EPYC 9654: bound by arithmetic
    assert "devices, each device left out in turn: median error" in study.evidence().verdict


def test_each_section_is_a_verdict_and_its_table(study: steps.Estimator) -> None:
    told = (study.parts(), study.counts(), study.document(), study.amx(), study.evidence(), study.published())
    for section in (*told, study.elsewhere()):
        assert isinstance(section, Section)
        assert section.verdict.endswith(".")
        assert section.parts
    assert study.breakdown().rows
    assert study.save().endswith("outputs/example/estimate/record.json")


def test_the_error_on_devices_that_were_left_out_stands_next_to_every_estimate(study: steps.Estimator) -> None:
    for section in (study.document(), study.elsewhere()):
        (table,) = section.parts
        assert table is not None
        column = table.header.index("Error, held out")  # type: ignore[union-attr]
        cells = {str(r[column]) for r in table.rows}  # type: ignore[union-attr]
        assert all(re.match(r"\d+% \(.*\)$", c) for c in cells), cells


def test_the_compare_notebook_shows_two_records_and_the_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWDIAG_REPLAY", str(EXAMPLE / "record.json"))
    found = compare.start(compare.parameters({"In": []}))
    assert len(found.records) == 2
    assert {p.name for p in found.parts} == {"AMD EPYC 9654", "Intel Xeon Platinum 8490H"}
    said = repr(found.speeds())
    assert "at most 461" in said
    assert "gpt2 on cpu, runs/s" in said
    assert found.histories().parts


def test_what_is_saved_holds_the_check_though_nobody_asked_for_it_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    row = check_row(0.05)
    checked = Checked(host="h", cpu="c", started_at="", rows=(row,), quiet=True)
    monkeypatch.setattr("hwdiag.estimate.check.check", lambda *_, **__: (checked, ()))
    monkeypatch.setattr(steps, "counts_of", lambda *_, **__: ())
    monkeypatch.setenv("HWDIAG_HOME", str(tmp_path))
    (tmp_path / "params").mkdir()
    steps.Estimator(steps.load({"budget": "standard"})).save()
    (path,) = tmp_path.rglob(store.FILE)
    study = store.load(path).study("estimate", EstimateStudy)
    assert study is not None
    assert study.checked == checked


@pytest.mark.parametrize("text", ["", "{", "[]", '{"counts": 3}', '{"schema": 2}'])
def test_a_file_that_is_no_study_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "estimate.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"json( is not|: not) a record|json: studies.estimate"):
        store.load(path).study("estimate", EstimateStudy)


@pytest.mark.parametrize(
    ("load", "given", "message"),
    [
        (steps.load, {"part": "x"}, 'did you mean "parts"'),
        (
            steps.load,
            {"dtype": "int4"},
            "dtype must be float32, bfloat16, float16, float8, int8, int8-weights or",
        ),
        (steps.load, {"software": "tensorrt"}, "software must be eager, compiled, engine or llama.cpp, got"),
        (steps.load, {"minutes": 0}, "minutes must be above 0"),
        (steps.load, {"budget": "long"}, "budget must be quick, standard or thorough"),
        (steps.load, {"nets": "[a"}, "nets must be a list such as a,b or .a, b., got '.a'"),
        (steps.load, {"nets": {"a": 1}}, "nets must be a list, got "),
        (compare.load, {"record": "x"}, 'did you mean "records"'),
        (compare.load, {"min_effect": 0}, "min_effect must be above 0 and at most 100, got 0"),
        (compare.load, {"records": "[a"}, "records must be a list such as"),
    ],
)
def test_a_wrong_parameter_is_one_clear_line(load: Any, given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        load(given)
    assert "\n" not in str(raised.value)


def test_lists_as_papermill_gives_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert steps.load({"nets": "vit-l"}).nets == ("vit-l",)
    assert steps.load({"nets": "[vit-l, resnet50]"}).nets == ("vit-l", "resnet50")
    assert compare.load({"records": "[a, 's3://b']"}).records == ("a", "s3://b")
    monkeypatch.setenv("HWDIAG_PARTS", "grace,h200")
    assert steps.load({}).parts == ("grace", "h200")


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "params").mkdir()
    monkeypatch.setenv("HWDIAG_HOME", str(tmp_path))
    own = Path(__file__).with_name("nets_of_tests.py")
    assert main(["estimate", "--list"]) == 0
    assert "xeon-8490h" in capsys.readouterr().out
    assert main(["estimate", f"{own}:linear", "--part", "epyc-9654", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert Count.model_validate(found["counts"][0]).flops == 2 * 4 * (64 * 128 + 128 * 8)
    assert found["estimates"][0]["floor"] <= found["estimates"][0]["likely"] <= found["estimates"][0]["pessimistic"]
    record = str(EXAMPLE / "record.json")
    assert main(["estimate", f"{own}:linear", "--part", record, "--dtype", "float32"]) == 0
    assert "vm" in capsys.readouterr().out
    (path,) = (tmp_path / "outputs").rglob("record.json")
    assert len(json.loads(path.read_text())["studies"]["estimate"]["counts"]) == 1
    for wrong, message in (
        (["estimate"], "which net?"),
        (["estimate", "vit-l", "--decode"], "vit-l does not decode"),
        (["estimate", "gpt2", "--part", "no"], "no part 'no' in the catalogue"),
        (["estimate", "gpt2", "--batch", "1,0"], "every entry of batch must be at least 1 and at most 65536, got '0'"),
        (["estimate", "gpt2", "--batch", "many"], "every entry of batch must be a whole number, got 'many'"),
        (["estimate", f"{own}:inference", "--decode"], "no decoding step: its inputs are no dictionary with input_ids"),
        (["estimate", f"{own}:linear", "--tokens", "8"], "brings no token ids"),
        (["estimate", "--check", "--dtype", "int8"], "measures in float32 and bfloat16, not in int8"),
        (["estimate", f"{own}:data_dependent"], "its control flow depends on the values of its data"),
        (["estimate", "gpt2", "--python", "/nonexistent/python"], "there is no file"),
    ):
        assert main(wrong) == 2
        assert message in capsys.readouterr().err


def test_the_fastest_part_is_named_once_for_many_nets(study: steps.Estimator) -> None:
    """The verdict said the same part behind each of four nets, and left out the others."""
    verdict = study.elsewhere().verdict
    assert re.fullmatch(
        r"Fastest by the likely figure: Intel Xeon Platinum 8490H for \d+ nets and .* \d nets\.", verdict
    )
