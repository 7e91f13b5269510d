"""The scripts against a real kernel where something is not as it should be: flags of mounts, choices, journals."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.audit.guest_state import copy_script, emit, read_guest, state
from tests.audit.proof import Proof, proof
from tests.audit.test_settings_guest import Known, known
from tests.vm.guest import Guest

__all__ = ["known", "proof"]

SYSTEM, KEEP = "/root/scripts/system_optimize.sh", "/root/scripts/make_persistent.sh"
DISK = """set -e
truncate -s 8M /run/hwdiag.img; mkfs.ext4 -q /run/hwdiag.img; mkdir /run/hwdiag-mount
mount -o loop,nosuid,nodev,noexec,relatime /run/hwdiag.img /run/hwdiag-mount
"""
GONE = "umount /run/hwdiag-mount; rmdir /run/hwdiag-mount; rm /run/hwdiag.img"


def copy_scripts(guest: Guest, known: Known, folder: Path, *knobs: str) -> None:
    guest.run("mkdir -p /root/scripts")
    for name, text in emit(*known, *knobs)[1].items():
        if name.endswith(".sh"):
            copy_script(guest, text, f"/root/scripts/{name}", folder)


def options(guest: Guest) -> str:
    return guest.run("sed -n 's: - .*::; s:.* /run/hwdiag-mount ::p' /proc/self/mountinfo").stdout.split()[0]


@pytest.mark.vm_long
def test_a_remount_keeps_all_flags(guest: Guest, tmp_path: Path, proof: Proof) -> None:
    assert guest.run(DISK).status == 0
    before = state(guest)
    copy_scripts(guest, read_guest(guest, tmp_path), tmp_path, "io.access_times=noatime")
    good, admins = 0, ("", "mount -o remount,ro /run/hwdiag-mount", "mount -o remount,bind,suid /run/hwdiag-mount")
    assert options(guest) == "rw,nosuid,nodev,noexec,relatime"
    for admin in admins:
        applied = guest.run(f"{SYSTEM} apply")
        assert applied.status == 0, applied.stdout + applied.stderr
        assert options(guest) == "rw,nosuid,nodev,noexec,noatime"
        guest.run(admin)
        meant = options(guest)
        undone = guest.run(f"{SYSTEM} undo")
        assert undone.status == 0, undone.stdout
        if admin:
            assert re.search("/run/hwdiag-mount +changed since by somebody, left alone", undone.stdout), undone.stdout
            good += options(guest) == meant
            again = "mount -o remount,rw /run/hwdiag-mount"
            guest.run(f"{again}; mount -o remount,bind,rw,nosuid,nodev,noexec,relatime none /run/hwdiag-mount")
        good += state(guest) == before and not admin
    assert state(guest) ^ before == set()
    guest.run(GONE)
    assert good == len(admins)
    proof.keep("remount", as_before=good, times=len(admins))


@pytest.mark.vm_long
def test_a_changed_choice(guest: Guest, known: Known, tmp_path: Path, proof: Proof) -> None:
    """Status sees it, install takes back what is not chosen any more, and nothing is left at the end."""
    before = state(guest)
    copy_scripts(guest, known, tmp_path, "vm.swappiness=11", "vm.thp=never", "limits.nofile=70000", "cpu.governor")
    done = guest.run(f"{SYSTEM} apply && {SYSTEM} apply && {KEEP} install && {KEEP} status")
    assert done.status == 0, done.stdout + done.stderr
    copy_scripts(guest, known, tmp_path, "vm.swappiness=12")
    seen = guest.run(f"{KEEP} status")
    assert seen.status == 1, seen.stdout
    earlier = len(re.findall("of an earlier choice", seen.stdout))
    done = guest.run(f"{SYSTEM} apply && {KEEP} install && {KEEP} status")
    assert done.status == 0, done.stdout + done.stderr
    guest.run("echo 33 >/proc/sys/vm/swappiness")
    undone = guest.run(f"{KEEP} uninstall && {SYSTEM} undo")  # all of both choices, but for what is set by hand
    assert undone.status == 0, undone.stdout
    assert re.search("/proc/sys/vm/swappiness +changed since by somebody, left alone", undone.stdout)
    left = state(guest) ^ before
    assert {line.partition(":")[0] for line in left} == {"/proc/sys/vm/swappiness"}, left
    guest.run("echo 60 >/proc/sys/vm/swappiness; rm -r /root/scripts")
    assert state(guest) ^ before == set()
    proof.keep("choice", earlier=earlier)


PLACES = ("file|/etc/shadow", "file|/proc/sys/kernel/core_pattern", "file|/proc/sys/vm/../kernel/modprobe",
          "disk|/etc/shadow 1 x", "unit|systemd-udevd.service", "active|systemd-journald.service")  # fmt: skip
FORGED = r"""
mkdir -m 700 /var/lib/hwdiag
boot=$(cat /proc/sys/kernel/random/boot_id)
for place in "${@:1}"; do
  echo "was|$place|evil||no|$boot|2026-11-20T10:00:00Z|."
done >/var/lib/hwdiag/system_optimize.journal
for file in /etc/shadow /etc/passwd /etc/sysctl.d/../fstab; do
  sum=$(sha256sum <$file); echo "file|$file|${sum%% *}|."
done >/var/lib/hwdiag/make_persistent.journal
echo 'unit|systemd-udevd.service|none|.' >>/var/lib/hwdiag/make_persistent.journal
ln -s /etc/shadow /etc/sysctl.d/99-zz-hwdiag.conf.hwdiag-new
"""


@pytest.mark.vm_long
def test_hostile_journals(guest: Guest, known: Known, tmp_path: Path, proof: Proof) -> None:
    copy_scripts(guest, known, tmp_path, "vm.swappiness=12")
    core = "cat /proc/sys/kernel/core_pattern /proc/sys/kernel/modprobe; systemctl is-active systemd-{udevd,journald}"
    before, kept = state(guest), guest.run(core).stdout
    copy_script(guest, f"#!/bin/bash{FORGED}", "/root/forge.sh", tmp_path)
    guest.run(f"/root/forge.sh {' '.join(repr(p) for p in PLACES)}")
    for command, lines in ((f"{SYSTEM} undo", len(PLACES)), (f"{KEEP} uninstall", 4)):
        done = guest.run(command)
        assert done.status == 1
        assert f"{lines} lines of the journal are of something else" in done.stdout, done.stdout + done.stderr
    installed = guest.run(f"{SYSTEM} apply && {KEEP} install")
    assert installed.status == 0, installed.stdout + installed.stderr
    guest.run("rm -r /root/forge.sh; sed -i '/evil/d' /var/lib/hwdiag/system_optimize.journal")
    guest.run("sed -i '/shadow\\|passwd\\|fstab\\|udevd/d' /var/lib/hwdiag/make_persistent.journal")
    done = guest.run(f"{KEEP} uninstall && {SYSTEM} undo")
    assert done.status == 0, done.stdout + done.stderr
    assert (state(guest) ^ before, guest.run(core).stdout) == (set(), kept)
    guest.run("rm -r /root/scripts")
    proof.keep("hostile", lines=len(PLACES) + 4)
