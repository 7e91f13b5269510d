"""A fleet: whose records they are, which hosts differ from their kind or from before, and what cannot be read."""

from __future__ import annotations

import json
import os
import random
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.fleet import MODELS, SAID, make_fleet
from hwdiag.cli import main
from hwdiag.compare.fleet import show
from hwdiag.compare.fleet.fleet import fleet_of
from hwdiag.compare.fleet.lineage import hosts_of
from hwdiag.compare.fleet.model import Fleet, FleetHost
from hwdiag.compare.fleet.steps import load, read_fleet
from hwdiag.experiment.outliers import Alike, odd_ones_out, robust_spread
from hwdiag.host.identity import Identity
from hwdiag.record.row import RecordRow, Speed
from hwdiag.record.verification import HealthStatus
from hwdiag.record.verification_row import VerificationRow

pytestmark = pytest.mark.usefixtures("clean_environment")

AT = datetime(2026, 12, 1, 12, tzinfo=timezone.utc)


def speed(seconds: float, workload: str = "gemm") -> Speed:
    return Speed(
        workload=workload, version="1", family="compute", device="cpu", work=1e9,
        seconds=seconds, low=seconds * 0.995, high=seconds * 1.005, processes=12,
    )  # fmt: skip


def row(
    name: str, at: str = "2026-12-01T02:00:00Z", *, machine: str | None = "", seconds: float = 1.0, **changed: Any
) -> RecordRow:
    """One record of a host. ``changed``: cpu, cores, memory, gpus, product, facts."""
    cpu, cores, memory = changed.get("cpu", "EPYC"), changed.get("cores", 64), changed.get("memory", 256 << 30)
    identity = Identity(
        cpu=cpu, family="25", sockets=1, cores=cores, threads=2 * (cores or 1), nodes=1, memory_bytes=memory,
        product=changed.get("product", "Box"), machine=f"id-{name}" if machine == "" else machine,
    )  # fmt: skip
    return RecordRow(
        location=f"/fleet/{name}/{at}/record.json", name=name, host_key=identity.key, memory_bytes=memory,
        started_at=at, topics=("tune",), schema_version=2, versions={},
        cpu=cpu or "unknown", cores=cores, identity=identity,
        gpus=changed.get("gpus", ("H100",) * 4),
        facts={"system.kernel": "6.1", "cpu.governor": "performance", **changed.get("facts", {})},
        speeds=(speed(seconds),),
    )  # fmt: skip


def alike(count: int, at: str = "2026-12-01T02:00:00Z", spread: float = 0.01) -> list[RecordRow]:
    """Hosts n0 ... of one kind, whose speeds scatter."""
    rng = random.Random(1)
    return [row(f"n{i}", at, seconds=float(np.exp(rng.gauss(0, spread)))) for i in range(count)]


def fleet(*rows: RecordRow, verifications: tuple[VerificationRow, ...] = ()) -> Fleet:
    return fleet_of(rows, verifications, (), min_effect=0.05, now=AT)


def host(found: Fleet, name: str) -> FleetHost:
    (one,) = [h for h in found.hosts if h.name == name]
    return one


def said(found: Fleet, name: str) -> list[tuple[str, str]]:
    return [(r.kind, r.text) for r in host(found, name).remarks]


def test_alike_hosts_have_no_remark() -> None:
    found = fleet(*alike(60, "2026-11-01T02:00:00Z"), *alike(60))
    assert [h.name for h in found.hosts if h.remarks] == []
    assert found.records == 120
    assert found.compared == 120  # 60 beside their kind, 60 beside what they were
    assert show.verdict(found) == "Of 60 hosts 60 are as their kind."


def test_a_slow_host_is_the_odd_one_out_and_comes_first() -> None:
    found = fleet(*alike(40), row("slow", seconds=1.2), row("slower", seconds=1.5), row("fast", seconds=0.7))
    assert [h.name for h in found.hosts[:3]] == ["slower", "slow", "fast"]
    assert said(found, "slow") == [("odd", "slower than its 42 peers: gemm on cpu 17 %")]
    assert host(found, "slow").remarks[0].loss == pytest.approx(1 / 6, abs=0.01)
    assert host(found, "fast").severity == "note"


