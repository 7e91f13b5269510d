"""Records that are read fast: the same comes out, or what the whole file says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwdiag.record import row
from hwdiag.record.index import build_index, refused, rows
from hwdiag.record.row import RecordRow, RefusedRecord, row_of

EXAMPLES = Path(__file__).parents[2] / "outputs" / "example"
RECORDS = sorted(EXAMPLES.glob("**/record.json"))
TODAY: dict[str, Any] = json.loads((EXAMPLES / "record.json").read_text())
TODAY["studies"] = {t: s for t, s in TODAY["studies"].items() if t in ("tune", "audit")}
PLACES = (
    *((key,) for key in TODAY if key != "schema_version"),
    *(("host", key) for key in TODAY["host"]),
    *(("host", "cpu", key) for key in TODAY["host"]["cpu"]),
    *(("studies", "tune", key) for key in ("workloads", "estimates", "measurements", "steps")),
    *(("studies", "tune", "estimates", 0, key) for key in TODAY["studies"]["tune"]["estimates"][0]),
    *(("studies", "tune", "workloads", 0, key) for key in TODAY["studies"]["tune"]["workloads"][0]),
    ("studies", "tune", "measurements", 0, "disturbance"),
    ("studies", "audit"),
    ("unknown",),
)  # fmt: skip


def with_value(place: tuple[Any, ...], value: Any) -> bytes:
    """Return the example's record with something else in one place."""
    values = json.loads(json.dumps(TODAY))
    at = values
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    return json.dumps(values).encode()


def whole(data: bytes) -> RecordRow | RefusedRecord:
    """Return the row of a record of which all is read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row, "lean_record", lambda *_: None)
        return row_of(data, "x")


@pytest.mark.parametrize("path", RECORDS, ids=lambda p: str(p.relative_to(EXAMPLES)))
def test_of_a_record_of_today_only_what_is_compared_is_parsed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To parse all of it took half of the time of a fleet."""
    data = path.read_bytes()
    wanted = whole(data)
    monkeypatch.setattr(row, "parse_json", lambda *_: pytest.fail("all of it was parsed"))
    assert row_of(data, "x") == wanted
    assert isinstance(wanted, RecordRow)


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers(-(10**20), 10**20) | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=8,
    ),
    st.sampled_from(PLACES),
)
def test_any_value_in_any_place_gives_what_all_of_the_file_gives(value: Any, place: tuple[Any, ...]) -> None:
    """But for an estimate of another plan, or a topic that has no speeds: what is wrong in it is not looked at."""
    data = with_value(place, value)
    assert row_of(data, "x") == whole(data)


@pytest.mark.parametrize("data", [
    with_value(("unknown",), "\u00e4").replace(b"\\u00e4", b"\xff"),
    with_value(("unknown",), "S").replace(b'"S"', b'"\\ud800"'),
    with_value(("name",), "S").replace(b'"S"', b'"\\ud800"'),
    with_value(("unknown",), "S").replace(b'"S"', b"[" * 100_000 + b"]" * 100_000),
    with_value(("host", "system"), "S").replace(b'"S"', b"[" * 5000 + b"]" * 5000),
    with_value(("unknown",), "S").replace(b'"S"', b"NaN"),
    with_value(("host", "system"), "S").replace(b'"S"', b"9" * 5000),
    with_value(("unknown",), 1)[:-100],
    with_value(("unknown",), 1) + b"}",
    b'{"name": "other", ' + with_value(("unknown",), 1)[1:],
])  # fmt: skip
def test_what_is_damaged_or_hostile_is_refused_as_ever(data: bytes) -> None:
    assert row_of(data, "x") == whole(data)


def test_alike_parts_under_two_names_keep_their_names() -> None:
    """Parts that many hosts have are remembered by their bytes."""
    same = {"one": 1, "two": "x"}
    found = row_of(with_value(("host", "first"), same), "x")
    again = row_of(with_value(("host", "second"), same), "x")
    assert isinstance(found, RecordRow)
    assert isinstance(again, RecordRow)
    assert {"first.one", "first.two"} <= found.facts.keys()
    assert {"second.one", "second.two"} <= again.facts.keys()


@pytest.mark.parametrize(
    "place",
    [
        ("host", "memory", "total_bytes"),
        ("host", "cpu", "sockets"),
        ("studies", "tune", "estimates", 0, "seconds", "processes"),
    ],
)
def test_a_number_that_no_table_holds_is_a_line_of_its_own(place: tuple[Any, ...], tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "record.json").write_bytes(with_value(place, 10**25))
    (tmp_path / "b" / "record.json").write_bytes(json.dumps(TODAY).encode())
    table = build_index([str(tmp_path)])
    assert len(list(rows(table))) + len(refused(table)) == 2
