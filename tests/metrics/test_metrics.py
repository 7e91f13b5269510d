"""Metrics: their names, the text file, the endpoint, and a dashboard that asks for nothing else."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from hwdiag.cli import main
from hwdiag.core.errors import HwdiagError, UsageError
from hwdiag.core.interval import Interval
from hwdiag.host.root import Root
from hwdiag.host.sampling import Sampler
from hwdiag.host.source import Column
from hwdiag.metrics.dashboard import PANELS, dashboard
from hwdiag.metrics.export import address, serving, write_textfile
from hwdiag.metrics.families import SampledMetrics, VerificationMetrics, registry_of
from hwdiag.metrics.names import COLUMNS, metric_of
from hwdiag.metrics.watching import LiveMetrics, write_verification
from hwdiag.record.verification import SpeedCheck, VerdictCause, Verification, save_verification

pytestmark = pytest.mark.usefixtures("clean_environment")

ROOT = Path(__file__).parents[2]
GPU = ("use", "awake", "memory_use", "memory", "clock", "memory_clock", "power", "temperature")
HOST = (
    "cpu.use", "cpu.iowait", "cpu.steal", "cpu.running", "cpu0.use", "cpu12.clock", "memory.used", "memory.available",
    "memory.file_cache", "memory.dirty", "memory.major_faults", "swap.used", "swap.in", "swap.out", "node1.hits",
    "node1.misses", "node1.remote", "nvme0n1.read", "nvme0n1.written", "nvme0n1.busy", "pressure.cpu.some",
    "pressure.io.full", "cgroup.stopped",
)  # fmt: skip
NAMES = (*HOST, *(f"gpu{i}.{name}" for i in (0, 1) for name in GPU))
COLUMNS_OF_ALL = tuple(Column(name=name, unit="", title=name) for name in NAMES)


def verification(status: str = "WARNING") -> Verification:
    interval = Interval(median=0.8, low=0.79, high=0.81, processes=10)
    speed = SpeedCheck(
        workload='tri"ad\n', unit="GB/s", then=interval, now=interval, speedup=interval, verdict="slower"
    )
    causes = (VerdictCause(id="slower", status="WARNING", title="triad is slower", remedy="look"),)
    return Verification.model_validate(
        {"status": status, "host": "box", "hostname": "box", "started_at": "2026-12-01T00:00:00Z", "seconds": 9.5,
         "version": "0.1.0", "causes": causes if status != "PASS" else (), "speeds": (speed,)}
    )  # fmt: skip


def everything() -> str:
    sampled = SampledMetrics(COLUMNS_OF_ALL)
    sampled.see([float(i + 1) for i in range(len(NAMES))])
    return generate_latest(registry_of(sampled, VerificationMetrics(verification))).decode()


def exported(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_a_sample_has_base_units_and_labels() -> None:
    found = exported(everything())
    value = {name: i + 1.0 for i, name in enumerate(NAMES)}
    cpu = {labels["cpu_mode"]: v for labels, v in found["system_cpu_utilization_ratio"]}
    assert cpu == {m: pytest.approx(value[c] / 100) for m, c in
                   (("busy", "cpu.use"), ("iowait", "cpu.iowait"), ("steal", "cpu.steal"))}  # fmt: skip
    assert found["system_cpu_frequency_hertz"] == [({"cpu_logical_number": "12"}, value["cpu12.clock"] * 1e6)]
    assert ({"hw_id": "gpu1", "hw_type": "gpu"}, value["gpu1.power"]) in found["hw_power_watts"]
    assert len(found["hw_gpu_frequency_hertz"]) == 4
    read = {"system_device": "nvme0n1", "disk_io_direction": "read"}
    assert (read, value["nvme0n1.read"]) in found["system_disk_io_bytes_per_second"]


def test_every_column_of_this_machine_has_a_metric() -> None:
    sampler = Sampler(Root.live())
    try:
        missing = [c.name for c in sampler.columns if metric_of(c) is None and not c.name.endswith(".reasons")]
    finally:
        sampler.close()
    assert missing == []
    assert metric_of(Column(name="gpu0.reasons", unit="bits", title="")) is None


def test_names_follow_the_conventions() -> None:
    for metric in COLUMNS.values():
        assert re.fullmatch(r"(system|hw)(_[a-z]+)+", metric.name), metric.name
        assert metric.name.endswith(("_ratio", "_bytes", "_hertz", "_watts", "_celsius", "_per_second", "_threads")), (
            metric.name
        )
    ends = {m.name for m in COLUMNS.values() if m.factor == 0.01}
    assert all(name.endswith("_ratio") for name in ends)


def test_what_was_not_reported_has_no_value() -> None:
    sampled = SampledMetrics(COLUMNS_OF_ALL[:2])
    registry = registry_of(sampled)
    assert "system_cpu" not in generate_latest(registry).decode()
    sampled.see([math.nan, 50.0])
    assert exported(generate_latest(registry).decode())["system_cpu_utilization_ratio"] == [
        ({"cpu_mode": "iowait"}, 0.5)
    ]


@pytest.mark.parametrize(
    ("status", "state"), [("PASS", "ok"), ("WARNING", "degraded"), ("CRITICAL", "failed"), ("UNKNOWN", None)]
)
def test_a_verdict_is_one_of_its_states(status: str, state: str | None) -> None:
    found = exported(generate_latest(registry_of(VerificationMetrics(lambda: verification(status)))).decode())
    assert [labels["status"] for labels, v in found["hwdiag_verification_status"] if v] == [status]
    assert [labels["hw_state"] for labels, v in found["hw_status"] if v] == ([state] if state else [])
    assert found["hwdiag_verification_timestamp_seconds"] == [({}, 1796083200.0)]
    assert found["hwdiag_verification_speed_ratio"] == [({"workload": 'tri"ad\n'}, 0.8)]


def promtool() -> str:
    found = os.environ.get("PROMTOOL") or shutil.which("promtool")
    if found is None:
        pytest.skip("no promtool (Debian package prometheus)")
    return found


def test_promtool_finds_nothing_to_say() -> None:
    done = subprocess.run([promtool(), "check", "metrics"], input=everything(), capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_dashboard_asks_only_for_metrics_that_are_exported() -> None:
    asked = {name for panel in PANELS for name in re.findall(r"\b((?:system|hw|hwdiag)_\w+)\{", panel.query)}
    found = exported(everything())
    assert asked <= found.keys()
    assert len(asked) >= 15
    for panel in PANELS:
        labels = set(re.findall(r"{{(\w+)}}", panel.legend)) - {"instance"}
        (name,) = re.findall(r"\b((?:system|hw|hwdiag)_\w+)\{", panel.query)
        assert labels <= found[name][0][0].keys(), panel.title
        assert set(re.findall(r"[{,](\w+)=", panel.query)) - {"instance"} <= found[name][0][0].keys(), panel.title
    variable = dashboard()["templating"]["list"][1]["query"]
    assert re.findall(r"\w+_info", variable) == ["hwdiag_build_info"]
    assert "hwdiag_build_info" in found


def test_the_published_dashboard_is_in_step(capsys: pytest.CaptureFixture[str]) -> None:
    """Where this fails: hwdiag monitor --dashboard >docs/grafana-dashboard.json."""
    assert main(["monitor", "--dashboard"]) == 0
    assert capsys.readouterr().out == (ROOT / "docs" / "grafana-dashboard.json").read_text()


@pytest.mark.parametrize(
    ("text", "where"),
    [("9101", ("127.0.0.1", 9101)), ("0.0.0.0:9101", ("0.0.0.0", 9101)), ("[::1]:9101", ("::1", 9101)),
     (":0", ("127.0.0.1", 0))],
)  # fmt: skip
def test_a_port_alone_is_of_the_loopback(text: str, where: tuple[str, int]) -> None:
    assert address(text) == where


@pytest.mark.parametrize("text", ["", "x", "127.0.0.1", "127.0.0.1:", "1:99999", "1:-1", "１:１"])
def test_a_wrong_address_is_one_line(text: str) -> None:
    with pytest.raises(UsageError, match="PORT or ADDRESS:PORT"):
        address(text)


def fetched(url: str, accept: str = "text/plain") -> tuple[str, str]:
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": accept}), timeout=5) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def test_the_endpoint_speaks_both_formats_and_ends_with_its_block() -> None:
    registry = registry_of(VerificationMetrics(verification))
    with serving(registry, ("127.0.0.1", 0)) as url:
        assert url.startswith("http://127.0.0.1:")
        kind, text = fetched(url)
        assert kind.startswith("text/plain")
        assert "hwdiag_verification_status" in text
        kind, text = fetched(url, "application/openmetrics-text; version=1.0.0")
        assert kind.startswith("application/openmetrics-text")
        assert text.endswith("# EOF\n")
        port = int(url.split(":")[2].split("/")[0])
        with (
            pytest.raises(HwdiagError, match=r"cannot serve metrics at 127\.0\.0\.1"),
            serving(registry, ("127.0.0.1", port)),
        ):
            pass
    with pytest.raises(OSError, match=r"refused|reset"):
        fetched(url)


def test_a_text_file_is_whole_and_has_the_right_name(tmp_path: Path) -> None:
    path = tmp_path / "hwdiag.prom"
    write_verification(verification(), path)
    assert exported(path.read_text())["hwdiag_verification_duration_seconds"] == [({}, 9.5)]
    assert [p.name for p in tmp_path.iterdir()] == ["hwdiag.prom"]
    assert path.stat().st_mode & 0o777 == 0o644  # node_exporter is another user
    with pytest.raises(UsageError, match=r"ends in \.prom"):
        write_verification(verification(), tmp_path / "x.txt")
    with pytest.raises(HwdiagError, match="cannot write"):
        write_textfile(registry_of(), tmp_path / "none" / "x.prom")


def test_a_recording_writes_its_samples_and_takes_the_file_away(tmp_path: Path) -> None:
    path, told = tmp_path / "live.prom", tmp_path / "verification.json"
    seen: list[float] = []
    with LiveMetrics(path, None, told) as live:
        see = live.with_metrics(COLUMNS_OF_ALL[:1], lambda seconds, values: seen.append(seconds))
        see(0.5, [25.0])
        first = exported(path.read_text())
        assert first["system_cpu_utilization_ratio"] == [({"cpu_mode": "busy"}, 0.25)]
        assert "hw_status" not in first  # there is no verification yet
        save_verification(verification(), tmp_path)
        live._due = 0.0
        see(1.0, [50.0])
        assert "hw_status" in exported(path.read_text())
    assert not path.exists()
    assert seen == [0.5, 1.0]


def lines_of(child: subprocess.Popen[str]) -> Iterator[str]:
    assert child.stderr is not None
    yield from child.stderr


def test_the_monitor_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-m", "hwdiag", "monitor", "--serve", "0", "--hz", "10", "--out", str(tmp_path),
         "--seconds", "60"],
        stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, cwd=tmp_path,
    )  # fmt: skip
    try:
        url = next(line.split()[-1] for line in lines_of(child) if line.startswith("metrics at "))
        until = time.monotonic() + 20
        while "system_memory_usage_bytes" not in (text := fetched(url)[1]) and time.monotonic() < until:
            time.sleep(0.05)
        assert 'system_cpu_utilization_ratio{cpu_mode="busy"}' in text
        child.send_signal(signal.SIGINT)
        assert child.wait(30) == 0
    finally:
        child.kill()
    with pytest.raises(OSError, match=r"refused|reset"):
        fetched(url)
    assert (tmp_path / "record.json").exists()


def test_a_wrong_name_or_address_stops_before_anything_is_watched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for words in (["--serve", "x"], ["--textfile", "x"]):
        assert main(["monitor", *words, "--out", str(tmp_path / "out")]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_dashboard_is_json_that_grafana_imports() -> None:
    made = json.loads(json.dumps(dashboard()))
    assert len({p["id"] for p in made["panels"]}) == len(made["panels"]) == len(PANELS)
    assert all(p["targets"][0]["expr"] for p in made["panels"])
