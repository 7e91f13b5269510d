"""The scripts where something is not as it should be: hostile journals, full disks, other disks, changed choices.

Each was wrong once; a test says what must hold in its place.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hwdiag.audit.audit import audit
from hwdiag.audit.emit import settings_files
from hwdiag.host.root import Root
from hwdiag.tune.instances_script import render_instances_script
from hwdiag.tune.launch_script import render_launch_script
from tests.audit.fake_host import BOOT, FakeHost
from tests.audit.test_settings_scripts import NVML, SYSTEM_CHOICE, changes, everything_of, fake, here, scripts
from tests.host.test_host_gpu import FakeNvml
from tests.tune.test_instances_script import TWO, WHY
from tests.tune.test_launch_script import KEEP, LAUNCHES

__all__ = ["fake"]

JOURNAL = "/var/lib/hwdiag/system_optimize.journal"
KEPT_JOURNAL = "/var/lib/hwdiag/make_persistent.journal"
NEXT_BOOT = "99999999-2222-3333-4444-555555555555\n"


def said(*fields: str) -> str:
    """A line of the journal as apply writes it, in this boot."""
    event, kind, place, value = fields
    return f"{event}|{kind}|{place}|{value}||no|{BOOT}|2026-11-20T10:00:00Z|.\n"


# --- journals --------------------------------------------------------------------------------------------------------

HOSTILE = (
    ("file", "/etc/shadow"), ("file", "/proc/sys/kernel/core_pattern"), ("file", "/proc/sys/vm/../kernel/modprobe"),
    ("file", "/sys/kernel/mm/transparent_hugepage/enabled/../../../../../etc/shadow"), ("file", "relative"),
    ("disk", "/etc/queue/scheduler 1 x"), ("disk", "/sys/block/../../etc/shadow"),
    ("unit", "ssh.service"), ("active", "ssh.service"), ("mount", "/mnt/../etc"), ("pool", "-f autotrim"),
    ("reset_disk", "/etc/shadow"), ("/../../evil", "/etc/shadow"), ("file /proc/sys/vm/swappiness", ""), ("", ""),
    ("$(touch /pwned)", "/etc/shadow"),
)  # fmt: skip


@pytest.mark.parametrize("verb", ["undo", "apply"])
def test_a_journal_makes_no_script_set_what_hwdiag_never_sets(fake: FakeHost, verb: str) -> None:
    text = scripts(fake, *SYSTEM_CHOICE)["system_optimize.sh"]
    fake.write("/etc/shadow", "secret\n")
    fake.write("/proc/sys/kernel/core_pattern", "core\n")
    fake.write("/proc/sys/kernel/modprobe", "/sbin/modprobe\n")
    before = fake.everything()
    events = (("was", "evil"), ("set", "secret"))
    lines = [said(event, kind, place, value) for kind, place in HOSTILE for event, value in events]
    lines.append(said("was", "file", "/proc/sys/vm/swappiness", "--evil"))
    fake.write(JOURNAL, "".join(lines))
    done = fake.run("s", text, verb)
    assert "names what hwdiag never sets: file /etc/shadow" in done.stderr
    if verb == "undo":
        assert done.returncode == 1
        assert f"{2 * len(HOSTILE) + 1} lines of the journal are of something else" in done.stdout
        assert (fake.folder / JOURNAL[1:]).exists()
        assert changes(before, fake.everything()) == {}
    changed = changes(before, fake.everything())
    assert not {p for p in changed if p.startswith("/etc") or "kernel/core" in p or "modprobe" in p}
    assert not (fake.folder / "pwned").exists()


def test_uninstall_removes_nothing_but_what_install_may_write(fake: FakeHost) -> None:
    text = everything_of(fake, "vm.swappiness", "cpu.governor")["make_persistent.sh"]
    secret = "secret\n"
    for path in ("/etc/shadow", "/etc/sysctl.d/10-mine.conf"):
        fake.write(path, secret)
    (fake.folder / "srv/empty").mkdir(parents=True)
    fake.run("p", text, "install")
    before = fake.everything()
    checksum = hashlib.sha256(secret.encode()).hexdigest()
    with (fake.folder / KEPT_JOURNAL[1:]).open("a") as file:
        for path in ("/etc/shadow", "/etc/sysctl.d/10-mine.conf", "/etc/sysctl.d/../shadow"):
            file.write(f"file|{path}|{checksum}|.\n")
        file.write("dir|/srv/empty||.\nunit|ssh.service|none|.\n")
    done = fake.run("p", text, "uninstall")
    assert (done.returncode, "5 lines of the journal are of something else" in done.stdout) == (1, True)
    gone = {p for p, (_, now) in changes(before, fake.everything()).items() if now is None and "gpu" not in p}
    assert gone == {
        "/etc/sysctl.d/99-zz-hwdiag.conf", "/etc/systemd/system/hwdiag-system.service",
        "/libexec/hwdiag/system_optimize.sh",
    }  # fmt: skip
    assert (fake.folder / "srv/empty").is_dir()


@pytest.mark.parametrize("name", ["etc/sysctl.d/99-zz-hwdiag.conf.hwdiag-new", "var/lib/hwdiag/new"])
def test_a_link_in_place_of_a_new_file_is_not_followed(fake: FakeHost, name: str) -> None:
    text = everything_of(fake, "vm.swappiness")["make_persistent.sh"]
    fake.write("/etc/shadow", "secret\n")
    link = fake.folder / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to("/etc/shadow")
    done = fake.run("p", text, "install")
    assert done.returncode == 0, done.stdout
    assert fake.read("/etc/shadow") == "secret"
    assert "vm.swappiness = 10" in fake.read("/etc/sysctl.d/99-zz-hwdiag.conf")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda p: os.mkfifo(p), "is not a file"),
        (lambda p: p.symlink_to("/dev/zero"), "is not a file"),
        (lambda p: p.write_text("x" * 10_000_001), "is too long to be a journal"),
    ],
    ids=["fifo", "link", "long"],
)
def test_a_journal_that_is_none_ends_it_in_one_line(fake: FakeHost, make: object, why: str) -> None:
    texts = everything_of(fake, "vm.swappiness")
    for name, verb in (("system_optimize", "undo"), ("make_persistent", "uninstall")):
        path = fake.folder / f"var/lib/hwdiag/{name}.journal"
        path.parent.mkdir(exist_ok=True)
        make(path)  # type: ignore[operator]
        for each in (verb, "status"):
            done = fake.run("s", texts[f"{name}.sh"], each)
            assert (done.returncode, done.stdout) == (2, "")
            assert done.stderr == f"{name}.sh: /var/lib/hwdiag/{name}.journal {why}\n"
        path.unlink()


# --- undo ------------------------------------------------------------------------------------------------------------


def test_what_is_set_again_at_boot_is_not_said_to_be_gone(fake: FakeHost) -> None:
    text = scripts(fake, "vm.swappiness", "vm.vfs_cache_pressure", "io.scheduler=kyber")["system_optimize.sh"]
    before = fake.everything()
    fake.run("s", text, "apply")
    fake.write("/proc/sys/kernel/random/boot_id", NEXT_BOOT)
    fake.write("/proc/sys/vm/vfs_cache_pressure", "100\n")  # nothing keeps this one
    done = fake.run("s", text, "undo")
    assert done.returncode == 0, done.stdout
    assert "1 settings were gone by themselves" in done.stdout
    assert "3 settings of an earlier boot are in force again: something sets them at each boot" in done.stdout
    assert "3 restored" in done.stdout
    before["/proc/sys/kernel/random/boot_id"] = NEXT_BOOT.strip()
    assert changes(before, fake.everything()) == {}


def test_an_apply_after_a_boot_keeps_what_was_there_before_the_first(fake: FakeHost) -> None:
    text = scripts(fake, "vm.swappiness")["system_optimize.sh"]
    fake.run("s", text, "apply")
    fake.write("/proc/sys/kernel/random/boot_id", NEXT_BOOT)
    fake.run("s", text, "apply")  # as wanted already: a file of sysctl.d did it
    fake.write("/proc/sys/vm/swappiness", "42\n")
    assert "changed since by somebody, left alone" in fake.run("s", text, "undo").stdout
    assert fake.read("/proc/sys/vm/swappiness") == "42"


READ_ONLY = "mount --bind var/lib/hwdiag var/lib/hwdiag; mount -o remount,bind,ro var/lib/hwdiag"
FULL = (
    "cp -r var/lib/hwdiag saved; mount -t tmpfs -o size=4k none var/lib/hwdiag; cp saved/* var/lib/hwdiag; rm -r saved"
)


@pytest.mark.parametrize(("what", "removed"), [(READ_ONLY, False), (FULL, True)], ids=["read-only", "full"])
def test_undo_works_where_nothing_can_be_written(fake: FakeHost, what: str, removed: bool) -> None:
    text = scripts(fake, "vm.swappiness", "io.scheduler=kyber")["system_optimize.sh"]
    before = fake.everything()
    fake.run("s", text, "apply")
    journal = fake.folder / JOURNAL[1:]
    journal.write_text(journal.read_text() + "\n" * (4096 - journal.stat().st_size))
    done = fake.run("s", text, "undo", before=what)
    assert "put back all the same" in done.stderr
    assert changes(before, fake.everything()) == {}
    assert done.returncode == (0 if removed else 1)
    assert ("could not be removed: run undo again" in done.stdout) is not removed


def test_a_disk_that_is_another_one_now_is_not_set_back(fake: FakeHost) -> None:
    text = scripts(fake, "io.scheduler=kyber", "io.read_ahead=2048")["system_optimize.sh"]
    fake.run("s", text, "apply")
    fake.write("/sys/block/sda/size", "976773168\n")
    done = fake.run("s", text, "undo")
    assert "sda is another disk than when this was made: left alone" in done.stderr
    assert fake.read("/sys/block/sda/queue/scheduler") == "kyber"
    assert fake.read("/sys/block/sda/queue/read_ahead_kb") == "2048"
    assert fake.read("/sys/block/nvme0n1/queue/scheduler") == "none"


def test_nothing_is_left_of_it(fake: FakeHost) -> None:
    """No lock, no empty folder; two runs at a time each find theirs."""
    texts = everything_of(fake, "vm.swappiness", "cpu.governor")
    for name, verbs in (
        ("system_optimize.sh", ("apply", "undo", "undo")),
        ("make_persistent.sh", ("install", "uninstall")),
    ):
        for verb in verbs:
            assert fake.run("s", texts[name], verb).returncode == 0
        assert not (fake.folder / "var/lib/hwdiag").exists()
        assert not (fake.folder / "libexec/hwdiag").exists()


# --- mounts, in a mount namespace ------------------------------------------------------------------------------------

MOUNTED = "36 35 98:0 / /mnt rw,nosuid,nodev,noexec,relatime - ext4 /dev/sda1 rw\n"
REAL_MOUNT = "mkdir -p mnt; mount -t tmpfs -o nosuid,nodev,noexec,relatime none mnt; mount --rbind /proc proc"
SHOW = (
    'while read -r _ _ _ _ at options _; do if [ $at = /mnt ]; then echo "now $options"; fi; done </proc/self/mountinfo'
)
ALL = "nosuid,nodev,noexec"


@pytest.mark.parametrize(
    ("between", "undo", "left"),
    [
        ("", "s", f"rw,{ALL},relatime"),
        ("", "narrower", f"rw,{ALL},relatime"),  # of an earlier choice, by a script that has no mounts in it
        ("mount -o remount,ro,nosuid,nodev,noexec /mnt", "s", None),  # the admin's: not to be written to any more
        ("mount -o remount,bind,rw,noatime none /mnt", "s", "rw,noatime"),
    ],
    ids=["undone", "narrower", "read-only since", "flags changed since"],
)
def test_a_remount_keeps_all_flags_and_undo_looks_at_all(fake: FakeHost, between: str, undo: str, left: str) -> None:
    fake.write("/proc/self/mountinfo", MOUNTED)
    fake.write("/etc/fstab", "none /mnt tmpfs rw,suid,dev,exec 0 0\n")
    for name, knobs in (("s", ("io.access_times",)), ("narrower", ("vm.swappiness",))):
        fake.write(f"/scripts/{name}.sh", scripts(fake, *knobs)["system_optimize.sh"])
    steps = (
        SHOW,
        "bash /scripts/s.sh apply --force",
        SHOW,
        between,
        SHOW,
        f"bash /scripts/{undo}.sh undo --force",
        SHOW,
    )
    done = fake.run("d", "\n".join(steps), before=REAL_MOUNT)
    shown = [line.removeprefix("now ") for line in done.stdout.splitlines() if line.startswith("now ")]
    assert shown[:2] == [f"rw,{ALL},relatime", f"rw,{ALL},noatime"], done.stdout + done.stderr
    assert shown[3] == (left or shown[2])
    assert ("changed since by somebody, left alone" in done.stdout) is bool(between)
    assert ("1 restored" in done.stdout) is not bool(between)


# --- what is kept over a reboot --------------------------------------------------------------------------------------


def test_status_compares_with_todays_choice_and_install_takes_the_earlier_one_back(fake: FakeHost) -> None:
    first = everything_of(fake, "vm.swappiness=11", "vm.thp", "limits.nofile", "cpu.governor")["make_persistent.sh"]
    before = fake.everything()
    assert fake.run("p", first, "install").returncode == 0
    changed = everything_of(fake, "vm.swappiness=12")["make_persistent.sh"]
    done = fake.run("p", changed, "status")
    assert done.returncode == 1
    assert re.search(r"99-zz-hwdiag.conf +of an earlier choice, install writes it again", done.stdout)
    others = {"/etc/tmpfiles.d/hwdiag.conf", "/etc/security/limits.d/99-hwdiag.conf",
              "/etc/systemd/system/hwdiag-system.service", "/usr/libexec/hwdiag/system_optimize.sh"}  # fmt: skip
    still = set(re.findall(r"^(\S+) +of an earlier choice, still in force", done.stdout, re.MULTILINE))
    assert still == others
    assert fake.run("p", changed, "install").returncode == 0
    assert fake.read("/etc/sysctl.d/99-zz-hwdiag.conf").endswith("vm.swappiness = 12")
    changed_now = {p for p in changes(before, fake.everything()) if "gpu" not in p}  # persistence is always chosen
    assert changed_now == {"/etc/sysctl.d/99-zz-hwdiag.conf"}
    assert not (fake.folder / "etc/systemd/system/multi-user.target.wants/hwdiag-system.service").is_symlink()
    done = fake.run("p", changed, "status")
    assert (done.returncode, "earlier" in done.stdout) == (0, False), done.stdout
    assert fake.run("p", first, "status").returncode == 1
    assert fake.run("p", changed, "uninstall").returncode == 0
    assert changes(before, fake.everything()) == {}


def test_a_copy_of_an_earlier_script_is_not_as_wanted(fake: FakeHost) -> None:
    first = everything_of(fake, "cpu.governor")["make_persistent.sh"]
    fake.run("p", first, "install")
    second = everything_of(fake, "cpu.governor=powersave")["make_persistent.sh"]
    done = fake.run("p", second, "status")
    assert done.returncode == 1
    assert re.search(r"libexec/hwdiag/system_optimize.sh +of an earlier choice", done.stdout)


def test_an_edited_file_is_not_forgotten(fake: FakeHost) -> None:
    text = everything_of(fake, "vm.swappiness", "vm.thp")["make_persistent.sh"]
    before = fake.everything()
    fake.run("p", text, "install")
    edited = "/etc/sysctl.d/99-zz-hwdiag.conf"
    fake.write(edited, fake.read(edited) + "\nvm.swappiness = 1\n")
    for _ in range(2):
        done = fake.run("p", text, "uninstall")
        assert done.returncode == 1
        assert re.search(r"99-zz-hwdiag.conf +changed since by somebody: left alone", done.stdout)
        assert "1 files are still in force" in done.stdout
        assert "is gone" not in done.stdout
        assert list(changes(before, fake.everything())) == [edited]
    (fake.folder / edited[1:]).unlink()
    assert fake.run("p", text, "uninstall").returncode == 0
    assert not (fake.folder / "var/lib/hwdiag").exists()


UNNAMED = """#!/bin/bash
case $* in *--name=/dev/nvme0n1*) printf 'DEVNAME=/dev/nvme0n1\\nID_SERIAL=Samsung_SSD_980_S64ANS0T\\n' ;; esac
"""


def test_a_disk_that_no_rule_can_name_takes_no_other_disks_rule_away(fake: FakeHost) -> None:
    text = everything_of(fake, "io.scheduler=kyber")["make_persistent.sh"]
    fake.write("/local/udevadm", UNNAMED)
    done = fake.run("p", text, "install")
    assert done.returncode == 1
    assert "disk sda has no serial number and no port that a rule could name" in done.stderr
    assert re.search(r"99-hwdiag.rules +written, but for what is named above", done.stdout)
    rules = [line for line in fake.read("/etc/udev/rules.d/99-hwdiag.rules").splitlines() if line.startswith("ACTION")]
    assert [re.findall('ID_SERIAL}=="([^"]+)"', rule) for rule in rules] == [["Samsung_SSD_980_S64ANS0T"]]
    status = fake.run("p", text, "status")
    assert status.returncode == 1
    assert re.search(r"99-hwdiag.rules +as wanted, but for a disk that cannot be named", status.stdout)
    assert fake.run("p", text, "uninstall").returncode == 0


def test_a_script_is_read_once_and_checked_as_it_is_copied(fake: FakeHost) -> None:
    """A pipe gives the right script at the first reading, and another at the second."""
    text = everything_of(fake, "cpu.governor")["make_persistent.sh"]
    right = fake.folder / "scripts/system_optimize.sh"
    (fake.folder / "right").write_text(right.read_text())
    right.unlink()
    os.mkfifo(right)
    pipe = f"cat {fake.folder}/right >{right}; echo 'touch /pwned' >{right}"
    with subprocess.Popen(["sh", "-c", pipe]) as writer:
        try:
            fake.run("p", text, "install")
        finally:
            writer.kill()
    installed = fake.folder / "libexec/hwdiag/system_optimize.sh"
    assert not installed.exists() or installed.read_text() == (fake.folder / "right").read_text()


# --- where they run --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["system_optimize.sh", "make_persistent.sh"])
def test_no_program_of_the_callers_path_is_run(fake: FakeHost, tmp_path: Path, name: str) -> None:
    (tmp_path / "s.sh").write_text(everything_of(fake, "vm.swappiness")[name])
    (tmp_path / "bash").write_text(f"#!/bin/sh\ntouch {tmp_path}/pwned\n")
    for file in ("s.sh", "bash"):
        (tmp_path / file).chmod(0o755)
    done = subprocess.run([tmp_path / "s.sh", "--help"], env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert (done.returncode, done.stdout[:6]) == (0, "Usage:")
    assert not (tmp_path / "pwned").exists()


def test_a_missing_tool_is_named_and_one_of_nixos_is_found(fake: FakeHost) -> None:
    text = scripts(fake, "vm.swappiness")["system_optimize.sh"]
    tools = fake.folder / "tools"
    tools.mkdir()
    for tool in ("bash", "env", "cat", "chmod", "mkdir", "mv", "rm", "rmdir", "stat", "sync", "tail", "wc"):
        shutil.copy(shutil.which(tool) or "", tools)
    hidden = "mount --bind tools usr/bin"
    done = fake.run("s", text, "apply", before=hidden)
    assert done.returncode == 2
    assert re.fullmatch(r"system_optimize.sh: .*there is no sha256sum in /usr/local/sbin:\S+\n", done.stderr)
    there = fake.folder / "run/current-system/sw/bin"
    there.mkdir(parents=True)
    shutil.copy(shutil.which("sha256sum") or "", there)
    assert fake.run("s", text, "apply", before=hidden).returncode == 0


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/.dockerenv", ""),
        ("/run/.containerenv", ""),
        ("/run/systemd/container", "systemd-nspawn\n"),
        ("/proc/1/environ", "PATH=/bin\0container=lxc\0"),
        ("/proc/self/cgroup", "1:name=systemd:/kubepods/burstable/x\n"),
    ],
)
def test_in_a_container_it_says_that_nothing_can_be_kept_from_there(fake: FakeHost, path: str, content: str) -> None:
    texts = everything_of(fake, "vm.swappiness")
    fake.write(path, content)
    before = fake.everything()
    done = fake.run("p", texts["make_persistent.sh"], "install")
    assert (done.returncode, done.stdout) == (2, "")
    assert "this is a container: settings of the host cannot be kept from here" in done.stderr
    assert changes(before, fake.everything()) == {}
    applied = fake.run("s", texts["system_optimize.sh"], "apply")
    assert (applied.returncode, "this is a container: its end takes" in applied.stderr) == (0, True)
    if path == "/.dockerenv":  # left in the image of a virtual machine, which systemd has booted
        (fake.folder / "run/systemd/system").mkdir(parents=True)
        assert fake.run("p", texts["make_persistent.sh"], "install").returncode == 0


NEWER = {
    "wait -n": r"\bwait\s+-\w*n",
    "a reference": r"\b(local|declare|typeset)\s+-\w*n",
    "a transformation": r"\$\{\w+(\[\S+\])?@",
    "a negative index": r"\w\[-\d+\]=",
    "-v of an element": r"-v\s+\S+\[",
    "a variable": r"\b(EPOCH\w+|BASH_ARGV0|SRANDOM)\b",
    "an option": r"mapfile\s+-d|inherit_errexit",
    "an array that may be empty": r'(?<!\+)"\$\{(kept|left|set_vars|bind|UNITS|KEPT|ORDER|work)\[@\]\}"(?!\})',
}  # fmt: skip
"""What bash 4.2 does not know; under "set -u", before 4.4, an empty array counts as unset."""


def test_no_script_uses_what_bash_4_2_does_not_know(fake: FakeHost) -> None:
    texts = everything_of(fake, *SYSTEM_CHOICE, "gpu.persistence", "limits.nofile", "io.access_times")
    found = {name: text for name, text in texts.items() if name.endswith(".sh")}
    host = fake.host(FakeNvml([NVML]))
    found |= {f"launch {n}": render_launch_script(launch, KEEP, host, made_at="") for n, launch in enumerate(LAUNCHES)}
    found["instances"] = render_instances_script(TWO, WHY, host, made_at="")
    uses = {(name, what) for name, text in found.items() for what, pattern in NEWER.items() if re.search(pattern, text)}
    assert len(found) > 10
    assert uses == set()


# --- what is wanted --------------------------------------------------------------------------------------------------

QUEUE = "/sys/block/sda/queue/scheduler"
CLOCK = "/sys/devices/system/cpu/cpufreq/policy0/scaling_available_governor"
PREFERENCES = "/sys/devices/system/cpu/cpufreq/policy0/energy_performance_available_preferences"
DEFRAG = "/sys/kernel/mm/transparent_hugepage/defrag"


@pytest.mark.parametrize(
    ("knob", "path", "content", "offered"),
    [
        ("io.scheduler=mq-deadline", QUEUE, "noop deadline [cfq]\n", "noop, deadline and cfq"),
        ("io.scheduler=kyber", QUEUE, "none\n", "none"),
        ("io.scheduler=kyber", QUEUE, "[mq-deadline] none\n", "mq-deadline and none"),
        ("vm.thp_defrag=defer", DEFRAG, "[always] madvise never\n", "always, madvise and never"),
        ("cpu.governor=schedutil", f"{CLOCK}s", "performance powersave\n", "performance and powersave"),
        ("cpu.energy_preference=performance", PREFERENCES, "default power\n", "default and power"),
    ],
)
def test_no_value_is_wanted_that_the_kernel_does_not_list(
    fake: FakeHost, knob: str, path: str, content: str, offered: str
) -> None:
    fake.write(path, content)
    name, _, value = knob.partition("=")
    found = audit(Root.directory(fake.folder), fake.host(), knobs=(knob,))
    row = next(r for r in found.rows if r.knob == name and any(path.rpartition("/")[0] in w for w in r.where))
    assert (row.wanted, row.chosen) == (None, False)
    assert row.why == f"you chose it, but the kernel does not offer {value} here, but {offered}"
    unasked = audit(Root.directory(fake.folder), fake.host())
    assert {r.wanted for r in unasked.rows if r.knob == name and path in r.where} <= {
        None,
        *offered.replace(" and", ",").split(", "),
    }


def test_of_a_dump_nothing_is_said_to_have_failed(fake: FakeHost) -> None:
    fake.write("/proc/spl/kstat/zfs/tank/state", "ONLINE\n")
    rows = [r for r in audit(Root.directory(fake.folder), fake.host()).rows if r.state == "unknown"]
    assert "zfs.autotrim" in {r.knob for r in rows}
    assert [r for r in rows if "failed" in r.why] == []
    assert "only the machine itself can be asked" in {r.why for r in rows}


@pytest.mark.parametrize(
    ("active", "include"),
    [
        ("throughput-performance\n", "include=throughput-performance"),
        ("virtual-guest my.own\n", "include=virtual-guest,my.own"),
        ("hwdiag\n", None),
        ("${f:exec:touch:/pwned}\n../../x\n", None),
        (None, None),
    ],
)
def test_the_tuned_profile_includes_what_is_active(fake: FakeHost, active: str | None, include: str | None) -> None:
    if active is not None:
        fake.write("/etc/tuned/active_profile", active)
    found = audit(Root.directory(fake.folder), fake.host(), knobs=("vm.swappiness",))
    host = fake.host().model_copy(update={"system": here(fake.host())})
    (profile,) = (f.text for f in settings_files(found, host, made_at="now") if f.path.endswith("tuned.conf"))
    assert re.findall("^include=.*", profile, re.MULTILINE) == ([] if include is None else [include])
    assert profile.index("[main]") < profile.index("[sysctl]")


def test_a_mount_point_offers_what_every_mount_does(fake: FakeHost) -> None:
    """The path of the root's setting ends like a folder's, and was taken for a list of what it offers."""
    fake.write("/proc/self/mountinfo", "22 1 254:0 / / rw,noatime shared:1 - ext4 /dev/vda rw\n")
    found = audit(Root.directory(fake.folder), fake.host(), knobs=("io.access_times=strictatime",))
    (row,) = (r for r in found.rows if r.knob == "io.access_times")
    assert (row.now, row.wanted, row.chosen) == ("noatime", "strictatime", True)