def test_few_hosts_are_not_judged_by_each_other() -> None:
    assert fleet(*alike(4), row("slow", seconds=2.0)).compared == 0


def test_a_host_that_became_slower_says_since_when_and_what_changed() -> None:
    days = [f"2026-11-{d:02}T02:00:00Z" for d in (1, 8, 15, 22)]
    story = [(1.0, "6.1"), (1.01, "6.1"), (1.3, "6.8"), (1.3, "6.8")]
    slow = [row("slow", day, seconds=s, facts={"system.kernel": k}) for day, (s, k) in zip(days, story, strict=True)]
    found = fleet(*alike(30, days[0]), *alike(30, days[3]), *slow)
    texts = dict(said(found, "slow"))
    assert "became 23 % slower between 2026-11-08 02:00 UTC and 2026-11-15 02:00 UTC" in texts["slower"]
    assert "when this changed: system.kernel 6.1 -> 6.8" in texts["slower"]
    assert host(found, "slow").remarks[0].since == days[2]


def test_what_slower_hosts_have_in_common_is_said() -> None:
    then, now = "2026-11-01T02:00:00Z", "2026-12-01T02:00:00Z"
    upgraded = [row(f"u{i}", now, seconds=1.25, facts={"system.kernel": "6.8"}) for i in range(5)]
    before = [row(f"u{i}", then) for i in range(5)]
    found = fleet(*alike(40, then), *alike(40, now), *before, *upgraded)
    (shared,) = found.shared
    assert (shared.what, shared.then, shared.now) == ("system.kernel", "6.1", "6.8")
    assert (shared.slower, shared.of_slower, shared.others, shared.of_others) == (5, 5, 0, 40)
    assert "5 of the 5 hosts that became slower changed system.kernel from 6.1 to 6.8" in "\n".join(
        show.lines(found, 9)
    )


def test_a_setting_that_nearly_all_share_is_drift_elsewhere() -> None:
    root = {"system.cmdline": "ro root=UUID=1 quiet"}
    rows = [row(f"n{i}", facts={"system.cmdline": f"ro root=UUID={i} quiet"}) for i in range(20)]
    found = fleet(*rows, row("odd", facts={"cpu.governor": "powersave", **root}))
    assert said(found, "odd") == [("setting", "1 setting drifted: cpu.governor powersave (performance: 20 of 21)")]
    assert [h.name for h in found.hosts if h.remarks] == ["odd"]
    half = [row(f"h{i}", facts={"cpu.governor": "powersave"}) for i in range(20)]
    assert [h for h in fleet(*rows, *half).hosts if h.remarks] == []


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"gpus": ("H100",) * 3}, "GPUs: 3x H100 where 20 hosts like it have 4x H100"),
        ({"memory": 240 << 30}, "memory: 240 GiB where 21 hosts like it have 256 GiB: a module may be missing"),
        ({"memory": 128 << 30}, "memory: 128 GiB where 20 hosts like it have 256 GiB"),
        ({"cores": 63}, "cores: 63 where 20 hosts like it have 64"),
    ],
)
def test_a_part_that_the_kind_has_is_missed(changed: dict[str, Any], text: str) -> None:
    found = fleet(*alike(20), row("less", **changed))
    assert said(found, "less") == [("parts", text)]
    assert host(found, "less").severity == "problem"
    assert host(found, "less").peers == 21


def test_other_models_are_other_kinds() -> None:
    found = fleet(*alike(10), *(row(f"x{i}", cpu="Xeon", seconds=2.0) for i in range(10)))
    assert [h.name for h in found.hosts if h.remarks] == []
    assert sorted(found.kinds.values()) == [10, 10]


