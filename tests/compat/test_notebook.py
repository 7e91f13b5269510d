"""The compatibility notebook, its parameters, and what it shows of a recorded check."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest

from hwdiag.cli import main
from hwdiag.compat import show
from hwdiag.compat.explain import explain
from hwdiag.compat.model import Survey
from hwdiag.compat.steps import load, parameters, start
from hwdiag.core.errors import UsageError
from hwdiag.record import store
from tests.compat.conftest import Site

pytestmark = pytest.mark.usefixtures("clean_environment")

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "compat.ipynb"
EXAMPLE = ROOT / "outputs" / "example" / "compat" / store.FILE


def read(path: Path) -> Survey:
    """The study in a record."""
    study = store.load(path).study("compat", Survey)
    assert study is not None
    return study


def test_the_committed_outputs_are_the_examples() -> None:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    outputs = [o for c in cells if c.cell_type == "code" for o in c.outputs]
    said = "".join(o.get("text", "") for o in outputs)
    assert show.verdict(read(EXAMPLE)) in said


def test_the_example_settles_that_torch_needs_no_avx2() -> None:
    """IvyBridge, emulated: torch runs, polars, duckdb and bitsandbytes die of BMI2 and AVX2, NumPy of a variable."""
    found = read(EXAMPLE)
    assert found.interpreter.features is not None
    assert "avx2" not in found.interpreter.features
    assert all(r.outcome.ok for r in found.results if r.package == "torch")
    named = {r.package: (r.stage, r.culprit.needs, r.culprit.variable) for r in found.crashed if r.culprit}
    assert named == {
        "numpy": ("numpy-matmul", "fma", "OPENBLAS_CORETYPE=Haswell"),
        "polars": ("import", "bmi2", None),
        "duckdb": ("import", "bmi2", None),
        "bitsandbytes": ("bitsandbytes-quantize", "avx2", None),
    }
    assert show.verdict(found).startswith(
        "polars, duckdb and bitsandbytes die; numpy dies because of the inherited OPENBLAS_CORETYPE=Haswell; "
    )
    assert Survey.model_validate_json(found.model_dump_json()) == found


def test_what_comes_from_a_record_cannot_leave_its_cell() -> None:
    found = read(EXAMPLE)
    evil = found.results[0].model_copy(update={"package": "<script>alert(1)</script>\x1b[31m"})
    section = show.results(found.model_copy(update={"results": (evil, *found.results)}))
    assert "<script>" not in section._repr_html_()
    assert "\x1b" not in repr(section)


def test_replaying_shows_the_record_and_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWDIAG_REPLAY", str(EXAMPLE.parents[1] / "record.json"))
    check = start(parameters({"In": ["nonsense = 1"]}))
    assert f"{len(read(EXAMPLE).interpreter.packages)} installed packages" in check.interpreter().verdict
    assert "shlx" in repr(check.crashes())
    assert check.save().endswith("outputs/example/compat/record.json")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema_version": 2}', '{"results": 3}'])
def test_a_file_that_is_no_check_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "compatibility.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"json( is not|: not) a record"):
        read(path)


@pytest.mark.parametrize(
    ("given", "packages"),
    [({}, ()), ({"packages": "torch"}, ("torch",)), ({"packages": "[torch, numpy]"}, ("torch", "numpy"))],
)
def test_packages_as_papermill_gives_them(given: dict[str, str], packages: tuple[str, ...]) -> None:
    assert load(given).packages == packages


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pakages": "torch"}, 'did you mean "packages"'),
        ({"child_timeout": -1}, "child_timeout must be above 0 and at most 86400, got -1"),
        ({"child_timeout": "soon"}, "child_timeout must be a number, got 'soon'"),
        ({"packages": "[torch"}, "packages must be a list such as"),
        ({"packages": {"a": 1}}, "packages must be a list, got {'a': 1}"),
    ],
)
def test_a_wrong_parameter_is_one_clear_line(given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        load(given)
    assert "\n" not in str(raised.value)


def test_the_command_line(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "home" / "params").mkdir(parents=True)
    monkeypatch.setenv("HWDIAG_HOME", str(tmp_path / "home"))
    site.add("good", "")
    site.add("bad", "import os; os.abort()")
    assert main(["compat", "--python", site.python, "--package", "good"]) == 0
    *_, verdict, place = capsys.readouterr().out.splitlines()
    assert verdict.startswith("All that was tried runs: 1 package checked in ")
    record = store.load(tmp_path / "home" / place.strip())
    assert (record.verdict, record.params["compat"]["packages"]) == (verdict, ["good"])
    assert record.checks[0].id == "compat-good"
    assert main(["compat", "--python", site.python, "--package", "good", "--package", "bad", "--json"]) == 1
    found = Survey.model_validate(json.loads(capsys.readouterr().out))
    assert [(r.package, r.outcome.kind) for r in found.results] == [("good", "ok"), ("bad", "signal")]
    assert main(["compat", "--python", "/nonexistent/python"]) == 2
    assert main(["compat", "--package", "../x"]) == 2
    assert "is not a name of a package" in capsys.readouterr().err


def test_the_static_look_on_the_command_line(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "_core.abi3.so"
    broken.write_bytes(b"rubbish")
    site.add("native", "raise SystemExit('never imported')", broken)
    assert main(["compat", "--python", site.python, "--package", "native", "--static", "x86-64-v2"]) == 0
    said = capsys.readouterr().out
    assert "_core.abi3.so" in said
    assert "not looked at: not a 64-bit little-endian ELF file" in said
    assert main(["compat", "--static", "x86-64-v9"]) == 2
    assert "unknown level 'x86-64-v9' (known: x86-64-v2, " in capsys.readouterr().err


def test_the_crashes_that_the_tutorial_tells_are_the_examples() -> None:
    text = (ROOT / "docs" / "tutorials" / "illegal-instruction.md").read_text()
    told = " ".join(text.split())
    for row in read(EXAMPLE).crashed:
        if row.package in ("polars", "numpy"):
            assert explain(row) in told
            assert row.culprit is not None
            assert row.culprit.remedies[0].text in told
