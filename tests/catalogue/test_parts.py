"""The catalogue: what its files say, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from hwdiag.catalogue.parts import FOLDER, catalogue, find_part, part_of, read_part, sourced_values
from hwdiag.core.errors import UsageError
from hwdiag.record import store
from hwdiag.record.tuning import tuning

ROOT = Path(__file__).parents[2]
GOOD = (FOLDER / "xeon-8490h.yaml").read_text()


def changed(tmp_path: Path, **changes: Any) -> Path:
    """The 8490H's file with other values; a key ``a.b`` is one inside, None takes it away."""
    values = yaml.safe_load(GOOD)
    for key, value in changes.items():
        *above, last = key.split("__")
        inner = values
        for step in above:
            inner = inner[int(step)] if step.isdigit() else inner[step]
        if value is None:
            del inner[last]
        else:
            inner[last] = value
    path = tmp_path / "part.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_it_has_the_documents_three_and_every_part_asked_for() -> None:
    parts = catalogue()
    assert {"epyc-9654", "ampereone-a192", "xeon-8490h"} <= set(parts)
    assert len([p for p in parts.values() if p.kind == "cpu"]) == 17
    assert {k for k, p in parts.items() if p.kind == "gpu"} == {
        "rtx-3060", "rtx-4090", "a100-80gb-sxm", "h100-sxm", "h200", "gb10-gpu",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "dtype", "tera"),
    [
        ("epyc-9654", "float32", 7.37),
        ("epyc-9654", "int8", 29.5),
        ("xeon-8490h", "int8", 233.5),
        ("ampereone-a192", "float32", 9.83),
        ("rtx-3060", "float32", 12.7),
        ("rtx-4090", "bfloat16", 165),
        ("a100-80gb-sxm", "bfloat16", 312),
        ("h100-sxm", "bfloat16", 990),
        ("h200", "int8", 1979),
    ],
)
def test_peaks_follow_from_cores_clock_and_operations(name: str, dtype: str, tera: float) -> None:
    assert (catalogue()[name].peak(dtype) or 0) / 1e12 == pytest.approx(tera, rel=0.01)


def test_a_matrix_unit_is_told_from_the_vector_units() -> None:
    part = catalogue()["xeon-8490h"]
    assert part.peak("int8") == pytest.approx(8 * (part.peak("int8", matrix=False) or 0))
    assert part.peak("float32") == part.peak("float32", matrix=False)
    assert catalogue()["xeon-e5-2680v2"].peak("int8") is None


def test_every_value_names_a_source() -> None:
    for part in catalogue().values():
        assert all(sourced.source in part.sources for _, sourced in sourced_values(part))
        assert all(len(text) > 10 for text in part.sources.values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"memory__bandwidth_gbs": {"is": 460.8, "by": "ark"}}, "8 channels at 4800 MT/s give 307.2 GB/s, not 460.8"),
        ({"cores__0__base_ghz": {"is": 3.6, "by": "ark"}}, "the base, all-core and highest clock are"),
        ({"cores__0__threads": {"is": 100, "by": "ark"}}, "100 threads on 60 cores"),
        ({"tdp_w": {"is": 350, "by": "hearsay"}}, "tdp_w names the source 'hearsay'"),
        ({"tdp_w": {"is": 350}}, "tdp_w.by: Field required"),
        ({"tdp_w": 350}, "tdp_w: "),
        ({"cores__0__count": {"is": -60, "by": "ark"}}, "cores.0.count.is: Input should be greater than 0"),
        ({"cores__0__count": {"is": "sixty", "by": "ark"}}, "cores.0.count.is: "),
        ({"cores__0__max_ghz": {"is": float("nan"), "by": "ark"}}, "cores.0.max_ghz.is: "),
        ({"cores__0__max_ghz": None}, "cores.0.max_ghz: Field required"),
        ({"memory": None}, "memory: Field required"),
        ({"wattage": {"is": 350, "by": "ark"}}, "wattage: Extra inputs are not permitted"),
        (
            {"results": [{"what": "hpl", "dtype": "float64", "value": {"is": 20000, "by": "ark"}}]},
            "hpl measured 20,000, which exceeds the peak of 6,720",
        ),
        (
            {"results": [{"what": "copy", "dtype": "float32", "value": {"is": 400, "by": "ark"}}]},
            "copy measured 400, which exceeds the peak of 307",
        ),
        (
            {"results": [{"what": "resnet50-int8-offline", "dtype": "int8", "value": {"is": 90000, "by": "ark"}}]},
            "exceeds the peak",
        ),
    ],
)
def test_a_contradiction_or_a_lack_is_one_clear_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as raised:
        read_part(changed(tmp_path, **changes))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "!!python/object/apply:os.system [id]", "x: &a [*a]", "\x00"])
def test_what_is_no_part_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "part.yaml"
    path.write_text(text)
    with pytest.raises(UsageError) as raised:
        read_part(path)
    assert "\n" not in str(raised.value)


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(max_size=8), st.recursive(st.none() | st.floats() | st.text(max_size=8), st.lists)))
def test_any_yaml_is_a_part_or_refused(tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]) -> None:
    path = tmp_path_factory.mktemp("parts") / "part.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(UsageError):
        read_part(path)


def test_a_person_adds_a_part_with_one_file(tmp_path: Path) -> None:
    path = changed(tmp_path, name="My Xeon")
    assert find_part(str(path)).name == "My Xeon"
    with pytest.raises(UsageError, match="no part 'epyc-96544' in the catalogue: did you mean \"epyc-9654\""):
        find_part("epyc-96544")
    with pytest.raises(UsageError, match="No such file"):
        find_part(str(tmp_path / "none.yaml"))


def test_a_host_that_was_read_is_an_entry_with_measured_ceilings() -> None:
    record = store.load(ROOT / "outputs" / "example")
    part = part_of(record.host, tuning(record).ceilings)
    measured = {(c.kind, c.dtype): c.value for c in tuning(record).ceilings}
    assert part.measured
    assert part.peak("float32") == pytest.approx(measured["compute", "float32"])
    assert part.bandwidth == pytest.approx(measured["memory", "float64"])
    with pytest.raises(UsageError, match="no measured ceilings"):
        part_of(record.host, ())
