"""hwdiag from Python, as docs/python.md shows it."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa
import pytest

import hwdiag
from hwdiag import api
from hwdiag.core.errors import UsageError

pytestmark = pytest.mark.usefixtures("clean_environment")

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "outputs" / "example"


def test_every_function_is_there_by_its_name_and_documented() -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    own = {name for name, thing in vars(api).items() if getattr(thing, "__module__", "") == "hwdiag.api"}
    assert own == set(hwdiag.API)
    assert [name for name in hwdiag.API if f"hwdiag.{name}(" not in page] == []
    assert set(re.findall(r"hwdiag\.([a-z_]+)\(", page)) == own
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = hwdiag.nothing


def test_facts_of_this_machine() -> None:
    assert hwdiag.read_host().usable_cpus


def test_a_record_as_tables() -> None:
    record = hwdiag.load_record(EXAMPLE)
    speeds = pa.Table.from_pylist(hwdiag.measurement_rows(record))
    assert speeds.num_rows == len(record.studies["tune"].measurements) > 50
    assert {"gpt2", "resnet18"} <= set(speeds["workload"].to_pylist())
    assert max(s for s in speeds["median_s"].to_pylist() if s is not None) < 60
    found = hwdiag.finding_rows(hwdiag.load_record(EXAMPLE / "monitor"))
    assert [f["severity"] for f in found][:1] == ["warning"]
    assert hwdiag.measurement_rows(hwdiag.load_record(EXAMPLE / "audit")) == []


def test_a_diagnosis_writes_where_it_is_asked_to_and_refuses_wrong_names(tmp_path: Path) -> None:
    snapshot = next((ROOT / "tests" / "host" / "snapshots").glob("*.tar.gz"))
    record = hwdiag.run_diagnosis(snapshot=str(snapshot), outputs=tmp_path)
    assert record.complete
    assert len(list(tmp_path.glob("*/*/record.json"))) == 1
    with pytest.raises(UsageError, match="bugdet"):
        hwdiag.run_diagnosis(bugdet="quick")
