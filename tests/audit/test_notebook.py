"""The audit notebook, its parameters, and what it shows of a recorded audit."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest

from hwdiag.audit import show
from hwdiag.audit.model import Audit
from hwdiag.audit.steps import AuditRun, load, parameters, start
from hwdiag.core.errors import UsageError
from hwdiag.record import store
from hwdiag.record.store import FILE

pytestmark = pytest.mark.usefixtures("clean_environment")

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "audit.ipynb"
EXAMPLE = ROOT / "outputs" / "example" / "audit" / FILE


def test_the_committed_outputs_are_the_examples() -> None:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    outputs = [o for c in cells if c.cell_type == "code" for o in c.outputs]
    record = store.load(EXAMPLE)
    found = record.study("audit", Audit)
    assert found is not None
    assert show.verdict(found) in "".join(o.get("text", "") for o in outputs)
    assert [r.knob for r in found.chosen] == ["vm.swappiness", "io.scheduler", "net.backlog"]
    assert all((EXAMPLE.parent / f.path).exists() for f in record.files)


def test_replaying_shows_the_record_and_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWDIAG_REPLAY", str(ROOT / "outputs" / "example" / "record.json"))
    run = start(parameters({"In": ["nonsense = 1"]}))
    assert "vm.swappiness" in repr(run.chosen())
    assert run.save().endswith(f"outputs/example/audit/{FILE}")


def test_what_it_saves_is_a_record_with_its_scripts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "params").mkdir()
    monkeypatch.setenv("HWDIAG_HOME", str(tmp_path))
    run = AuditRun(load({"knobs": "[vm.swappiness=33]", "watch": 0}))
    said = run.save()
    (path,) = (tmp_path / "outputs").rglob(FILE)
    record = store.load(path)
    assert str(path.relative_to(tmp_path)) in said
    names = {f.path for f in record.files}
    assert {"scripts/system_optimize.sh", "scripts/make_persistent.sh", "scripts/tuned/hwdiag/tuned.conf",
            "scripts/ansible/complete_optimize.yml", FILE} <= names  # fmt: skip
    assert (path.parent / "scripts/system_optimize.sh").stat().st_mode & 0o111
    assert record.study("audit", Audit) == run.audit


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"knob": "memory"}, 'did you mean "knobs"'),
        ({"knobs": "memry"}, 'did you mean "memory"'),
        ({"knobs": "[memory"}, "knobs must be a list such as"),
        ({"watch": -1}, "watch must be at least 0 and at most 600, got -1"),
        ({"role": "laptop"}, "role must be desktop, headless or shared, got 'laptop'"),
        ({"models": "/no/where"}, "parameter models: there is no folder"),
    ],
)
def test_a_wrong_parameter_is_one_clear_line(given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        load(given)
    assert "\n" not in str(raised.value)


def test_a_record_from_before_there_were_audits_still_loads(tmp_path: Path) -> None:
    values = json.loads((ROOT / "tests" / "record" / "old" / "record.json").read_text())
    del values["audit"]
    (tmp_path / FILE).write_text(json.dumps(values))
    assert "audit" not in store.load(tmp_path).studies
