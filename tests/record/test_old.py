"""Older records are read: a real one of each format from before the envelope, in reports, comparisons and replays."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hwdiag.audit import steps as auditing
from hwdiag.audit.model import Audit
from hwdiag.cli import main
from hwdiag.compat import steps as checking
from hwdiag.compat.model import Survey
from hwdiag.core.errors import UsageError
from hwdiag.core.value import TopicStudy
from hwdiag.dataloader import steps as feeding
from hwdiag.dataloader.model import Feed
from hwdiag.devices import steps as weighing
from hwdiag.devices.model import Study
from hwdiag.diagnose import steps as diagnosing
from hwdiag.estimate import steps as estimating
from hwdiag.estimate.model import EstimateStudy
from hwdiag.monitor import steps as monitoring
from hwdiag.monitor.study import Recording
from hwdiag.profile.measure import Profiled
from hwdiag.record import store
from hwdiag.record.convert import renamed_at
from hwdiag.record.model import Topic
from hwdiag.record.row import RecordRow, row_of
from hwdiag.record.tuning import tuning

pytestmark = pytest.mark.usefixtures("clean_environment")

OLD = Path(__file__).with_name("old")
KINDS: dict[str, tuple[Topic, type[TopicStudy]]] = {
    "audit.json": ("audit", Audit),
    "compatibility.json": ("compat", Survey),
    "devices.json": ("devices", Study),
    "estimate.json": ("estimate", EstimateStudy),
    "feeding.json": ("dataloader", Feed),
    "monitor.json": ("monitor", Recording),
}
PROFILE: dict[str, Any] = {"command": ["python", "x.py"], "outcome": "", "status": 0, "trace": "x.pt.trace.json"}


@pytest.mark.parametrize("name", KINDS)
def test_each_older_format_becomes_a_record_with_that_study(name: str) -> None:
    topic, kind = KINDS[name]
    record = store.load(OLD / name)
    assert list(record.studies) == [topic]
    study = record.study(topic, kind)
    assert study is not None
    assert study.started_at.startswith("2026-11-")
    assert record.study(topic, kind) is study


@pytest.mark.parametrize(
    ("name", "path", "names"),
    [
        ("feeding.json", (), {"available": "room"}),
        ("feeding.json", ("trials",), {"memory_bytes": "held_bytes"}),
        ("feeding.json", ("caching", "caches"), {"available_bytes": "room_bytes"}),
        ("devices.json", (), {"dataloader_fed": "fed"}),
    ],
)
def test_a_field_that_was_renamed_within_schema_2_is_read(
    name: str, path: tuple[str, ...], names: dict[str, str], tmp_path: Path
) -> None:
    topic, kind = KINDS[name]
    today = store.load(OLD / name)
    values = json.loads(today.model_dump_json())
    values["studies"] = renamed_at(values["studies"], [topic, *path], names)
    old = tmp_path / "record.json"
    old.write_text(json.dumps(values))
    assert json.dumps(values) != json.dumps(json.loads(today.model_dump_json()))
    assert store.load(old).study(topic, kind) == today.study(topic, kind)


def test_schema_1_becomes_three_studies_and_nothing_is_lost() -> None:
    old = json.loads((OLD / "record.json").read_text())
    record = store.load(OLD / "record.json")
    assert list(record.studies) == ["tune", "audit", "compat"]
    assert [m.id for m in tuning(record).measurements] == [m["id"] for m in old["measurements"]]
    assert record.params["tune"] == old["params"]
    for name in ("findings", "checks", "recommendations"):
        assert [x.id for x in getattr(record, name)] == [x["id"] for x in old[name]]
    of = {c.id: c.topic for c in record.checks}
    assert (of["compat-torch"], of["storage"], of["threads"]) == ("compat", "audit", "tune")
    assert record.identity.family == "26/2/1"


def test_a_profile_of_old_tells_its_time_by_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "box" / "20261120T210005Z" / "profile.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(PROFILE))
    record = store.load(path.parent)
    assert (record.name, record.started_at) == ("box", "2026-11-20T21:00:05Z")
    assert record.study("profile", Profiled) is not None


@pytest.mark.parametrize("name", [*KINDS, "record.json"])
def test_report_and_compare_read_them(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / name
    shutil.copy(OLD / name, path)
    assert main(["report", str(path)]) == 0
    assert "nan" not in capsys.readouterr().out
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")
    row = row_of(path.read_bytes(), str(path))
    assert isinstance(row, RecordRow)
    assert bool(row.speeds) == (name in ("record.json", "devices.json"))


@pytest.mark.parametrize("name", [*KINDS, "record.json"])
def test_they_are_replayed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """HWDIAG_REPLAY may name any of them."""
    monkeypatch.setenv("HWDIAG_REPLAY", str(OLD / name))
    walks: dict[str, Any] = {
        "audit.json": lambda: auditing.start(auditing.parameters({})).settings(),
        "compatibility.json": lambda: checking.start(checking.parameters({})).crashes(),
        "devices.json": lambda: weighing.start(weighing.parameters({})).techniques(),
        "estimate.json": lambda: estimating.start(estimating.parameters({})).counts(),
        "feeding.json": lambda: feeding.start(feeding.parameters({})).caches(),
        "monitor.json": lambda: monitoring.start(monitoring.parameters({})).run(),
        "record.json": lambda: diagnosing.start(diagnosing.parameters({})).record,
    }
    assert walks[name]().verdict.endswith(".")


@pytest.mark.parametrize("name", KINDS)
def test_a_field_that_is_not_known_is_named_with_its_file(name: str, tmp_path: Path) -> None:
    values = json.loads((OLD / name).read_text())
    topic, kind = KINDS[name]
    place = values["audit"] if name == "audit.json" else values
    place["surprise"] = 1
    path = tmp_path / name
    path.write_text(json.dumps(values))
    with pytest.raises(UsageError, match=rf"{name}: studies.{topic}.surprise: Extra inputs") as raised:
        store.load(path).study(topic, kind)
    assert "\n" not in str(raised.value)
    assert main(["report", str(path)]) == 2
