"""The scripts for host settings run for real, in a host made of files: apply, status, diff, undo, and being killed."""

from __future__ import annotations

import configparser
import fcntl
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hwdiag.audit.audit import audit
from hwdiag.audit.emit import settings_files
from hwdiag.audit.scripts import render_settings
from hwdiag.host.model import Host
from hwdiag.host.root import Root
from hwdiag.tune.comfyui import names, render_comfyui
from tests.audit.fake_host import BOOT, FakeHost, memory_folder, require_namespaces, settings_tree
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
                 "cpu", "cpu.idle_latency=50", "vm.overcommit_memory")  # fmt: skip
GPU_CHOICE = ("gpu.persistence", "gpu.power_limit=120", "gpu.accounting", "gpu.compute_mode", "gpu.ecc=Enabled",
              "gpu.clock_lock=1200,1800", "gpu.boost_slider=1")  # fmt: skip
CHANGED = 41
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
    fake.write("/proc/sys/vm/swappiness", "61\n")
    fake.write("/proc/sys/vm/vfs_cache_pressure", "100\n")
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


def test_another_disk_of_the_same_name_is_left_alone(fake: FakeHost) -> None:
    fake.write("/sys/block/sda/device/model", "Samsung  SSD [870]\t   \n")
    text = scripts(fake, "io.scheduler=kyber")["system_optimize.sh"]
    assert fake.run("s", text, "status").stderr == ""
    fake.write("/sys/block/sda/size", "976773168\n")
    done = fake.run("s", text, "apply")
    assert done.returncode == 1
    assert "sda is another disk than when this was made: left alone" in done.stderr
    assert fake.read("/sys/block/sda/queue/scheduler").startswith("none [mq-deadline]")
    assert fake.read("/sys/block/nvme0n1/queue/scheduler") == "kyber"
    assert re.search("io.scheduler .*/sda/.* unsupported", done.stdout)


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


@pytest.mark.parametrize(
    ("knob", "path", "line"),
    [
        ("vm.swappiness", "/etc/sysctl.d/99-local.conf", " vm/swappiness = 60\n"),
        ("vm.thp", "/etc/tmpfiles.d/huge.conf", "w! /sys/kernel/mm/transparent_hugepage/enabled  - - - -  always\n"),
        ("io.scheduler=kyber", "/etc/udev/rules.d/60-x.rules", 'KERNEL=="sd*", ATTR{queue/scheduler}="mq-deadline"\n'),
        ("zfs.prefetch_disable", "/etc/modprobe.d/zfs.conf", "options zfs zfs_arc_max=9 zfs_prefetch_disable=1"),
    ],
)
def test_overridden_by_a_file_of_somebody_else(fake: FakeHost, knob: str, path: str, line: str) -> None:
    text = scripts(fake, knob)["system_optimize.sh"]
    fake.write(path, f"#{line}")
    assert "overridden" not in fake.run("s", text, "status").stdout
    fake.write(path, line)
    done = fake.run("s", text, "status")
    assert done.returncode == 1
    assert re.search(rf"{knob.partition('=')[0]} .* overridden by {path}$", done.stdout, re.MULTILINE)
    fake.run("s", text, "apply")
    assert "overridden" not in fake.run("s", text, "status").stdout


def test_the_gpu_script(fake: FakeHost) -> None:
    text = scripts(fake, *GPU_CHOICE)["gpu_optimize.sh"]
    before = fake.everything()
    done = fake.run("g", text, "apply")
    assert done.returncode == 0, done.stdout
    assert "asked for; it cannot be read back" in done.stdout
    calls = (fake.folder / "gpus/calls").read_text().splitlines()
    asked = [c.removeprefix(f"{UUID} ") for c in calls if "--query" not in c]
    assert asked[0] == "-pm 1"
    assert set(asked) == {
        "-pm 1", "-pl 120.00", "-am 1", "-c EXCLUSIVE_PROCESS", "-e 1", "-lgc 1200,1800", "boost-slider --vboost 1"
    }  # fmt: skip
    assert fake.read(f"/gpus/{UUID}/power.limit") == "120.00"
    status = fake.run("g", text, "status")
    assert status.returncode == 0, status.stdout  # asked for, and kept by persistence mode
    assert status.stdout.count("asked for; it cannot be read back") == 2
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


EVERY = [pytest.param(41, id="some"), pytest.param(5, marks=pytest.mark.long, id="many")]
"""Simple commands from one kill to the next; kills at each write are for the guest's test."""


