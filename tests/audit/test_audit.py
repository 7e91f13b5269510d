"""The entries as data, the audit against small hosts, dumps of real ones and this machine, and the symptoms."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hwdiag.audit.audit import audit, parse_choice, read_everything
from hwdiag.audit.knobs import BY_ID, KNOBS
from hwdiag.audit.model import Audit, Row
from hwdiag.audit.scripts import ordered, render_settings, steps
from hwdiag.cli import main
from hwdiag.core.errors import UsageError
from hwdiag.core.finding import Check, Finding
from hwdiag.experiment.model import Measurement
from hwdiag.host.activity import Activity, watch
from hwdiag.host.archive import open_root
from hwdiag.host.gpu import reasons
from hwdiag.host.model import Gpu, Host
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.host.snapshot import make_snapshot
from hwdiag.process.environment.registry import VARIABLES
from hwdiag.process.gpu_symptoms import ALARMS, LOCK, POWER_CAP, REASONS
from hwdiag.process.model import Disturbance, Outcome
from hwdiag.process.storage import ReadSpeed, read_speed
from hwdiag.process.symptoms import Seen, answers
from tests.audit.fake_host import settings_tree
from tests.conftest import make_host
from tests.host.conftest import DUMPS, MakeTree, unpacked
from tests.host.conftest import tree as tree
from tests.host.test_host_gpu import FakeNvml

__all__ = ["unpacked"]

NAMES = sorted(p.name.removesuffix(".tar.gz") for p in DUMPS.glob("*.tar.gz"))
MUST_BE_THERE = [
    "gpu.persistence",
    "gpu.clock_lock",
    "gpu.boost_slider",
    "gpu.accounting",
    "gpu.compute_mode",
    "gpu.power_limit",
    "gpu.ecc",
    "cpu.governor",
    "cpu.energy_preference",
    "cpu.boost",
    "cpu.no_turbo",
    "cpu.idle_latency",
    "vm.swappiness",
    "vm.dirty_bytes",
    "vm.dirty_background_bytes",
    "vm.vfs_cache_pressure",
    "vm.thp",
    "vm.thp_defrag",
    "vm.zone_reclaim_mode",
    "vm.numa_balancing",
    "vm.overcommit_memory",
    "vm.nr_hugepages",
    "io.scheduler",
    "io.nr_requests",
    "io.read_ahead",
    "io.access_times",
    "io.trim_timer",
    "zfs.arc_max",
    "zfs.prefetch_disable",
    "zfs.autotrim",
    "zfs.arc_meta_limit",
    "zfs.vdev_scheduler",
    "net.rmem_max",
    "net.wmem_max",
    "net.tcp_rmem",
    "net.tcp_wmem",
    "net.rmem_default",
    "net.tcp_slow_start",
    "net.backlog",
    "net.tcp_fastopen",
    "sched.autogroup",
    "limits.nofile",
    "limits.memlock",
]


def rows(found: Audit, knob: str) -> list[Row]:
    return [r for r in found.rows if r.knob == knob]


def of_tree(make: MakeTree, files: dict[str, str], *knobs: str, nvml: FakeNvml | None = None, **more: object) -> Audit:
    root = make(files)
    return audit(root, read_host(root, nvml=nvml), knobs=knobs, **more)  # type: ignore[arg-type]


# --- the entries -----------------------------------------------------------------------------------------------------


def test_every_group_of_the_documents_is_covered() -> None:
    assert set(MUST_BE_THERE) <= set(BY_ID)
    assert len(BY_ID) == len(KNOBS)
    assert {k.group for k in KNOBS} == {
        "gpu", "cpu", "memory", "io", "zfs", "network", "scheduler", "limits", "environment"
    }  # fmt: skip
    assert sum(k.group == "environment" for k in KNOBS) == len(VARIABLES)


@pytest.mark.parametrize("knob", KNOBS, ids=lambda k: k.id)
def test_an_entry_says_all_that_is_needed(knob: object) -> None:
    k = BY_ID[knob.id]  # type: ignore[attr-defined]
    assert k.what
    assert k.link
    assert re.search(r"[.)]$", k.known), k.known
    assert not re.search(r"\d ?(%|x faster|times)", k.known), "no promise without a measurement"
    assert all(a in BY_ID for a in (*k.after, *((k.below,) if k.below else ())))
    if k.wanted is None:
        assert k.takes is None
        assert k.persists is None
    else:
        assert k.takes, "a person may choose its value"
        assert k.takes_text
        assert k.risk
        assert k.persists or k.id == "io.access_times"


def test_settings_come_after_what_resets_them() -> None:
    order = ordered([k.id for k in KNOBS])
    assert len(order) == len(KNOBS)
    for knob in KNOBS:
        assert all(order.index(a) < order.index(knob.id) for a in knob.after)


# --- choosing --------------------------------------------------------------------------------------------------------


def test_a_group_leaves_out_what_breaks_things() -> None:
    assert "gpu.compute_mode" not in parse_choice(["gpu"])
    assert "vm.nr_hugepages" not in parse_choice(["memory"])
    assert parse_choice(["vm.swappiness=20", "memory"])["vm.swappiness"] == "20"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("vm.swapiness", "there is no setting 'vm.swapiness': did you mean \"vm.swappiness\"?"),
        ("memry", 'did you mean "memory"?'),
        ("vm.swappiness=201", "vm.swappiness takes 0 to 200, not '201'"),
        ("vm.swappiness=$(id)", "vm.swappiness takes 0 to 200"),
        ("vm.swappiness=", "vm.swappiness takes 0 to 200, not ''"),
        ("gpu.clock_lock=3003", "gpu.clock_lock takes LOWEST,HIGHEST in MHz"),
        ("net.tcp_fastopen", "net.tcp_fastopen is never set: "),
        ("sched.autogroup=0", "sched.autogroup is never set: "),
        ("vm.dirty_ratio=40", "vm.dirty_ratio is never set: "),
    ],
)
def test_a_wrong_choice_is_one_clear_line(word: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_choice([word])
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_values_that_exclude_each_other_are_one_clear_line(tree: MakeTree) -> None:
    with pytest.raises(UsageError, match=r"^vm.dirty_background_bytes \(268435456\) must be less than vm.dirty_bytes "):
        of_tree(tree, settings_tree(), "vm.dirty_bytes=100000000", "vm.dirty_background_bytes")
    assert of_tree(tree, settings_tree(), "vm.dirty_bytes=300000000", "vm.dirty_background_bytes").chosen


def test_nothing_is_chosen_without_a_reason(tree: MakeTree) -> None:
    assert of_tree(tree, settings_tree()).chosen == ()


def test_buffers_are_only_ever_raised(tree: MakeTree) -> None:
    files = settings_tree() | {
        "/proc/sys/net/core/rmem_max": "67108864\n",
        "/proc/sys/net/ipv4/tcp_rmem": "4096\t131072\t67108864\n",
        "/sys/block/sda/queue/read_ahead_kb": "8192\n",
    }
    found = of_tree(tree, files, "network", "io.read_ahead")
    assert not any(r.chosen for r in rows(found, "net.rmem_max") + rows(found, "net.tcp_rmem"))
    assert [r.targets for r in rows(found, "io.read_ahead") if r.chosen] == [("nvme0n1",)]


def test_swap_in_memory_wants_no_lower_swappiness(tree: MakeTree) -> None:
    files = settings_tree() | {"/sys/block/zram0/disksize": "8589934592\n"}
    assert rows(of_tree(tree, files, "vm.swappiness"), "vm.swappiness")[0].wanted is None
    assert rows(of_tree(tree, files, "vm.swappiness=150"), "vm.swappiness")[0].wanted == "150"


@pytest.mark.parametrize(("watts", "wanted"), [("120", "120.00"), ("99", None), ("171", None), ("170", "170.00")])
def test_a_power_limit_is_never_raised(tree: MakeTree, watts: str, wanted: str | None) -> None:
    gpu = {
        "nvmlDeviceGetName": "NVIDIA GeForce RTX 3060",
        "nvmlDeviceGetEnforcedPowerLimit": 170_000,
        "nvmlDeviceGetPowerManagementLimitConstraints": (100_000, 212_000),
        "nvmlDeviceGetPowerManagementDefaultLimit": 170_000,
    }
    found = of_tree(tree, settings_tree(), f"gpu.power_limit={watts}", nvml=FakeNvml([gpu]))
    assert [r.wanted for r in rows(found, "gpu.power_limit")] == [wanted]


@pytest.mark.parametrize(("role", "chosen"), [("headless", True), ("desktop", False)])
def test_persistence_is_for_hosts_where_the_driver_unloads(tree: MakeTree, role: str, chosen: bool) -> None:
    nvml = FakeNvml([{"nvmlDeviceGetName": "NVIDIA L40S", "nvmlDeviceGetPersistenceMode": 0}])
    found = of_tree(tree, settings_tree(), nvml=nvml, role=role)
    assert [r.chosen for r in rows(found, "gpu.persistence")] == [chosen]


def test_what_a_gb10_does_not_tell_is_unknown_and_not_set(tree: MakeTree) -> None:
    nvml = FakeNvml([{"nvmlDeviceGetName": "NVIDIA GB10", "nvmlDeviceGetPersistenceMode": 1}])
    found = of_tree(tree, settings_tree(), "gpu.power_limit=80", nvml=nvml)
    (row,) = rows(found, "gpu.power_limit")
    assert (row.state, row.chosen, row.why) == ("unknown", False, "this GPU or its driver does not report it")


def test_zfs_cache_on_unified_memory(tree: MakeTree) -> None:
    nvml = FakeNvml([{"nvmlDeviceGetName": "NVIDIA GB10", "nvmlDeviceGetPersistenceMode": 1}])
    (row,) = rows(of_tree(tree, settings_tree(), nvml=nvml), "zfs.arc_max")
    assert (row.chosen, row.wanted, row.evidence) == (True, str(2 << 30), "seen here")
    assert not rows(of_tree(tree, settings_tree()), "zfs.arc_max")[0].chosen


def test_idle_states_are_chosen_by_latency_not_by_number(tree: MakeTree) -> None:
    found = of_tree(tree, settings_tree(), "cpu.idle_latency=100")
    assert [set(r.targets) for r in found.chosen] == [{f"cpu{n}/state2" for n in range(6)}]
    assert of_tree(tree, settings_tree(), "cpu.idle_latency=133").chosen == ()


# --- what does nothing or harms --------------------------------------------------------------------------------------


def test_values_that_harm_or_do_nothing_become_findings_and_are_never_emitted(tree: MakeTree) -> None:
    files = settings_tree() | {
        "/proc/sys/vm/dirty_ratio": "40\n",
        "/proc/sys/vm/zone_reclaim_mode": "1\n",
        "/proc/sys/vm/nr_hugepages": "1024\n",
        "/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages": "1024\n",
        "/proc/sys/kernel/sched_autogroup_enabled": "0\n",
        "/proc/sys/net/ipv4/tcp_fastopen": "3\n",
        "/proc/sys/net/core/rmem_default": "1048576\n",
        "/sys/block/sda/device/queue_depth": "1\n",
        "/etc/rc.local": "#!/bin/sh\necho always > /sys/kernel/mm/transparent_hugepage/enabled\n",
        "/etc/sysctl.d/99-dgx.conf": "kernel.sched_migration_cost_ns = 5000000\n",
        "/etc/modprobe.d/zfs.conf": "options zfs zfs_arc_meta_limit=8589934592\n",
    }
    found = of_tree(tree, files)
    titles = {f.id.removeprefix("setting-"): f.title for f in found.findings if f.id.startswith("setting-")}
    assert titles["vm-dirty-ratio"].startswith("Up to 6 GiB may wait to be written (dirty_ratio is 40)")
    assert titles["vm-nr-hugepages"] == "2.0 GiB are reserved as huge pages, and no process uses one"
    assert titles["io-queue-depth-sda"].startswith("Sda takes one command at a time")
    assert titles["vm-rc-local"].startswith("/etc/rc.local sets 'echo always > ")
    assert {
        "vm-zone-reclaim-mode", "vm-overcommit-memory", "vm-thp-defrag", "sched-autogroup", "sched-migration-cost",
        "net-tcp-fastopen", "net-rmem-default", "zfs-arc-meta-limit", "zfs-prefetch-disable",
    } <= set(titles)  # fmt: skip
    assert found.chosen == ()
    everything = [r.model_copy(update={"chosen": True, "wanted": r.wanted or "1"}) for r in found.rows]
    never = {k.id for k in KNOBS if k.wanted is None}
    assert never.isdisjoint({r.knob for r in found.chosen})
    assert {s.knob for s in steps(everything, make_host())}  # and the emitter takes what it is given


def in_half_a_second(run: Callable[[], Audit]) -> Audit:
    """The best of five times of the CPU: other programs may keep this machine busy."""
    times = []
    for _ in range(5):
        began = time.process_time()
        found = run()
        times.append(time.process_time() - began)
        if times[-1] < 0.5:
            break
    assert min(times) < 0.5, times
    return found


# --- real machines ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_dumps_of_real_machines(name: str, unpacked: Callable[[str], Path]) -> None:
    root = Root.directory(unpacked(name))
    host = read_host(root)
    knobs = ("cpu.governor", "cpu.idle_latency=10", "io.scheduler=none", "io.read_ahead")
    found = in_half_a_second(lambda: audit(root, host, knobs=knobs))
    assert Audit.model_validate_json(found.model_dump_json()) == found
    governors = {r.now for r in rows(found, "cpu.governor") if r.now}
    assert governors == set((host.cpu.governor or "").split(",")) - {""}
    for text in render_settings(found.rows, host, made_at="2026-11-20T10:00:00Z").values():
        assert text.startswith("#!/bin/bash\n")


def test_this_machine_in_half_a_second() -> None:
    root = Root.live()
    host = read_host(root)
    found = in_half_a_second(lambda: audit(root, host, activity=watch(root, 0)))
    assert rows(found, "vm.swappiness")[0].now == Path("/proc/sys/vm/swappiness").read_text().strip()
    assert (found.activity.seconds or 0) < 0.5  # it was not watched


def test_a_snapshot_holds_what_the_audit_reads(tmp_path: Path) -> None:
    make_snapshot(tmp_path / "s.tar.gz", also=read_everything)
    root = open_root(tmp_path / "s.tar.gz")
    again = audit(root, read_host(root))
    live = audit(Root.live(), read_host(Root.live()))
    kernel = {"memory", "network", "cpu", "scheduler"}
    assert [(r.knob, r.now) for r in again.rows if r.group in kernel] == [
        (r.knob, r.now) for r in live.rows if r.group in kernel
    ]


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "params").mkdir()
    monkeypatch.setenv("HWDIAG_HOME", str(tmp_path))
    assert main(["audit", "--json", "--knob", "vm.swappiness=33"]) == 0
    found = Audit.model_validate(json.loads(capsys.readouterr().out))
    assert [(r.knob, r.wanted) for r in found.chosen if r.knob == "vm.swappiness"] == [("vm.swappiness", "33")]
    assert main(["audit", "--all"]) == 0
    assert "net.tcp_fastopen" in capsys.readouterr().out
    (path,) = (tmp_path / "outputs").rglob("record.json")
    assert list(json.loads(path.read_text())["studies"]) == ["audit"]
    assert main(["audit", "--knob", "vm.swapiness"]) == 2
    assert main(["audit", "--watch", "long"]) == 2
    assert main(["audit", "--models", "/no/where"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3
    assert said[2] == "hwdiag: parameter models: there is no folder /no/where"


# --- symptoms --------------------------------------------------------------------------------------------------------


def answer(id_: str, host: Host | None = None, **seen: object) -> Finding | Check:
    values: dict[str, object] = {"activity": Activity(), "others": {}, **seen}
    found = answers(Seen(host=host or make_host(), **values))  # type: ignore[arg-type]
    return next(a for a in found if a.id == id_)


def loaded(name: str, mhz: float, *reasons: str, use: int = 98, watts: float = 90) -> Activity:
    gpu = Gpu(index=0, name=name, sm_mhz=mhz, sm_max_mhz=3003, utilization=use, power_w=watts, throttle_reasons=reasons)
    return Activity(seconds=2, gpus=(gpu,))


def test_every_throttle_reason_is_explained() -> None:
    assert set(REASONS) == set(reasons())
    assert set(ALARMS) < set(REASONS)


@pytest.mark.parametrize("reason", REASONS)
def test_a_gpu_under_its_clock_and_why(reason: str) -> None:
    found = answer("gpu-clock:GPU 0", activity=loaded("NVIDIA L40S", 1500, reason))
    assert isinstance(found, Finding if reason in (*ALARMS, LOCK, POWER_CAP) else Check)
    assert f"{reason}: {REASONS[reason]}" in found.detail


def test_a_spark_stuck_in_its_low_power_state() -> None:
    found = answer("gpu-clock:GPU 0", activity=loaded("NVIDIA GB10", 611, "software power cap", watts=14))
    assert isinstance(found, Finding)
    assert found.severity == "problem"
    assert "611 of 3003 MHz under load" in found.title
    assert "It draws 14 W" in found.detail
    assert "Unplug it" in found.detail
    drawing = answer("gpu-clock:GPU 0", activity=loaded("NVIDIA GB10", 611, "software power cap", watts=80))
    assert "low-power" not in drawing.title
    usual = answer("gpu-clock:GPU 0", activity=loaded("NVIDIA GB10", 2391, "software power cap"))
    assert (usual.title, type(usual)) == ("GPU 0 (NVIDIA GB10) runs at its usual clock", Check)
    hot = answer("gpu-clock:GPU 0", activity=loaded("NVIDIA GB10", 611, "hardware thermal slowdown"))
    assert "slowed down" in hot.title


def test_an_idle_gpu_tells_nothing_of_its_clock() -> None:
    found = answer("gpu-clock:GPU 0", activity=loaded("NVIDIA GB10", 208, use=0))
    assert isinstance(found, Check)
    assert (found.state, found.detail) == ("unchecked", "it is at 0 % utilisation: look again while it works")


def test_swapping_while_memory_is_free(tree: MakeTree) -> None:
    busy = Activity(seconds=2.0, swapped_in_pages=812, memory_stall=0.04)
    found = answer("swapping-while-free", activity=busy)
    assert isinstance(found, Finding)
    assert "812 pages read from swap in 2.0 s, 94% of memory available; programs waited for memory 4%" in found.detail
    assert isinstance(answer("swapping-while-free", activity=Activity(seconds=2.0, swapped_in_pages=0)), Check)
    (row,) = rows(of_tree(tree, settings_tree(), activity=busy), "vm.swappiness")
    assert (row.chosen, row.wanted, row.evidence) == (True, "10", "seen here")


def test_a_cpu_below_its_clock_speaks_for_the_governor(tree: MakeTree) -> None:
    files = settings_tree()
    for cpu in (0, 1):
        files |= {
            f"/sys/devices/system/cpu/cpu{cpu}/topology/core_id": f"{cpu}\n",
            f"/sys/devices/system/cpu/cpu{cpu}/cpufreq/cpuinfo_max_freq": "3600000\n",
            f"/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor": "powersave\n",
        }
    slow = tuple(
        Measurement(id=f"m{n}", plan="default", workload="x", phase="screen", block=0, process=n,
                    outcome=Outcome(kind="ok"), disturbance=Disturbance(mhz=1200.0 + n))
        for n in range(3)
    )  # fmt: skip
    found = of_tree(tree, files, measurements=slow)
    (row,) = rows(found, "cpu.governor")
    assert row.chosen
    assert row.why == "The CPU computed below its clock: 1201 of 3600 MHz in the middle of 3 runs"


def test_idle_states_that_came_back_on(tree: MakeTree) -> None:
    files = settings_tree() | {"/sys/devices/system/cpu/cpu3/cpuidle/state2/disable": "1\n"}
    found = next(f for f in of_tree(tree, files).findings if f.id == "idle-states")
    assert "C6 (133 µs) on 5 of 6 CPUs" in found.detail


def test_services_that_set_the_same_things(tree: MakeTree) -> None:
    files = settings_tree() | {
        "/run/systemd/units/invocation:tuned.service": "",
        "/run/systemd/units/invocation:tlp.service": "",
    }
    found = next(f for f in of_tree(tree, files).findings if f.id == "tuners")
    assert found.title == "TuneD and TLP run here and may set the same things again"


def test_where_units_cannot_be_seen_no_service_is_ruled_out(tree: MakeTree) -> None:
    """Of a dump without systemd's folder it was said that no service sets the same things."""
    (blind,) = [c for c in of_tree(tree, settings_tree()).checks if c.id == "tuners"]
    assert (blind.state, "cannot be seen" in blind.detail) == ("unchecked", True)
    files = settings_tree() | {"/run/systemd/units/invocation:sshd.service": ""}
    (seen,) = [c for c in of_tree(tree, files).checks if c.id == "tuners"]
    assert seen.state == "fine"


