"""The scripts against a real kernel, in a throw-away guest: nothing is left different, and nothing untrue is said."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from hwdiag.advise.audit import Audit
from hwdiag.host.model import Host
from hwdiag.host.root import Root
from tests.emit.guest_state import copy_script, emit, read_guest, state
from tests.vm.guest import Guest

pytestmark = pytest.mark.vm

EVERYTHING = (
    "cpu.governor", "cpu.idle_latency=50", "memory", "vm.thp=always", "vm.thp_defrag=defer",
    "vm.numa_balancing=0", "vm.overcommit_memory=1", "vm.nr_hugepages=4", "vm.zone_reclaim_mode=1",
    "io.scheduler=bfq", "io.nr_requests=100", "io.read_ahead=2048", "io.access_times=strictatime",
    "io.trim_timer=enabled", "network", "net.rmem_max=33554432", "net.wmem_max=33554432",
)  # fmt: skip
"""Every setting that exists in the guest, to another value than it has."""

Known = tuple[Root, Host]


@pytest.fixture(scope="module")
def known(guest: Guest, tmp_path_factory: pytest.TempPathFactory) -> Known:
    guest.run("modprobe acpi-cpufreq; modprobe -a bfq kyber-iosched; rm -rf /var/lib/hwdiag")
    return read_guest(guest, tmp_path_factory.mktemp("snapshot"))


def script(guest: Guest, known: Known, folder: Path, *knobs: str) -> tuple[Audit, str]:
    found, texts = emit(*known, *knobs)
    return found, copy_script(guest, texts["system_optimize.sh"], "/root/system_optimize.sh", folder)


def test_every_setting_there_is_set_read_back_and_taken_back(guest: Guest, known: Known, tmp_path: Path) -> None:
    found, path = script(guest, known, tmp_path, *EVERYTHING)
    chosen = {r.knob for r in found.chosen}
    missing = {w.partition("=")[0] for w in EVERYTHING if "." in w} - chosen
    assert missing == set(), missing
    before = state(guest)
    began = time.monotonic()
    applied = guest.run(f"{path} apply")
    took = time.monotonic() - began
    assert applied.status == 0, applied.stdout + applied.stderr
    assert took < 2, took
    status = guest.run(f"{path} status")
    assert status.status == 0, status.stdout
    places = [line for line in status.stdout.splitlines() if line.endswith("as wanted")]
    assert len(places) >= len(chosen)
    assert len(state(guest) ^ before) > 2 * len(places) / 2
    began = time.monotonic()
    undone = guest.run(f"{path} undo")
    took = time.monotonic() - began
    assert undone.status == 0, undone.stdout
    assert took < 2, took
    assert state(guest) ^ before == set()


def test_what_the_kernel_clamps_or_refuses_is_reported_as_that(guest: Guest, known: Known, tmp_path: Path) -> None:
    before = state(guest)
    _, path = script(guest, known, tmp_path, "io.nr_requests=2", "vm.swappiness")
    applied = guest.run(f"{path} apply")
    assert applied.status == 1
    assert re.search(r"io.nr_requests +\d+ +4 +/sys/block/sd./queue/nr_requests +clamped: asked 2", applied.stdout)
    assert "not all is as wanted" in applied.stdout
    assert guest.run(f"{path} undo").status == 0
    assert state(guest) ^ before == set()  # also the USB disk's 2, which cannot be written
    _, path = script(guest, known, tmp_path, "io.nr_requests=9999", "vm.dirty_bytes=1000000")
    applied = guest.run(f"{path} apply")
    assert applied.status == 1
    assert len(re.findall(r"io.nr_requests .* refused$", applied.stdout, re.MULTILINE)) >= 5
    assert guest.run(f"{path} undo").status == 0
    assert state(guest) ^ before == set()


def test_killed_at_steps_of_apply_and_undone(guest: Guest, known: Known, tmp_path: Path) -> None:
    """At every write to a setting, and at steps between."""
    _, path = script(
        guest, known, tmp_path, "vm.dirty_bytes", "io.scheduler=kyber", "io.nr_requests=100", "vm.thp=always"
    )
    before = state(guest)
    at_writes = "case $BASH_COMMAND in put_file*) ((n++ == {})) && kill -KILL $$ ;; esac"
    for trap in (
        *(at_writes.format(n) for n in range(0, 14, 3)),
        *(f"((n++ == {n})) && kill -KILL $$" for n in (200, 400)),
    ):
        (tmp_path / "env").write_text(f"set -T; n=0; trap '{trap}' DEBUG\n")
        guest.copy_in(tmp_path / "env", "/root/env")
        assert guest.run(f"BASH_ENV=/root/env {path} apply").status == 137, trap
        undone = guest.run(f"{path} undo")
        assert undone.status == 0, undone.stdout
        assert state(guest) ^ before == set(), trap
    guest.run("rm -rf /root/env /var/lib/hwdiag")