@pytest.mark.parametrize(
    ("rows", "names", "text"),
    [
        (
            [row("a", "2026-11-01T02:00:00Z", machine="m"), row("b", machine="m")],
            ["b"],
            "renamed: it was a until 2026-11-01T02:00:00Z",
        ),
        ([row("a", machine="m"), row("b", machine="m")], ["a", "b"], "cloned: b has the same machine id"),
        (
            [row("a", "2026-11-01T02:00:00Z", machine="m"), row("b", machine="m", cpu="Xeon")],
            ["a", "b"],
            "cloned: b has the same machine id",
        ),
        (
            [row("a", "2026-11-01T02:00:00Z", machine="m"), row("a", machine="n")],
            ["a"],
            "installed again: another machine id since 2026-12-01T02:00:00Z",
        ),
        (
            [row("a", "2026-11-01T02:00:00Z", machine="m"), row("a", machine="n", cpu="Xeon")],
            ["a"],
            "replaced: until 2026-11-01T02:00:00Z another machine had this name, which is not compared",
        ),
        (
            [row("a", "2026-11-01T02:00:00Z", machine="m"), row("a", machine="n"),
             row("a", "2026-12-01T03:00:00Z", machine="m")],
            ["a (m)", "a (n)"],
            "2 machines call themselves a",
        ),
        (
            [row("a", "2026-11-01T02:00:00Z"), row("a", cpu="Xeon")],
            ["a"],
            "processor changed: EPYC -> Xeon between 2026-11-01T02:00:00Z and 2026-12-01T02:00:00Z",
        ),
        (
            [row("a", "2026-11-01T02:00:00Z"), row("a", memory=240 << 30)],
            ["a"],
            "memory: 256 GiB -> 240 GiB between 2026-11-01T02:00:00Z and 2026-12-01T02:00:00Z",
        ),
        ([row("a", "1970-01-01T00:00:09Z"), row("a")], ["a"], "its clock was wrong: 1 record of 1970-01-01T00:00:09Z"),
        ([row("a", "2099-01-01T00:00:00Z")], ["a"], "its clock was wrong: 1 record of 2099-01-01T00:00:00Z"),
        ([row("a", "yesterday"), row("a")], ["a"], "its clock was wrong: 1 record of yesterday"),
    ],
)  # fmt: skip
def test_what_became_of_a_host_is_one_line(rows: list[RecordRow], names: list[str], text: str) -> None:
    found = fleet(*rows)
    assert sorted(h.name for h in found.hosts) == names
    assert [r.text for r in host(found, names[0]).remarks if r.text.startswith(text)], found.hosts


def test_a_wrong_clock_does_not_make_a_host_slower() -> None:
    slow = row("a", "2099-01-01T00:00:00Z", seconds=2.0)
    found = fleet(*alike(20, "2026-11-01T02:00:00Z"), *alike(20), row("a"), slow)
    assert [kind for kind, _ in said(found, "a")] == ["story"]


def test_speeds_before_another_processor_are_not_compared() -> None:
    found = fleet(row("a", "2026-11-01T02:00:00Z", cpu="Fast", seconds=0.1), row("a"))
    assert [kind for kind, _ in said(found, "a")] == ["parts"]


def test_a_record_that_is_there_twice_counts_once() -> None:
    one = row("a")
    lines, duplicates = hosts_of([one, one.model_copy(update={"location": "/copy"})], AT)
    assert (len(lines), len(lines[0].rows), duplicates) == (1, 1, 1)


def test_a_record_that_knows_little_of_its_machine_is_no_other_machine() -> None:
    vague = row("a", machine=None, cores=None, cpu=None)
    found = fleet(row("a", "2026-12-01T03:00:00Z"), vague)
    assert [(h.name, h.remarks) for h in found.hosts] == [("a", ())]
    assert [h.name for h in fleet(vague).hosts] == ["a"]


def verification(name: str, status: HealthStatus, at: str = "2026-12-01T03:00:00Z") -> VerificationRow:
    causes = () if status == "PASS" else (f"{name} is broken",)
    identity = Identity(machine=f"id-{name}")
    return VerificationRow(
        location=f"/{name}",
        host=name,
        identity=identity,
        started_at=at,
        status=status,
        causes=causes,
        known=len(causes),
    )