def test_dropped_packets_speak_for_a_longer_queue(tree: MakeTree) -> None:
    files = settings_tree() | {"/proc/net/softnet_stat": "0000ffff 0000001f 00000000\n0000ffff 00000001 00000000\n"}
    root = tree(files)
    found = audit(root, read_host(root), activity=watch(root, 0))
    assert [(r.wanted, r.why) for r in found.chosen] == [
        ("5000", "32 packets did not fit a CPU's queue since boot")
    ]  # fmt: skip


def test_slow_reading_speaks_for_read_ahead_on_that_disk(tree: MakeTree) -> None:
    slow = ReadSpeed(path="/models/x", disk="sda", buffered=0.4e9, direct=1.2e9)
    files = settings_tree() | {"/proc/self/mountinfo": "22 1 8:1 / /models rw,relatime - ext4 /dev/sda1 rw\n"}
    found = of_tree(tree, files, models="/models", read=slow)
    assert [(r.knob, r.targets, r.wanted) for r in found.chosen] == [("io.read_ahead", ("sda",), "1024")]
    assert "0.40 GB/s in order with ext4, 1.20 GB/s past the file cache" in found.chosen[0].why


def test_models_on_a_network(tree: MakeTree) -> None:
    files = settings_tree() | {"/proc/self/mountinfo": "22 1 0:40 / /models rw - nfs4 nas:/models rw\n"}
    found = of_tree(tree, files, models="/models")
    assert any(f.id == "storage-remote" and "/models is on nfs4" in f.title for f in found.findings)


def test_a_file_is_read_both_ways(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"x" * 1000)
    assert read_speed(tmp_path) is None
    with open(tmp_path / "model.safetensors", "wb") as file:
        for _ in range(64):
            file.write(bytes(1 << 20))
        file.flush()
        os.fsync(file.fileno())
    found = read_speed(tmp_path)
    if found is None:
        pytest.skip("this file system keeps the file in memory")
    assert found.path.endswith("model.safetensors")
    assert found.buffered > 1e6
    assert found.direct is None or found.direct > 1e6
