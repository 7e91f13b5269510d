"""Records side by side: what is read, what is refused, what differs, and what became slower."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwdiag.cli import main
from hwdiag.compare import show
from hwdiag.compare.compare import (
    Earlier,
    History,
    changes,
    histories,
    lines,
    newest,
)
from hwdiag.compare.steps import RecordComparison, load
from hwdiag.core.errors import UsageError
from hwdiag.core.interval import Interval
from hwdiag.experiment.statistics import MIN_PAIRS, median_interval
from hwdiag.record.differences import differences, group_of
from hwdiag.record.index import build_index, refused, rows
from hwdiag.record.row import RecordRow, RefusedRecord, Speed, row_of

pytestmark = pytest.mark.usefixtures("clean_environment")

EXAMPLE = Path(__file__).parents[2] / "outputs" / "example"
OLD = EXAMPLE.parents[1] / "tests" / "record" / "old"
WHOLE: dict[str, Any] = json.loads((EXAMPLE / "record.json").read_text())
TUNE: dict[str, Any] = {**WHOLE["studies"]["tune"], "measurements": [], "comparisons": []}
SMALL: dict[str, Any] = {**WHOLE, "studies": {"tune": TUNE}, "findings": [], "checks": [], "recommendations": []}
Write = Callable[..., Path]


def record(**changes: Any) -> dict[str, Any]:
    """The example without its measurements; ``cpu__governor="performance"`` changes a fact of the host."""
    values = json.loads(json.dumps(SMALL))
    for key, value in changes.items():
        inner, *more = key.split("__")
        if more:
            (values["studies"] if inner == "tune" else values["host"])[inner][more[0]] = value
        else:
            values[key] = value
    return values


def slowed(values: dict[str, Any], factor: float) -> dict[str, Any]:
    """The same record, with every speed divided by this, each over ten processes within half a percent."""
    for e in values["studies"]["tune"]["estimates"]:
        middle = e["seconds"]["median"] * factor
        e["seconds"] = {"median": middle, "low": middle * 0.995, "high": middle * 1.005, "processes": 10, "samples": 50}
    return values


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def one(name: str, values: dict[str, Any] | bytes) -> Path:
        path = tmp_path / "outputs" / name / "record.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(values if isinstance(values, bytes) else json.dumps(values).encode())
        return path

    return one


def row(values: dict[str, Any]) -> RecordRow:
    found = row_of(json.dumps(values).encode(), "x")
    assert isinstance(found, RecordRow), found
    return found


def test_a_real_record_becomes_a_row() -> None:
    found = row_of((EXAMPLE / "record.json").read_bytes(), "x")
    assert isinstance(found, RecordRow)
    assert found.cores == 2
    assert found.facts["memory.transparent_hugepages"] == "madvise"
    assert found.facts["software.torch_version"] == "2.13.0+cpu"
    assert "measured.mhz" in found.facts
    assert {s.workload for s in found.speeds} >= {w["name"] for w in TUNE["workloads"]}
    estimate = next(e for e in TUNE["estimates"] if (e["workload"], e["plan"]) == ("gpt2", "default"))
    assert next(s.seconds for s in found.speeds if s.workload == "gpt2") == estimate["seconds"]["median"]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not a record: damaged or not JSON"),
        (b"\xff\xfe{", "not a record: damaged or not JSON"),
        (b"[" * 100_000, "not a record: damaged or not JSON"),
        (b"[]", "not a record"),
        (b"{}", "not a record"),
        (b'{"schema_version": true}', "not a record"),
        (b'{"schema_version": 2}', "name: Field required"),
        (b'{"schema_version": 3}', "schema version 3; this hwdiag reads up to 2"),
        (b'{"schema_version": 999}', "schema version 999; this hwdiag reads up to 2"),
        (b"\x00" * 1000, "not a record: damaged or not JSON"),
        (b'{"schema_version": 1}', "name: Field required"),
        (json.dumps(record(complete=False)).encode(), "not written to its end"),
        (json.dumps(record())[:-2000].encode(), "not a record: damaged or not JSON"),
        (json.dumps(record(host=[1])).encode(), "host: "),
        (json.dumps(record(name="x" * 1000)).encode(), "name: "),
        (json.dumps(record(tune__estimates=[{"workload": "a", "plan": "b", "seconds": {}}])).encode(), "estimates"),
    ],
)
def test_what_is_refused_and_why(data: bytes, why: str) -> None:
    found = row_of(data, "somewhere")
    assert isinstance(found, RefusedRecord)
    assert found.why.startswith(why)
    assert "\n" not in found.why


def test_an_older_record_is_read() -> None:
    """Of an older schema, with fields that are gone and without ones that came later."""
    values = {**json.loads((OLD / "record.json").read_text()), "schema_version": 0, "gone": {"a": [1]}}
    for later in ("software", "overall_of", "ceilings", "files", "checks", "launches"):
        values.pop(later, None)
    assert row(values).schema_version == 0
    assert row(values).speeds


@settings(max_examples=60, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=12,
    ),
    st.sampled_from([*(k for k in SMALL if k != "schema_version"), *(f"tune__{k}" for k in TUNE)]),
)
def test_any_value_in_any_place_is_read_or_refused(value: Any, place: str) -> None:
    found = row_of(json.dumps(record(**{place: value})).encode(), "x")
    assert isinstance(found, (RecordRow, RefusedRecord))


def test_what_comes_from_a_record_stays_text(write: Write) -> None:
    evil = record(name="<script>alert(1)</script>", system__kernel="\x1b[31m../../etc/passwd")
    other = record(name="b", system__machine_hash="b" * 64)
    some = [row(evil), row(other)]
    for section in (
        show.overview(some, []),
        show.differing(some, differences(some)),
        show.speeds(some, lines(some), []),
    ):
        assert "<script>" not in section._repr_html_()
        assert "\x1b" not in repr(section)
    path = write("evil", evil)
    before = {p: p.stat().st_mtime_ns for p in path.parents[1].rglob("*")}
    build_index([str(path.parents[1])])
    assert {p: p.stat().st_mtime_ns for p in path.parents[1].rglob("*")} == before


def test_facts_settings_and_software_are_told_apart() -> None:
    changed = record(name="b", memory__transparent_hugepages="always", system__kernel="7.0", memory__available_bytes=1)
    changed["software"]["torch_version"] = "2.14.0"
    changed["host"]["cpu"]["cores"] = 4
    found = {d.what: d for d in differences([row(record()), row(changed)])}
    assert set(found) == {
        "memory.transparent_hugepages", "system.kernel", "software.torch_version", "cpu.cores",
    }  # fmt: skip
    assert found["memory.transparent_hugepages"].values == ("madvise", "always")
    assert [d.group for d in found.values()] == ["setting", "setting", "software", "fact"]
    assert group_of("cpu.microcode") == "setting"


def balloon(values: dict[str, Any], factor: float) -> dict[str, Any]:
    """The record of a guest whose hypervisor took or gave memory."""
    host = values["host"]
    memory = {**host["memory"], "total_bytes": int(host["memory"]["total_bytes"] * factor)}
    nodes = [{**n, "memory_bytes": int(n["memory_bytes"] * factor)} for n in host["numa"]]
    return {**values, "host": {**host, "memory": memory, "numa": nodes}}


def test_memory_that_a_hypervisor_adds_is_one_line_and_what_a_boot_changes_none() -> None:
    values = record()
    nodes = [{"id": i, "cpus": [i], "memory_bytes": 8 << 30} for i in range(6)]
    values["host"] = {**values["host"], "numa": nodes}
    names = {d.what for d in differences([row(values), row(balloon(values, 1.002))])}
    assert not any("memory" in n or "numa" in n for n in names)
    names = {d.what for d in differences([row(values), row(balloon(values, 1.5))])}
    assert [n for n in names if "memory_bytes" in n or "total_bytes" in n] == ["memory.total_bytes"]
    moved = {**values, "host": {**values["host"], "numa": [{**nodes[0], "memory_bytes": 1 << 30}, *nodes[1:]]}}
    assert {d.what for d in differences([row(values), row(moved)])} == {"numa.0.memory_bytes"}


@pytest.mark.parametrize(
    ("what", "value", "words"),
    [
        ("numa.0.memory_bytes", "17179869184", ("NUMA node 0: memory", "16 GiB")),
        ("memory.total_bytes", "17179869184", ("memory: total", "16 GiB")),
        ("system.kernel", "6.1", ("kernel", "6.1")),
        ("disks.1.read_ahead_kb", "128", ("disk 1: read ahead, KiB", "128")),
        ("cpu.kinds.0.cores", "8", ("CPU: kind 0: cores", "8")),
        ("software.torch", "", ("software: torch", "unknown")),
    ],
)
def test_a_fact_is_told_in_words(what: str, value: str, words: tuple[str, str]) -> None:
    assert (show.in_words(what), show.value_in_words(what, value)) == words


def test_a_long_name_of_somebody_elses_record_does_not_widen_columns() -> None:
    long = "x" * 200
    rows = [row(record(name=long, started_at=f"2026-11-0{i}T10:00:00Z")) for i in (1, 1, 2)]
    headings = show.labels([*rows, row(record(name="short"))])
    assert len(set(headings)) == 4
    assert headings[3] == "short"
    assert all(len(h) <= 50 for h in headings), headings
    (table,) = show.differing(rows, differences(rows)).parts or (None,)
    assert table is None or long not in str(table.header)


def test_a_speed_is_small() -> None:
    """A fleet of ten thousand hosts has half a million of them, which took most of 1.3 GB."""
    assert not hasattr(speed(1.0), "__dict__")


def test_different_versions_of_a_workload_are_not_compared() -> None:
    other = record(name="b", system__machine_hash="b" * 64)
    next(w for w in other["studies"]["tune"]["workloads"] if w["name"] == "gpt2")["size"]["tokens"] = 128
    next(w for w in other["studies"]["tune"]["workloads"] if w["name"] == "copy")["size"]["elements"] *= 2
    some = [row(record()), row(other)]
    refusals = {line.workload: line.refusal for line in lines(some) if line.refusal}
    assert set(refusals) == {"gpt2"}
    assert refusals["gpt2"].startswith("not compared, its versions differ: ")
    said = repr(show.speeds(some, lines(some), []))
    assert "gpt2: not compared, its versions differ" in said
    numbered = record(name="c")
    workloads = numbered["studies"]["tune"]["workloads"]
    workloads[0]["version"] = 2
    assert [line.workload for line in lines([row(record()), row(numbered)]) if line.refusal] == [workloads[0]["name"]]


def speed(middle: float, spread: float = 0.005, processes: int = 10) -> Speed:
    return Speed(
        workload="gpt2", version="v", family="model", device="cpu", work=1, seconds=middle, low=middle * (1 - spread),
        high=middle * (1 + spread), processes=processes,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("then", "now", "verdict"),
    [
        (speed(1), speed(1.2), "worse"),
        (speed(1), speed(0.8), "better"),
        (speed(1), speed(1.001), "same"),
        (speed(1, 0.2), speed(1.2, 0.2), "undecided"),
        (speed(1), speed(1.02), "same"),
        (speed(1), speed(1.025), "undecided"),
        (speed(1), speed(1.2, processes=MIN_PAIRS - 1), "undecided"),
        (speed(1), speed(1.2, processes=MIN_PAIRS), "worse"),
    ],
)
def test_the_verdict_is_by_interval(then: Speed, now: Speed, verdict: str) -> None:
    (change,) = changes([Earlier(now, then, row(record()), 1)])
    assert change.verdict == verdict
    assert change.speedup.low <= change.speedup.median <= change.speedup.high
    assert change.speedup.median == pytest.approx(then.seconds / now.seconds)


def test_worse_needs_the_test_too_and_all_workloads_share_its_budget() -> None:
    """What is clear by itself may be chance among a hundred workloads, or against the luckiest of a year of runs."""
    then, now, other = speed(1, 0.03), speed(1.12, 0.03), speed(1.001, 0.03)
    one = Earlier(now, then, row(record()), 1)
    (alone,) = changes([one])
    among = changes([one, *[Earlier(other, then, one.record, 1)] * 99])[0]
    (of_a_year,) = changes([Earlier(now, then, one.record, 365)])
    assert (alone.verdict, among.verdict, of_a_year.verdict) == ("worse", "undecided", "undecided")
    assert "it may be chance (p = " in among.why
    assert among.p_value == pytest.approx(100 * alone.p_value)
    assert of_a_year.p_value == pytest.approx(365 * alone.p_value)


@cache
def drawn(spread: float, processes: int) -> list[Interval]:
    """Times of workloads that take a second, over so many processes each, whose noise is log-normal."""
    noise = np.random.default_rng(7)
    return [median_interval(noise.lognormal(0, spread, processes).tolist()) for _ in range(3000)]


def simulated(count: int, spread: float, *, processes: int = 10, runs: int = 2, slower: float = 1.0) -> list[History]:
    """Histories of ten workloads in which nothing changed, but that the last run may be slower in the first one."""
    pool, pick = drawn(spread, processes), np.random.default_rng(8)
    base = row(record()).model_copy(update={"facts": {}})

    def timed(name: str, factor: float) -> Speed:
        time = pool[pick.integers(len(pool))]
        return Speed(
            workload=name, version="v", family="model", device="cpu", work=1, seconds=factor * time.median,
            low=factor * time.low, high=factor * time.high, processes=processes,
        )  # fmt: skip

    found = []
    for _ in range(count):
        days = [
            base.model_copy(
                update={
                    "started_at": f"2026-11-{day:02}",
                    "speeds": tuple(timed(f"w{n}", slower if (day, n) == (runs, 0) else 1.0) for n in range(10)),
                }
            )
            for day in range(1, runs + 1)
        ]
        found += histories(days)
    return found


@pytest.mark.parametrize(("spread", "processes", "runs"), [(0.05, 10, 2), (0.15, 10, 2), (0.15, 40, 2), (0.05, 10, 5)])
def test_of_hosts_that_did_not_change_one_in_a_hundred_is_called_changed(
    spread: float, processes: int, runs: int
) -> None:
    """A host counts if any of its ten workloads is called better or worse."""
    found = simulated(2000, spread, processes=processes, runs=runs)
    called = sum(any(c.verdict in ("better", "worse") for c in history.changes) for history in found)
    assert called <= 20, called


@pytest.mark.parametrize(("spread", "least"), [(0.05, 0.95), (0.02, 0.99)])
def test_a_loss_of_a_fifth_is_seen(spread: float, least: float) -> None:
    found = simulated(500, spread, slower=1.25)
    assert sum(history.changes[0].verdict == "worse" for history in found) >= least * len(found)


def test_what_has_no_work_or_no_time_has_no_rate() -> None:
    """A damaged record is refused or left out where it would be divided by."""
    idle, instant = record(started_at="2026-11-01T10:00:00Z"), record()
    for workload in idle["studies"]["tune"]["workloads"]:
        workload["flops"] = 0 if workload["family"] == "compute" else workload["flops"]
    assert {s.family for s in row(idle).speeds} == {"memory", "model"}
    (found,) = histories([row(idle), row(record(started_at="2026-11-02T10:00:00Z"))])
    assert {c.workload for c in found.changes} == {s.workload for s in row(idle).speeds}
    instant["studies"]["tune"]["estimates"][0]["seconds"]["low"] = 5e-324
    assert isinstance(row_of(json.dumps(instant).encode(), "x"), RefusedRecord)


def test_a_host_that_became_slower_is_found_with_what_changed() -> None:
    day = "2026-11-{:02}T10:00:00Z".format
    series = [
        slowed(record(started_at=day(1)), 1.0),
        slowed(record(started_at=day(2), system__kernel="6.20"), 0.9),
        slowed(record(started_at=day(3), system__kernel="7.0"), 1.3),
    ]
    (found,) = histories(row(r) for r in reversed(series))
    assert found.verdict == "worse"
    assert (found.before, found.after) == (day(2), day(3))
    assert [c.speedup.median for c in found.changes] == pytest.approx([0.9 / 1.3] * len(found.changes))
    assert [(d.what, d.values) for d in found.differences] == [("system.kernel", ("6.20", "7.0"))]
    assert histories([row(series[0])]) == ()
    (steady,) = histories([row(series[0]), row(slowed(record(started_at=day(4)), 1.001))])
    assert steady.verdict == "same"


def test_normalised_by_core_watt_and_price() -> None:
    values = record(cpu__model="Intel(R) Xeon(R) Platinum 8490H", cpu__cores=120, cpu__sockets=2)
    part = show.matched(row(values), ())
    assert part is not None
    assert part.name == "Intel Xeon Platinum 8490H"
    found = lines([row(values)])
    table = show.per_unit([row(values)], found, [part])
    assert table is not None
    line = next(line for line in found if line.workload == "matmul-fp32")
    one = next(r for r in table.rows if str(r[1]).startswith("matmul-fp32"))
    value = line.speeds[0].value(line.speeds[0].seconds) if line.speeds[0] else 0
    assert [float(str(cell)) for cell in one[2:]] == pytest.approx(
        [value / 120, value / 700, 1000 * value / 34000], rel=0.01
    )
    most = next(r for r in table.rows if r[:2] == (f"{part.name}, at most", "copy, GB/s"))
    assert [float(str(cell)) for cell in most[2:]] == pytest.approx([307.2 / 60, 307.2 / 350, 307.2 / 17], rel=0.01)
    dearer = part.model_copy(update={"price_usd": part.price_usd.model_copy(update={"value": 34000.0})})  # type: ignore[union-attr]
    assert show.matched(row(values), [dearer]) is dearer
    assert show.matched(row(record()), ()) is None  # "AMD EPYC" alone says too little
    e5 = row(record(cpu__model="Intel(R) Xeon(R) CPU E5-2680 v2 @ 2.80GHz"))
    assert "E5-2680 v2" in str(show.matched(e5, ()))


def test_folders_files_and_urls(write: Write, tmp_path: Path) -> None:
    first = write("a/1", record(name="a"))
    write("b/1", record(name="b", system__machine_hash="b" * 64))
    write("b/2", b"{")
    write("b/3", record(schema_version=7))
    table = build_index([str(tmp_path / "outputs")])
    assert [r.name for r in newest(rows(table))] == ["a", "b"]
    assert sorted(r.why for r in refused(table)) == [
        "not a record: damaged or not JSON", "schema version 7; this hwdiag reads up to 2",
    ]  # fmt: skip
    assert len(list(rows(build_index([str(first)])))) == 1
    remote = build_index([f"file://{tmp_path}/outputs"])
    assert [r.name for r in newest(rows(remote))] == ["a", "b"]
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/runs/a/record.json", first.read_bytes())
    memory.pipe("/runs/readme.txt", b"no record")
    assert [r.name for r in rows(build_index(["memory://runs"]))] == ["a"]


def test_what_is_no_file_is_refused_and_not_waited_for(write: Write, tmp_path: Path) -> None:
    write("a/1", record(name="a"))
    for name, make in (("pipe", os.mkfifo), ("device", lambda path: path.symlink_to("/dev/zero"))):
        (tmp_path / "outputs" / name).mkdir()
        make(tmp_path / "outputs" / name / "record.json")
    table = build_index([str(tmp_path / "outputs")])
    assert [r.name for r in rows(table)] == ["a"]
    assert [r.why for r in refused(table)] == ["not a regular file"] * 2
    with pytest.raises(UsageError, match="no record at"):
        build_index([str(tmp_path / "outputs" / "pipe" / "record.json")])


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("nowhere", "no record at nowhere"),
        ("memory://nowhere", "memory://nowhere"),
        ("nosuch://host/x", "nosuch://host/x cannot be read: Protocol not known"),
    ],
)
def test_a_location_with_nothing_is_one_line(location: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        build_index([location])
    assert "\n" not in str(raised.value)


def test_only_what_changed_is_read_again(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hwdiag.record import index

    keep = tmp_path / "kept" / "index.parquet"
    paths = [write(f"h{i}", record(name=f"h{i}", system__machine_hash=str(i) * 64)) for i in range(3)]
    build_index([str(tmp_path / "outputs")], keep)
    read: list[str] = []
    real = index.entry
    monkeypatch.setattr(index, "entry", lambda source: read.append(source.location) or real(source))
    build_index([str(tmp_path / "outputs")], keep)
    assert read == []
    paths[1].write_text(json.dumps(record(name="changed")))
    assert "changed" in {r.name for r in rows(build_index([str(tmp_path / "outputs")], keep))}
    assert read == [str(paths[1])]
    paths[0].unlink()
    assert "h0" not in {r.name for r in rows(build_index([str(tmp_path / "outputs")], keep))}
    keep.write_bytes(b"PAR1 rubbish")
    assert len(list(rows(build_index([str(tmp_path / "outputs")], keep)))) == 2


@pytest.mark.long
def test_ten_thousand_records_in_five_seconds(tmp_path: Path) -> None:
    """From the kept index, every file looked at, and every host's history with its verdict."""
    for i in range(10_000):
        folder = tmp_path / "outputs" / f"host{i % 2500}" / str(i // 2500)
        folder.mkdir(parents=True)
        values = {**SMALL, "name": f"host{i % 2500}", "started_at": f"2026-11-0{1 + i // 2500}T10:00:00Z"}
        values["host"] = {**SMALL["host"], "system": {**SMALL["host"]["system"], "machine_hash": f"{i % 2500:064}"}}
        (folder / "record.json").write_text(json.dumps(values))
    params = load({"records": [str(tmp_path / "outputs")]})
    keep = tmp_path / "index.parquet"
    RecordComparison(params, keep=keep)
    started = time.process_time()  # of this process: others may be busy here
    found = RecordComparison(params, keep=keep)
    sections = (found.overview(), found.differences(), found.speeds(), found.histories())
    took = time.process_time() - started
    assert sections[0].verdict == "10000 records of 2500 hosts."
    assert len(found.history) == 2500
    assert took < 5, took


def test_the_example_is_shown_only_where_there_is_nothing_else(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "params").mkdir()
    monkeypatch.setenv("HWDIAG_HOME", str(tmp_path))
    write("example", record(name="example"))
    assert [r.name for r in RecordComparison(load({})).records] == ["example"]
    write("box/1", record(name="box"))
    assert [r.name for r in RecordComparison(load({})).records] == ["box"]


def test_the_command_line(write: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write("a/1", slowed(record(name="a", started_at="2026-11-01T10:00:00Z"), 1.0))
    outputs = str(tmp_path / "outputs")
    assert main(["compare", outputs, "--part", "epyc-9654"]) == 0
    assert "at most 461" in capsys.readouterr().out
    write("a/2", slowed(record(name="a", started_at="2026-11-02T10:00:00Z"), 1.5))
    assert main(["compare", outputs]) == 1  # so that a nightly job notices
    assert "1 host slower" in capsys.readouterr().out
    assert main(["compare", outputs, "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["histories"][0]["verdict"] == "worse"
    assert main(["compare", outputs, "--host", "c"]) == 2
    assert "nothing to compare: no record of c" in capsys.readouterr().err
    assert main(["compare", str(tmp_path / "none")]) == 2
    assert main(["compare", outputs, "--part", "none"]) == 2
    assert main(["compare", outputs, "--min-effect", "-1"]) == 2
