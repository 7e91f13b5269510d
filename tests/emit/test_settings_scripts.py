"""The scripts for host settings run for real, in a host made of files: apply, status, diff, undo, and being killed."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hwdiag.advise.audit import audit
from hwdiag.emit.scripts import render_settings
from hwdiag.host.model import Host
from hwdiag.host.root import Root
from tests.emit.fake_host import BOOT, FakeHost, memory_folder, require_namespaces, settings_tree
from tests.host.test_host_gpu import FakeNvml

UUID = "GPU-473d8d0f-d462-185c-6b36-6fc23e23e571"
GPU_FIELDS = {
    "persistence_mode": "Disabled",
    "accounting.mode": "Disabled",
    "compute_mode": "Default",
    "power.limit": "170.00",
    "ecc.mode.pending": "Disabled",
}
NVML = {
    "nvmlDeviceGetName": "NVIDIA GeForce RTX 3060",
    "nvmlDeviceGetUUID": UUID,
    "nvmlDeviceGetMaxClockInfo": 2100,
    "nvmlDeviceGetEnforcedPowerLimit": 170_000,
    "nvmlDeviceGetPowerManagementLimitConstraints": (100_000, 212_000),
    "nvmlDeviceGetPowerManagementDefaultLimit": 170_000,
    "nvmlDeviceGetPersistenceMode": 0,
    "nvmlDeviceGetAccountingMode": 0,
    "nvmlDeviceGetComputeMode": 0,
    "nvmlDeviceGetEccMode": (0, 0),
}
SYSTEM_CHOICE = ("memory", "network", "io.scheduler=kyber", "io.nr_requests=128", "io.read_ahead=2048", "zfs",
                 "cpu.governor", "cpu.energy_preference", "cpu.idle_latency=50", "vm.overcommit_memory")  # fmt: skip
GPU_CHOICE = ("gpu.persistence", "gpu.power_limit=120", "gpu.accounting", "gpu.compute_mode", "gpu.ecc=Enabled",
              "gpu.clock_lock=1200,1800", "gpu.boost_slider=1")  # fmt: skip
CHANGED = 39
"""Files that SYSTEM_CHOICE changes in settings_tree()."""


@pytest.fixture
def fake() -> Iterator[FakeHost]:
    require_namespaces()
    with memory_folder() as folder:
        yield FakeHost(folder, settings_tree(), {UUID: GPU_FIELDS})


def scripts(fake: FakeHost, *knobs: str, host: Host | None = None) -> dict[str, str]:
    host = host or fake.host(FakeNvml([NVML]))
    rows = audit(Root.directory(fake.folder), host, knobs=knobs).rows
    return render_settings(rows, host.model_copy(update={"system": here(host)}), made_at="2026-11-20T10:00:00Z")


def here(host: Host) -> object:
    return host.system.model_copy(update={"arch": os.uname().machine})


def changes(before: dict[str, str], after: dict[str, str]) -> dict[str, tuple[str | None, str | None]]:
    paths = {p for p in {*before, *after} if not p.startswith("/var/lib/hwdiag")}
    return {p: (before.get(p), after.get(p)) for p in sorted(paths) if before.get(p) != after.get(p)}


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("choice", [SYSTEM_CHOICE, GPU_CHOICE, ("vm.swappiness",), ("io.access_times", "zfs.autotrim")])
def test_they_pass_shellcheck(fake: FakeHost, tmp_path: Path, choice: tuple[str, ...]) -> None:
    for name, text in scripts(fake, *choice).items():
        (tmp_path / name).write_text(text)
        done = subprocess.run(["shellcheck", tmp_path / name], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


def test_apply_status_undo(fake: FakeHost) -> None:
    text = scripts(fake, *SYSTEM_CHOICE)["system_optimize.sh"]
    before = fake.everything()
    assert fake.run("s", text, "status").returncode == 1
    assert "not applied" in fake.run("s", text, "status").stdout
    assert changes(before, fake.everything()) == {}  # looking changes nothing
    applied = fake.run("s", text, "apply")
    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert f"{CHANGED} changed; all that can be read back is as wanted" in applied.stdout
    changed = changes(before, fake.everything())
    assert len(changed) == CHANGED
    assert changed["/proc/sys/vm/swappiness"] == ("60", "10")
    assert changed["/proc/sys/net/ipv4/tcp_rmem"] == ("4096 131072 6291456", "4096 131072 33554432")
    assert changed["/sys/block/sda/queue/scheduler"] == ("mq-deadline", "kyber")
    assert changed["/sys/devices/system/cpu/cpu5/cpuidle/state2/disable"] == ("0", "1")
    assert "/sys/devices/system/cpu/cpu5/cpuidle/state1/disable" not in changed  # 2 us are fewer than 50
    done = fake.run("s", text, "status")
    assert done.returncode == 0, done.stdout
    undone = fake.run("s", text, "undo")
    assert (undone.returncode, undone.stderr) == (0, "")
    assert changes(before, fake.everything()) == {}
    assert fake.run("s", text, "undo").stdout == "0 restored, 0 left alone; nothing more to undo\n"


def test_the_journal_is_roots_and_tells_it_all(fake: FakeHost) -> None:
    text = scripts(fake, "vm.swappiness", "net.tcp_rmem")["system_optimize.sh"]
    fake.run("s", text, "apply")
    folder = fake.folder / "var/lib/hwdiag"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "system_optimize.journal").stat().st_mode) == 0o600
    lines = (folder / "system_optimize.journal").read_text().splitlines()
    assert re.fullmatch(
        rf"was\|file\|/proc/sys/vm/swappiness\|60\|10\|no\|{BOOT}\|20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\|\.", lines[0]
    )
    assert lines[1].startswith("was|file|/proc/sys/net/ipv4/tcp_rmem|4096 131072 6291456|4096 131072 33554432|no|")
    assert [line.split("|")[:4] for line in lines[2:]] == [
        ["set", "file", "/proc/sys/vm/swappiness", "10"],
        ["set", "file", "/proc/sys/net/ipv4/tcp_rmem", "4096 131072 33554432"],
    ]


def test_a_second_apply_keeps_what_was_there_first(fake: FakeHost) -> None:
    before = fake.everything()
    fake.run("s", scripts(fake, "vm.swappiness=10")["system_optimize.sh"], "apply")
    second = scripts(fake, "vm.swappiness=30")["system_optimize.sh"]
    fake.run("s", second, "apply")
    fake.run("s", second, "apply")
    assert fake.read("/proc/sys/vm/swappiness") == "30"
    fake.run("s", second, "undo")
    assert changes(before, fake.everything()) == {}


def test_what_somebody_changed_since_is_left_alone_and_named(fake: FakeHost) -> None:
    text = scripts(fake, "vm.swappiness", "vm.vfs_cache_pressure")["system_optimize.sh"]
    fake.run("s", text, "apply")
    fake.write("/proc/sys/vm/swappiness", "42\n")
    assert "drifted" in fake.run("s", text, "status").stdout
    done = fake.run("s", text, "undo")
    assert "/proc/sys/vm/swappiness" in done.stdout
    assert "changed since by somebody, left alone (was set to 10)" in done.stdout
    assert fake.read("/proc/sys/vm/swappiness") == "42"
    assert fake.read("/proc/sys/vm/vfs_cache_pressure") == "100"


def test_after_a_reboot_it_says_what_is_gone_by_itself(fake: FakeHost) -> None:
    text = scripts(fake, "vm.swappiness", "vm.vfs_cache_pressure")["system_optimize.sh"]
    fake.run("s", text, "apply")
    fake.write("/proc/sys/kernel/random/boot_id", "99999999-2222-3333-4444-555555555555\n")
    fake.write("/proc/sys/vm/swappiness", "61\n")  # another default of the new kernel
    fake.write("/proc/sys/vm/vfs_cache_pressure", "100\n")
    again = fake.run("s", text, "apply")
    assert "2 settings of an earlier boot were gone by themselves" in again.stdout
    fake.run("s", text, "undo")
    assert fake.read("/proc/sys/vm/swappiness") == "61"
    fake.run("s", text, "apply")
    fake.write("/proc/sys/kernel/random/boot_id", "88888888-2222-3333-4444-555555555555\n")
    done = fake.run("s", text, "undo")
    assert "2 settings were gone by themselves: this host was started again since" in done.stdout
    assert done.returncode == 0


def test_a_refused_setting_is_reported_and_the_rest_is_set(fake: FakeHost) -> None:
    text = scripts(fake, "vm.swappiness", "vm.vfs_cache_pressure", "net.backlog")["system_optimize.sh"]
    before = fake.everything()
    (fake.folder / "proc/sys/net/core/netdev_max_backlog").unlink()
    readonly = "f=proc/sys/vm/swappiness; mount --bind $f $f; mount -o remount,bind,ro $f"
    done = fake.run("s", text, "apply", before=readonly)
    assert done.returncode == 1
    assert re.search(r"vm.swappiness +60 +60 +/proc/sys/vm/swappiness +refused", done.stdout)
    assert re.search(r"net.backlog .* unsupported", done.stdout)
    assert "1 changed; not all is as wanted" in done.stdout
    assert "as wanted\n" not in done.stdout.replace("not all is as wanted: see above, or status\n", "")
    assert fake.read("/proc/sys/vm/vfs_cache_pressure") == "50"
    assert re.search("net.backlog .* unsupported", fake.run("s", text, "status").stdout)
    assert fake.run("s", text, "undo").returncode == 0
    before.pop("/proc/sys/net/core/netdev_max_backlog")
    assert changes(before, fake.everything()) == {}


def test_diff_shows_and_changes_nothing(fake: FakeHost) -> None:
    text = scripts(fake, "vm.swappiness", "vm.thp")["system_optimize.sh"]
    before = fake.everything()
    done = fake.run("s", text, "diff")
    assert done.returncode == 1
    assert re.search(r"vm.thp +always +madvise +/sys/kernel/mm/transparent_hugepage/enabled", done.stdout)
    assert changes(before, fake.everything()) == {}
    fake.run("s", text, "apply")
    assert (fake.run("s", text, "diff").returncode, fake.run("s", text, "diff").stdout) == (0, "")


def test_only_some_of_them(fake: FakeHost) -> None:
    text = scripts(fake, "vm.swappiness", "vm.thp")["system_optimize.sh"]
    assert fake.run("s", text, "apply", "--only", "vm.thp").returncode == 0
    assert (fake.read("/proc/sys/vm/swappiness"), fake.read("/sys/kernel/mm/transparent_hugepage/enabled")) == (
        "60",
        "madvise",
    )
    assert fake.run("s", text, "status", "--only", "vm.thp").returncode == 0
    wrong = fake.run("s", text, "apply", "--only", "vm.tph")
    assert (wrong.returncode, wrong.stderr) == (2, "system_optimize.sh: there is no setting vm.tph here\n")


def test_overridden_by_a_file_of_somebody_else(fake: FakeHost) -> None:
    text = scripts(fake, "vm.swappiness")["system_optimize.sh"]
    fake.write("/etc/sysctl.d/99-local.conf", "# mine\n vm/swappiness = 60\n")
    done = fake.run("s", text, "status")
    assert re.search(r"vm.swappiness .* overridden by /etc/sysctl.d/99-local.conf", done.stdout)


def test_the_gpu_script(fake: FakeHost) -> None:
    text = scripts(fake, *GPU_CHOICE)["gpu_optimize.sh"]
    before = fake.everything()
    done = fake.run("g", text, "apply")
    assert done.returncode == 0, done.stdout
    assert "asked for; nothing tells it back" in done.stdout
    calls = (fake.folder / "gpus/calls").read_text().splitlines()
    asked = [c.removeprefix(f"{UUID} ") for c in calls if "--query" not in c]
    assert asked[0] == "-pm 1"
    assert set(asked) == {
        "-pm 1", "-pl 120.00", "-am 1", "-c EXCLUSIVE_PROCESS", "-e 1", "-lgc 1200,1800", "boost-slider --vboost 1"
    }  # fmt: skip
    assert fake.read(f"/gpus/{UUID}/power.limit") == "120.00"
    status = fake.run("g", text, "status")
    assert status.returncode == 2  # what nothing tells back could not be told
    undone = fake.run("g", text, "undo")
    assert undone.returncode == 0, undone.stdout
    assert changes(before, fake.everything()) == {}
    calls = (fake.folder / "gpus/calls").read_text().splitlines()[len(calls) :]
    assert {f"{UUID} -rgc", f"{UUID} boost-slider --vboost 0"} <= set(calls)


def test_a_gpu_that_does_not_support_it(fake: FakeHost) -> None:
    text = scripts(fake, "gpu.persistence", "gpu.power_limit=120")["gpu_optimize.sh"]
    (fake.folder / f"gpus/{UUID}/power.limit").unlink()  # as on a GB10: [N/A]
    done = fake.run("g", text, "apply")
    assert done.returncode == 1
    assert re.search(r"gpu.power_limit .* unsupported", done.stdout)
    assert fake.read(f"/gpus/{UUID}/persistence_mode") == "Enabled"


def test_ecc_outlasts_a_reboot_and_is_undone_all_the_same(fake: FakeHost) -> None:
    text = scripts(fake, "gpu.persistence", "gpu.ecc=Enabled")["gpu_optimize.sh"]
    fake.run("g", text, "apply")
    fake.write("/proc/sys/kernel/random/boot_id", "99999999-2222-3333-4444-555555555555\n")
    fake.write(f"/gpus/{UUID}/persistence_mode", "Disabled\n")
    done = fake.run("g", text, "undo")
    assert "1 settings were gone by themselves" in done.stdout
    assert fake.read(f"/gpus/{UUID}/ecc.mode.pending") == "Disabled"


def test_it_is_killed_at_every_step_and_undone(fake: FakeHost) -> None:
    """SIGKILL before each simple command of apply, then undo: as before. Every 7th step also kills the undo once."""
    text = scripts(fake, "vm.swappiness", "vm.dirty_bytes", "io.scheduler=kyber", "io.nr_requests=128", "vm.thp")[
        "system_optimize.sh"
    ]
    before = fake.everything()
    trap = "set -T; n=0; trap '((n++ == {})) && kill -KILL $$' DEBUG"
    killed = 0
    for step in range(40, 5000, 4):
        done = fake.run("s", text, "apply", bash_env=trap.format(step))
        if done.returncode == 0:
            break
        killed += 1
        if step % 7 == 0:
            fake.run("s", text, "undo", bash_env=trap.format(300 + step % 400))
        undone = fake.run("s", text, "undo")
        assert undone.returncode == 0, (step, undone.stdout, undone.stderr)
        assert changes(before, fake.everything()) == {}, step
    assert killed > 100


def test_power_cut_between_journal_and_write(fake: FakeHost) -> None:
    """The journal says what was there, nothing was changed, and the host starts again."""
    text = scripts(fake, "vm.swappiness", "vm.thp")["system_optimize.sh"]
    before = fake.everything()
    stop_at_write = "set -T; trap 'case $BASH_COMMAND in put*) kill -KILL $$ ;; esac' DEBUG"
    assert fake.run("s", text, "apply", bash_env=stop_at_write).returncode != 0
    journal = fake.folder / "var/lib/hwdiag/system_optimize.journal"
    assert len(journal.read_text().splitlines()) == 2
    with journal.open("a") as file:
        file.write("was|file|/proc/sys/vm/vfs_cache_pre")  # torn
    fake.write("/proc/sys/kernel/random/boot_id", "99999999-2222-3333-4444-555555555555\n")
    assert "2 settings were gone by themselves" in fake.run("s", text, "undo").stdout
    before["/proc/sys/kernel/random/boot_id"] = "99999999-2222-3333-4444-555555555555"
    assert changes(before, fake.everything()) == {}


def test_a_torn_journal_line_does_not_swallow_the_next(fake: FakeHost) -> None:
    text = scripts(fake, "vm.swappiness")["system_optimize.sh"]
    fake.run("s", text, "apply")
    journal = fake.folder / "var/lib/hwdiag/system_optimize.journal"
    with journal.open("a") as file:
        file.write("was|file|/proc/sys/vm/vfs_cache_pre")
    more = scripts(fake, "vm.swappiness=15")["system_optimize.sh"]
    fake.run("s", more, "apply")
    fake.run("s", more, "undo")
    assert fake.read("/proc/sys/vm/swappiness") == "60"


def test_without_a_place_for_the_journal_nothing_is_changed(fake: FakeHost) -> None:
    text = scripts(fake, "vm.swappiness")["system_optimize.sh"]
    done = fake.run(
        "s", text, "apply", before="mkdir -p var/lib/hwdiag; mount -t tmpfs -o size=4k,ro none var/lib/hwdiag"
    )
    assert done.returncode == 2
    assert fake.read("/proc/sys/vm/swappiness") == "60"
    (fake.folder / "var/lib/hwdiag").rmdir()
    (fake.folder / "elsewhere").mkdir()
    (fake.folder / "var/lib/hwdiag").symlink_to("/elsewhere")
    done = fake.run("s", text, "apply")
    assert done.stderr == "system_optimize.sh: /var/lib/hwdiag is not a folder of root's\n"
    assert list((fake.folder / "elsewhere").iterdir()) == []


def test_another_host_is_refused(fake: FakeHost) -> None:
    text = scripts(fake, "vm.swappiness")["system_optimize.sh"]
    fake.write("/etc/machine-id", "f" * 32)
    for verb in ("apply", "status", "diff", "undo"):
        done = fake.run("s", text, verb)
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
        assert "not for this host" in done.stderr
    assert fake.run("s", text, "apply", "--force").returncode == 0
    unnamed = fake.host().system.model_copy(update={"machine_hash": None, "arch": os.uname().machine})
    text = scripts(fake, "vm.thp", host=fake.host().model_copy(update={"system": unnamed}))["system_optimize.sh"]
    assert "if this is" in fake.run("s", text, "apply").stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((), "Usage:"),
        (("--help",), "Usage:"),
        (("aply",), "unknown argument aply (allowed: apply, status, diff, undo, "),
        (("apply", "undo"), "one of apply, status, diff, undo"),
        (("apply", "--only"), "--only takes names of settings"),
    ],
)
def test_usage(fake: FakeHost, args: tuple[str, ...], message: str) -> None:
    done = fake.run("s", scripts(fake, "vm.swappiness")["system_optimize.sh"], *args)
    assert message in done.stdout + done.stderr
    assert done.returncode == (0 if args == ("--help",) else 2)


@pytest.fixture
def evil_names() -> Callable[[int], str]:
    parts = ["$(touch /pwned)", "`touch /pwned`", "'", '"', "\n", "../", "-rf ", ";touch /pwned;", "|", "%0A", "\\", "\t",
             "*", "~", "\u202e", "]=1;touch /pwned;x[", "a", " ", "&", "#", "\x1b[31m", "{{ 7*7 }}", "USAGE", "é"]  # fmt: skip

    def make(n: int) -> str:
        return "".join(parts[(n * p + p * p) % len(parts)] for p in (3, 5, 7, 11)[: 1 + n % 4])

    return make


def test_hostile_names_are_data(fake: FakeHost, evil_names: Callable[[int], str]) -> None:
    """208 names of hosts, GPUs, disks, mounts through every verb: no command runs, nothing is written elsewhere."""
    base = fake.host(FakeNvml([NVML]))
    rows = audit(
        Root.directory(fake.folder), base, knobs=("gpu.persistence", "io.scheduler=kyber", "vm.swappiness")
    ).rows
    before = fake.everything()
    for n in range(52):
        host_name, gpu, disk, mount = (evil_names(4 * n + i) for i in range(4))
        system = base.system.model_copy(update={"hostname": host_name, "arch": os.uname().machine})
        host = base.model_copy(update={"system": system})
        named = []
        for row in rows:
            if row.knob == "gpu.persistence":
                row = row.model_copy(update={"where": (f"gpu {gpu} persistence_mode",), "why": gpu})
            elif row.knob == "io.scheduler":
                row = row.model_copy(update={"where": (f"/sys/block/{disk}/queue/scheduler",), "why": disk})
            elif row.knob == "vm.swappiness":
                row = row.model_copy(update={"why": host_name, "risk": mount})
            named.append(row)
        mounted = {"knob": "io.access_times", "where": (f"mount /{mount}",), "chosen": True, "wanted": "noatime"}
        named.append(rows[0].model_copy(update=mounted))
        escaped = "".join(f"\\{ord(c):03o}" if c in " \t\n\\" else c for c in mount)
        fake.write("/proc/self/mountinfo", f"22 1 8:1 / /{escaped} rw,relatime - ext4 /dev/sda1 rw\n")
        before["/proc/self/mountinfo"] = fake.everything()["/proc/self/mountinfo"]
        for name, text in render_settings(named, host, made_at=mount).items():
            for verb in ("status", "diff", "apply", "undo"):
                done = fake.run(name, text, verb)
                assert done.returncode in (0, 1, 2), done.stderr
                assert "\x1b" not in done.stdout
                assert "syntax error" not in done.stderr, text
        assert changes(before, fake.everything()) == {}, (host_name, gpu, disk, mount)