def test_the_newest_verification_counts_and_critical_comes_first() -> None:
    told = (
        verification("n3", "CRITICAL"),
        verification("n4", "CRITICAL", "2026-11-01T02:00:00Z"), verification("n4", "PASS"),
        verification("n5", "CRITICAL", "2099-01-01T00:00:00Z"), verification("n5", "PASS"),
        verification("n6", "UNKNOWN"), verification("only", "WARNING"),
    )  # fmt: skip
    found = fleet(*alike(20), row("slow", seconds=1.5), verifications=told)
    assert [h.name for h in found.hosts[:4]] == ["n3", "slow", "only", "n6"]
    assert said(found, "n3") == [("verification", "verify says CRITICAL: n3 is broken")]
    assert (host(found, "n4").status, host(found, "n4").remarks) == ("PASS", ())
    assert host(found, "n5").status == "PASS"
    assert host(found, "only").machine == "no record"


def test_false_alarms_share_one_budget_over_the_fleet() -> None:
    """300 fleets of 20 workloads on 50 hosts without a fault: at most 1 % may have an alarm."""
    rng = np.random.default_rng(4)
    wrong = 0
    for _ in range(300):
        groups = [Alike(rng.normal(0, 0.03, 50), np.full(50, 0.003)) for _ in range(20)]
        wrong += bool(odd_ones_out(groups, 0.0))
    assert wrong <= 8  # of 300 at 1 %, more come in less than 0.4 % of all tests


def test_a_third_of_wild_values_moves_the_spread_little() -> None:
    rng = np.random.default_rng(4)
    logs = rng.normal(0, 0.02, 300)
    logs[:90] -= 0.5
    middle, spread = robust_spread(logs)
    assert abs(middle) < 0.02
    assert 0.015 < spread < 0.06


@pytest.mark.slow
def test_a_simulated_fleet_with_faults_and_bad_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From files, through several processes: every fault is found, nothing else is said, and no file ends the run."""
    monkeypatch.setenv("HWDIAG_HOME", str(tmp_path))
    monkeypatch.setattr("hwdiag.record.index.MANY", 10)
    folder = tmp_path / "fleet"
    truth = make_fleet(folder, 150)
    (folder / os.fsdecode(b"caf\xe9")).mkdir()
    (folder / os.fsdecode(b"caf\xe9") / "record.json").write_text("{}")
    os.mkfifo(folder / "node00003" / "verification.json")
    found = read_fleet(load({"records": [str(folder)]}), keep=tmp_path / "index.parquet")
    for name, fault in truth.faults.items():
        kind, word = SAID[fault]
        assert any(k == kind and word in text for k, text in said(found, name)), (name, fault)
    assert {h.name for h in found.hosts if h.remarks} == set(truth.faults)
    assert len(found.refused) == truth.refused + 2
    assert found.duplicates == truth.twice
    assert sorted(found.kinds.values()) == [round(150 * m.share) for m in reversed(MODELS)]
    page, table = tmp_path / "fleet.html", tmp_path / "fleet.parquet"
    assert main(["fleet", str(folder), "--html", str(page), "--parquet", str(table), "--top", "5"]) == 1
    out = capsys.readouterr().out
    assert "refused" in out
    assert "more (--top" in out
    assert "became 17 % slower" in page.read_text()
    rows = pq.read_table(table).to_pylist()
    assert len(rows) == len(found.hosts)
    assert rows[0]["severity"] == "problem"
    assert rows[0]["loss"] == 1.0  # its verification is critical
    assert main(["fleet", str(folder), "--json"]) == 1
    assert Fleet.model_validate_json(capsys.readouterr().out).hosts == found.hosts


def test_the_page_escapes_what_hosts_are_called() -> None:
    found = fleet(row("<script>alert(1)</script>\x1b[31m", machine="m", at="1999-01-01T00:00:00Z"))
    page = show.page(found)
    assert "<script>" not in page
    assert "\x1b" not in page
    assert "\x1b" not in "\n".join(show.lines(found, 9))


def test_nothing_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "record.json").write_text(json.dumps({"schema_version": 99}))
    assert main(["fleet", str(tmp_path)]) == 2
    assert "schema version 99; this hwdiag reads up to 2" in capsys.readouterr().err
    assert main(["fleet", str(tmp_path / "none")]) == 2