@pytest.mark.parametrize("every", EVERY)
def test_it_is_killed_at_steps_and_undone(fake: FakeHost, every: int) -> None:
    """SIGKILL before a simple command of apply, then undo: as before. Every fourth also kills the undo once."""
    text = scripts(fake, "vm.swappiness", "vm.dirty_bytes", "io.scheduler=kyber", "io.nr_requests=128", "vm.thp")[
        "system_optimize.sh"
    ]
    before = fake.everything()
    trap = "set -T; n=0; trap '((n++ == {})) && kill -KILL $$' DEBUG"
    killed = 0
    for step in range(40, 5000, every):
        done = fake.run("s", text, "apply", bash_env=trap.format(step))
        if done.returncode == 0:
            break
        killed += 1
        if step % 4 == 0:
            fake.run("s", text, "undo", bash_env=trap.format(300 + step % 400))
        undone = fake.run("s", text, "undo")
        assert undone.returncode == 0, (step, undone.stdout, undone.stderr)
        assert changes(before, fake.everything()) == {}, step
    assert killed > 400 // every


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


def test_another_run_is_waited_for(fake: FakeHost) -> None:
    """At boot the units of both scripts start at once."""
    text = scripts(fake, "vm.swappiness")["system_optimize.sh"]
    (fake.folder / "var/lib/hwdiag").mkdir()
    held = os.open(fake.folder / "var/lib/hwdiag", os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    threading.Timer(0.5, os.close, (held,)).start()
    began = time.monotonic()
    assert fake.run("s", text, "apply").returncode == 0
    assert time.monotonic() - began > 0.5
    assert fake.read("/proc/sys/vm/swappiness") == "10"


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


# --- persistence -----------------------------------------------------------------------------------------------------

SYSTEMCTL = r"""#!/bin/bash
# Stands in for systemctl: a unit is enabled where there is a link to it.
args=(); for a; do case $a in -q | --) ;; *) args+=("$a") ;; esac; done
link=/etc/systemd/system/multi-user.target.wants/${args[1]-}
case ${args[0]} in
  daemon-reload) ;;
  is-enabled) if [ -L "$link" ]; then echo enabled; else echo disabled; exit 1; fi ;;
  enable)
    [ -e "/etc/systemd/system/${args[1]}" ] || exit 1
    mkdir -p "${link%/*}"; ln -sf "/etc/systemd/system/${args[1]}" "$link"
    ;;
  disable) rm -f "$link"; rmdir "${link%/*}" 2>/dev/null || true ;;
esac
"""
UDEVADM = r"""#!/bin/bash
case $* in
  *--name=/dev/sda*) printf 'DEVNAME=/dev/sda\nID_SERIAL=%s\nID_PATH=pci-0000:00:1f.2-ata-1\n' "$(cat /serial)" ;;
  *--name=/dev/nvme0n1*) printf 'DEVNAME=/dev/nvme0n1\nID_SERIAL=Samsung_SSD_980_S64ANS0T\n' ;;
esac
"""
KEPT = ("vm.swappiness", "vm.thp", "zfs.prefetch_disable", "limits.nofile", "io.scheduler=kyber", "io.nr_requests=128",
        "cpu.governor", "gpu.persistence", "net.tcp_rmem")  # fmt: skip


def everything_of(fake: FakeHost, *knobs: str) -> dict[str, str]:
    """Every emitted file by its name, with the stand-ins for systemctl and udevadm put into the host."""
    fake.write("/proc/self/limits", "Limit Soft Hard Units\nMax open files            1024    4096    files\n")
    fake.write("/serial", "WDC_WD40EFRX-68N32N0_WD-WCC7K0\n")
    for name, text in (("systemctl", SYSTEMCTL), ("udevadm", UDEVADM)):
        fake.write(f"/local/{name}", text)
        (fake.folder / "local" / name).chmod(0o755)
    host = fake.host(FakeNvml([NVML]))
    found = audit(Root.directory(fake.folder), host, knobs=knobs)
    host = host.model_copy(update={"system": here(host)})
    files = settings_files(found, host, made_at="2026-11-20T10:00:00Z")
    texts = {f.path.removeprefix("scripts/"): f.text for f in files}
    for name in ("system_optimize.sh", "gpu_optimize.sh"):
        if name in texts:
            fake.write(f"/scripts/{name}", texts[name])
    return texts


def test_install_writes_each_setting_by_its_means_and_uninstall_leaves_nothing(fake: FakeHost) -> None:
    text = everything_of(fake, *KEPT)["make_persistent.sh"]
    before = fake.everything()
    assert fake.run("p", text, "status").returncode == 1
    assert changes(before, fake.everything()) == {}
    done = fake.run("p", text, "install")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "vm.swappiness = 10\nnet.ipv4.tcp_rmem = 4096 131072 33554432" in fake.read(
        "/etc/sysctl.d/99-zz-hwdiag.conf"
    )
    assert fake.read("/etc/tmpfiles.d/hwdiag.conf").endswith(
        "w! /sys/kernel/mm/transparent_hugepage/enabled - - - - madvise"
    )
    assert fake.read("/etc/modprobe.d/hwdiag-zfs.conf").endswith("options zfs zfs_prefetch_disable=0")
    assert fake.read("/etc/security/limits.d/99-hwdiag.conf").endswith("* soft nofile 65536\nroot soft nofile 65536")
    rules = fake.read("/etc/udev/rules.d/99-hwdiag.rules").splitlines()
    assert rules[2] == (
        'ACTION=="add|change", SUBSYSTEM=="block", ENV{DEVTYPE}=="disk", '
        'ENV{ID_SERIAL}=="WDC_WD40EFRX-68N32N0_WD-WCC7K0", ATTR{queue/scheduler}="kyber", ATTR{queue/nr_requests}="128"'
    )
    unit = fake.read("/etc/systemd/system/hwdiag-gpu.service")
    assert "After=nvidia-persistenced.service\n" in unit
    assert "apply --only gpu.persistence" in unit
    assert "apply --only cpu.governor\n" in fake.read("/etc/systemd/system/hwdiag-system.service")
    assert os.access(fake.folder / "libexec/hwdiag/system_optimize.sh", os.X_OK)
    status = fake.run("p", text, "status")
    assert status.returncode == 0, status.stdout
    assert fake.run("p", text, "install").returncode == 0  # again, over its own files
    gone = fake.run("p", text, "uninstall")
    assert gone.returncode == 0, gone.stdout
    assert changes(before, fake.everything()) == {}
    assert not list(fake.folder.rglob("*.wants"))
    assert fake.run("p", text, "uninstall").stdout == "nothing is installed\n"


def test_files_of_somebody_else_are_neither_overwritten_nor_removed(fake: FakeHost) -> None:
    text = everything_of(fake, "vm.swappiness", "zfs.prefetch_disable")["make_persistent.sh"]
    fake.write("/etc/modprobe.d/hwdiag-zfs.conf", "options zfs zfs_arc_max=1\n")
    before = fake.everything()
    done = fake.run("p", text, "install")
    assert done.returncode == 1
    assert re.search("hwdiag-zfs.conf +belongs to somebody else: left alone", done.stdout)
    with (fake.folder / "etc/sysctl.d/99-zz-hwdiag.conf").open("a") as file:
        file.write("vm.swappiness = 1\n")
    assert re.search("99-zz-hwdiag.conf +drifted", fake.run("p", text, "status").stdout)
    assert "changed since by somebody: left alone" in fake.run("p", text, "uninstall").stdout
    changed = changes(before, fake.everything())
    assert list(changed) == ["/etc/sysctl.d/99-zz-hwdiag.conf"]


def test_a_later_file_overrides(fake: FakeHost) -> None:
    text = everything_of(fake, "vm.swappiness")["make_persistent.sh"]
    fake.run("p", text, "install")
    fake.write("/etc/sysctl.d/99-zzz-mine.conf", "vm/swappiness=60\n")
    done = fake.run("p", text, "status")
    assert done.returncode == 1
    assert "overridden by /etc/sysctl.d/99-zzz-mine.conf" in done.stdout
    fake.write("/etc/sysctl.d/99-zzz-mine.conf", "vm/swappiness=10\n")
    assert fake.run("p", text, "status").returncode == 0


@pytest.mark.parametrize("serial", ['x"; RUN+="/bin/touch /pwned', "*", "$(touch /pwned)", "a b", "`id`", ""])
def test_a_hostile_serial_number_never_reaches_a_rule(fake: FakeHost, serial: str) -> None:
    text = everything_of(fake, "io.scheduler=kyber")["make_persistent.sh"]
    fake.write("/serial", f"{serial}\n")
    fake.run("p", text, "install")
    rules = fake.read("/etc/udev/rules.d/99-hwdiag.rules")
    assert 'ENV{ID_PATH}=="pci-0000:00:1f.2-ata-1", ATTR{queue/scheduler}="kyber"' in rules
    assert "RUN" not in rules
    assert not (fake.folder / "pwned").exists()


@pytest.mark.parametrize("every", EVERY)
def test_install_is_killed_at_steps_and_uninstalled(fake: FakeHost, every: int) -> None:
    text = everything_of(fake, "vm.swappiness", "vm.thp", "cpu.governor")["make_persistent.sh"]
    before = fake.everything()
    killed = 0
    for step in range(30, 2000, every):
        trap = f"set -T; n=0; trap '((n++ == {step})) && kill -KILL $$' DEBUG"
        if fake.run("p", text, "install", bash_env=trap).returncode == 0:
            break
        killed += 1
        gone = fake.run("p", text, "uninstall")
        assert gone.returncode == 0, (step, gone.stdout, gone.stderr)
        assert changes(before, fake.everything()) == {}, step
    assert killed > 120 // every


def test_only_the_script_that_was_emitted_with_it_is_installed(fake: FakeHost) -> None:
    text = everything_of(fake, "cpu.governor")["make_persistent.sh"]
    fake.write("/scripts/system_optimize.sh", "#!/bin/bash\ntouch /pwned\n")
    done = fake.run("p", text, "install")
    assert done.returncode == 1
    assert "could not be made" in done.stdout


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("knobs", [KEPT, ("vm.swappiness",), ("io.scheduler=kyber",), ("gpu.persistence",)])
def test_make_persistent_passes_shellcheck(fake: FakeHost, tmp_path: Path, knobs: tuple[str, ...]) -> None:
    (tmp_path / "p.sh").write_text(everything_of(fake, *knobs)["make_persistent.sh"])
    done = subprocess.run(["shellcheck", tmp_path / "p.sh"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


# --- the siblings ----------------------------------------------------------------------------------------------------


def test_the_tuned_profile_holds_the_same(fake: FakeHost) -> None:
    profile = everything_of(fake, *KEPT)["tuned/hwdiag/tuned.conf"]
    read = configparser.ConfigParser(interpolation=None, delimiters="=")
    read.optionxform = str  # type: ignore[assignment,method-assign]
    read.read_string(profile)
    assert dict(read["sysctl"]) == {"vm.swappiness": "10", "net.ipv4.tcp_rmem": "4096 131072 33554432"}
    files = dict(read["sysfs"])
    assert files["/sys/devices/system/cpu/cpufreq/policy*/scaling_governor"] == "performance"
    order = list(files)
    assert order.index("/sys/block/sda/queue/scheduler") < order.index("/sys/block/sda/queue/nr_requests")


def test_ways_to_start_comfyui(fake: FakeHost, tmp_path: Path) -> None:
    folder = tmp_path / "Comfy UI's"
    folder.mkdir()
    (folder / "main.py").write_text("import sys; print(sys.argv[1:])")
    launch = tmp_path / "launch.sh"
    launch.write_text('#!/bin/sh\n[ "$1 $2" = "--force --" ] && shift 2\necho launched; exec "$@"\n')
    launch.chmod(0o755)
    texts = render_comfyui(fake.host(), str(folder), sys.executable, str(launch), made_at="2026-11-20T10:00:00Z")
    for name, said in (
        ("comfyui-optimized.sh", "launched\n['--cpu', '--port', '8189']\n"),
        ("comfyui-conservative.sh", "['--cpu', '--disable-all-custom-nodes', '--port', '8189']\n"),
    ):
        (tmp_path / name).write_text(texts[name])
        done = subprocess.run(["bash", tmp_path / name, "--force", "--port", "8189"], capture_output=True, text=True)
        assert done.stdout == said, done.stderr
        if name == "comfyui-conservative.sh":  # launch.sh refuses by itself
            refused = subprocess.run(["bash", tmp_path / name, "--port", "8189"], capture_output=True, text=True)
            assert (refused.returncode, refused.stdout) == (2, "")
            assert "not for this host; --force runs it all the same" in refused.stderr
        assert "#   TORCH_DISABLE_AVX2: Nothing reads it" in texts[name]
        lines = [line for line in texts[name].splitlines() if not line.startswith("#")]
        assert not any("0.0.0.0" in line or "fp16" in line or "TORCH_" in line for line in lines)
        if shutil.which("shellcheck"):
            checked = subprocess.run(["shellcheck", tmp_path / name], capture_output=True, text=True)
            assert checked.returncode == 0, checked.stdout
    assert f'\nExecStart=/bin/bash "{tmp_path}/comfyui-optimized.sh"\n' in texts["comfyui.service"]


def test_alternatives_of_a_pattern() -> None:
    assert names("A|(B|C)_X(1|2)|D") == ["A", "B_X1", "B_X2", "C_X1", "C_X2", "D"]
