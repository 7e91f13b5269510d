"""The scripts against a real kernel, in a throw-away guest: nothing is left different, and nothing untrue is said."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from hwdiag.audit.knobs import BY_ID
from hwdiag.audit.model import Audit
from hwdiag.host.model import Host
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from tests.audit.guest_state import LISTED, copy_script, emit, read_guest, state
from tests.audit.proof import SLICES, Proof, proof
from tests.host.test_host_gpu import GB10, FakeNvml
from tests.vm.fixtures import StartGuest
from tests.vm.guest import Guest, Machine

EVERYTHING = (
    "cpu.governor", "cpu.idle_latency=50", "memory", "vm.thp=never", "vm.thp_defrag=defer",
    "vm.vfs_cache_pressure=50", "vm.numa_balancing=0", "vm.overcommit_memory=1", "vm.nr_hugepages=4",
    "vm.zone_reclaim_mode=1", "io.scheduler=bfq", "io.nr_requests=100", "io.read_ahead=2048",
    "io.access_times=strictatime", "io.trim_timer=disabled", "network", "net.rmem_max=33554432",
    "net.wmem_max=33554432",
)  # fmt: skip
"""Every setting that exists in the guest, to another value than it has."""
ONLY_KEPT = ("limits.nofile=70000", "limits.memlock=16384", "gpu.persistence", "gpu.clock_lock=2000,2400")
"""What acts on later logins only, and on a GPU, which the guest has a stand-in for."""

__all__ = ["proof"]

Known = tuple[Root, Host]


@pytest.fixture(scope="module")
def known(guest: Guest, tmp_path_factory: pytest.TempPathFactory) -> Known:
    guest.run("modprobe acpi-cpufreq; modprobe -a bfq kyber-iosched; rm -rf /var/lib/hwdiag")
    return read_guest(guest, tmp_path_factory.mktemp("snapshot"))


def script(guest: Guest, known: Known, folder: Path, *knobs: str) -> tuple[Audit, str]:
    found, texts = emit(*known, *knobs)
    return found, copy_script(guest, texts["system_optimize.sh"], "/root/system_optimize.sh", folder)


@pytest.mark.vm
def test_every_setting_there_is_set_read_back_and_taken_back(guest: Guest, known: Known, tmp_path: Path) -> None:
    found, path = script(guest, known, tmp_path, *EVERYTHING)
    chosen = {r.knob for r in found.chosen}
    missing = {w.partition("=")[0] for w in EVERYTHING if "." in w} - chosen
    assert missing == set(), missing
    assert [r for r in found.chosen if r.now == r.wanted] == []
    before = state(guest)
    applied = guest.run(f"{path} apply")
    assert applied.status == 0, applied.stdout + applied.stderr
    status = guest.run(f"{path} status")
    assert status.status == 0, status.stdout
    places = [line for line in status.stdout.splitlines() if line.endswith("as wanted")]
    assert len(places) >= len(chosen)
    assert len(state(guest) ^ before) > len(places)
    undone = guest.run(f"{path} undo")
    assert undone.status == 0, undone.stdout
    assert state(guest) ^ before == set()


@pytest.mark.vm_long
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


@pytest.mark.vm_long
def test_killed_at_steps_of_apply_and_undone(guest: Guest, known: Known, tmp_path: Path) -> None:
    """At some writes to a setting, and at a step between. The whole proof kills at each write."""
    _, path = script(
        guest, known, tmp_path, "vm.dirty_bytes", "io.scheduler=kyber", "io.nr_requests=100", "vm.thp=never"
    )
    before = state(guest)
    at_writes = 'case $BASH_COMMAND in "put "*) ((n++ == {})) && kill -KILL $$ ;; esac'
    for trap in (at_writes.format(0), at_writes.format(8), "((n++ == 300)) && kill -KILL $$"):
        (tmp_path / "env").write_text(f"set -T; n=0; trap '{trap}' DEBUG\n")
        guest.copy_in(tmp_path / "env", "/root/env")
        assert guest.run(f"BASH_ENV=/root/env {path} apply").status == 137, trap
        undone = guest.run(f"{path} undo")
        assert undone.status == 0, undone.stdout
        assert state(guest) ^ before == set(), trap
    guest.run("rm -rf /root/env /var/lib/hwdiag")


# --- the whole proof, in parts of a few minutes that keep their results: make test-vm ---------------------------------

MODULES = "modules_load=acpi-cpufreq,bfq,kyber-iosched"
"""On the kernel's command line: what an installed distribution would load at boot."""


COMPARE = rf"""#!/bin/bash
# settings: all of them, from a list that is made once
{LISTED} | sort >/run/list
settings() {{
  xargs -d '\n' grep -sH '' -- </run/list
  cut -d' ' -f5,6 /proc/self/mountinfo
  systemctl is-enabled fstrim.timer; systemctl is-active fstrim.timer
}}
before=$(settings)
"""

EACH = r"""
# each.sh SCRIPT SETTING[,SETTING]...: sets, checks and takes back each; prints the three exit statuses and whether all
# settings are as before (0)
for only in "${@:2}"; do
  "$1" apply --only "$only" >/run/said; ends=$?
  "$1" status --only "$only" >/run/said; ends+=" $?"
  "$1" undo >/run/said; ends+=" $?"
  [ "$(settings)" = "$before" ]; echo "${only##*,} $ends $?"
done
rm -f /run/said /run/list "$0"
"""


@pytest.mark.vm_long
def test_each_setting_by_itself(guest: Guest, known: Known, tmp_path: Path, proof: Proof) -> None:
    """Set, read back, taken back, one after the other; all of /etc is compared at the end."""
    found, path = script(guest, known, tmp_path, *EVERYTHING)
    before = state(guest)
    copy_script(guest, COMPARE + EACH, "/root/each.sh", tmp_path)
    chosen = list(dict.fromkeys(r.knob for r in found.chosen))
    only = [",".join(k for k in chosen if k in (knob, *BY_ID[knob].after)) for knob in chosen]  # a queue's scheduler
    done = guest.run(f"/root/each.sh {path} {' '.join(only)}", limit_s=840)
    ends = {knob: [int(n) for n in rest] for knob, *rest in map(str.split, done.stdout.splitlines())}
    assert list(ends) == chosen
    assert {knob: end for knob, end in ends.items() if any(end)} == {}
    assert state(guest) ^ before == set()
    rows = {knob: (end[:2] == [0, 0], end[2:] == [0, 0]) for knob, end in ends.items()}
    proof.keep("alone", rows=rows, guest=described(known[1]))


def described(host: Host) -> str:
    return (
        f"Linux {host.system.kernel}, {len(host.cpu.online)} CPUs on {len(host.numa)} NUMA nodes, disks "
        f"{', '.join(d.name for d in host.disks)}"
    )


KILL = r"""
# kill.sh SCRIPT VERB FIRST STEP: kills SCRIPT VERB before its write FIRST, FIRST + STEP ... until it gets through, and
# undoes that each time.
# The kill is one command at the head of the function that all writes go through; the rest is as emitted.
sed 's/^put() { /&((${HITS:=0} == ${KILL_AT:--1})) \&\& kill -KILL $$; HITS=$((HITS + 1)); /' "$1" >/run/killed.sh
cmp -s "$1" /run/killed.sh && exit
good=0 kills=0
for ((n = $3; n < 500; n += $4)); do
  if [ "$2" = undo ]; then "$1" apply >/run/said || exit; fi
  KILL_AT=$n bash /run/killed.sh "$2" >/run/said 2>&1
  end=$?
  "$1" undo >/run/said 2>&1 || { echo "after kill $n undo said:"; cat /run/said; }
  after=$(settings)
  if [ "$end" != 137 ]; then break; fi
  kills=$((kills + 1))
  if [ "$after" = "$before" ]; then good=$((good + 1)); continue; fi
  echo "kill $n:"
  diff <(echo "$before") <(echo "$after")
done 2>/dev/null
echo "$good of $kills, then $end"
rm -f /run/killed.sh /run/said /run/list "$0"
"""


@pytest.mark.vm_long
@pytest.mark.parametrize("first", range(SLICES))
@pytest.mark.parametrize("verb", ["apply", "undo"])
def test_killed_at_every_write(guest: Guest, known: Known, tmp_path: Path, proof: Proof, verb: str, first: int) -> None:
    """In one go in the guest, which compares its settings after each; all else is compared at the end."""
    _, path = script(guest, known, tmp_path, *EVERYTHING)
    before = state(guest)
    copy_script(guest, COMPARE + KILL, "/root/kill.sh", tmp_path)
    done = guest.run(f"/root/kill.sh {path} {verb} {first} {SLICES}", limit_s=840)
    match = re.search(r"^(\d+) of (\d+), then 0$", done.stdout, re.MULTILINE)
    assert match, done.stdout[-3000:] + done.stderr[-1000:]
    good, times = int(match[1]), int(match[2])
    assert (good, times > 30 // SLICES) == (times, True), done.stdout[-3000:]
    assert state(guest) ^ before == set()
    proof.keep(f"killed_{verb}_{first}", as_before=good, times=times)


COUNT = """
began=$EPOCHREALTIME; for ((n = 0; n < 30000; n++)); do :; done; end=$EPOCHREALTIME; echo $((${end/./} - ${began/./}))
"""
"""A loop of bash, which prints the microseconds that it took."""


@pytest.mark.vm_long
def test_how_long_apply_and_undo_take(guest: Guest, known: Known, tmp_path: Path, proof: Proof) -> None:
    """The best of five, by the guest's own clock, beside the same loop of bash in the guest and here."""
    found, path = script(guest, known, tmp_path, *EVERYTHING)
    timed = (
        f"for i in 1 2 3 4 5; do for verb in apply undo; do began=$EPOCHREALTIME; {path} $verb >/dev/null || exit; "
        'end=$EPOCHREALTIME; echo "$verb $((${end/./} - ${began/./}))"; done; done'
    )
    done = guest.run(timed)
    assert done.status == 0, done.stdout + done.stderr
    took = [line.split() for line in done.stdout.splitlines()]
    best = {verb: min(int(us) for v, us in took if v == verb) / 1e6 for verb in ("apply", "undo")}
    there = min(int(guest.run(COUNT).stdout) for _ in range(5))
    here = min(int(subprocess.check_output(["bash", "-c", COUNT])) for _ in range(5))
    proof.keep(
        "times",
        **{verb: f"{seconds:.2f}" for verb, seconds in best.items()},
        slower=f"{there / here:.0f}",
        runs=len(took) // 2,
        settings=len({r.knob for r in found.chosen}),
        places=sum(len(r.where) for r in found.chosen),
    )
    assert max(best.values()) < 2 * there / here, took  # the limit is about a host, not about an emulated CPU


@pytest.fixture(scope="module")
def own(start_guest: StartGuest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Guest, set[str], Known]:
    """A guest to boot again and pull the plug of, how it is after a boot, and its facts."""
    guest = start_guest(Machine(kernel=MODULES))
    known = read_guest(guest, tmp_path_factory.mktemp("snapshot"))
    guest.run("mkdir -p /root/scripts")
    return guest, state(guest), known


def copy_scripts(guest: Guest, known: Known, folder: Path, *knobs: str) -> Audit:
    found, texts = emit(*known, *knobs)
    for name, text in texts.items():
        if name.endswith(".sh"):
            copy_script(guest, text, f"/root/scripts/{name}", folder)
    guest.run("sync")
    return found


NVIDIA_SMI = """#!/bin/bash
# Stands in for nvidia-smi and a driver that forgets at a reboot.
mkdir -p /run/gpu
echo "$*" >>/run/gpu/calls
case $* in
  *' -pm '*) echo Enabled >/run/gpu/persistence_mode ;;
  *--query-gpu=persistence_mode*) cat /run/gpu/persistence_mode 2>/dev/null || echo Disabled ;;
esac
"""


@pytest.mark.vm_long
def test_installed_over_a_reboot_and_back(own: tuple[Guest, set[str], Known], tmp_path: Path, proof: Proof) -> None:
    guest, before, (root, _) = own
    spark = read_host(root, nvml=FakeNvml([{**GB10, "nvmlDeviceGetPersistenceMode": 0}]))
    found = copy_scripts(guest, (root, spark), tmp_path, *EVERYTHING, *ONLY_KEPT)
    copy_script(guest, NVIDIA_SMI, "/usr/local/bin/nvidia-smi", tmp_path)
    # A unit that is enabled stays so: apply is all that it takes, and undo takes it back.
    installed = guest.run(
        "/root/scripts/system_optimize.sh apply --only io.trim_timer && /root/scripts/make_persistent.sh install"
    )
    assert installed.status == 0, installed.stdout + installed.stderr
    guest.reboot()
    guest.run("systemctl is-system-running --wait")
    status = guest.run("/root/scripts/system_optimize.sh status; /root/scripts/gpu_optimize.sh status").stdout
    kept_status = guest.run("/root/scripts/make_persistent.sh status")
    assert kept_status.status == 0, kept_status.stdout
    kept = {}
    for knob in dict.fromkeys(r.knob for r in found.chosen):
        lines = [line for line in status.splitlines() if line.startswith(f"{knob} ")]
        kept[knob] = bool(lines) and all(line.endswith("as wanted") for line in lines)
    logged_in = guest.run("su -c 'ulimit -Sn; ulimit -l'").stdout.split()
    kept["limits.nofile"], kept["limits.memlock"] = (logged_in == ["70000", "16384"],) * 2
    asked = "grep -c 'lgc 2000,2400' /run/gpu/calls"
    again = "touch /dev/nvidiactl; systemctl start hwdiag-gpu-again.service; rm /dev/nvidiactl"
    told = guest.run(f"{asked}; systemctl is-active hwdiag-gpu-again.timer; {again}; {asked}").stdout.split()
    kept["gpu.clock_lock"] = told == ["1", "active", "2"]  # at boot, and once more by what the timer starts
    assert [knob for knob, fine in kept.items() if not fine] == [], status + str((logged_in, told))
    gone = guest.run("/root/scripts/make_persistent.sh uninstall && /root/scripts/system_optimize.sh undo")
    assert gone.status == 0, gone.stdout
    guest.run("rm /usr/local/bin/nvidia-smi")
    guest.reboot()
    assert state(guest) ^ before == set()
    proof.keep("reboot", rows={knob: (fine, True) for knob, fine in kept.items()})


@pytest.mark.vm_long
def test_power_cuts(own: tuple[Guest, set[str], Known], tmp_path: Path, proof: Proof) -> None:
    """Between journal and write, and in the middle of install: after the boot, all is as before."""
    guest, before, known = own
    copy_scripts(guest, known, tmp_path, "vm.swappiness", "vm.dirty_bytes", "io.scheduler=kyber", "cpu.governor")
    stop = "set -T; n=0; trap 'case $BASH_COMMAND in {} ((n++ == {})) && kill -STOP $$ ;; esac' DEBUG"
    cuts = (
        ("system_optimize.sh apply", '"put "*)', 0),
        ("system_optimize.sh apply", '"put "*)', 4),
        ("make_persistent.sh install", "mv*)", 1),
    )
    for command, pattern, times in cuts:
        (tmp_path / "env").write_text(stop.format(pattern, times))
        guest.copy_in(tmp_path / "env", "/run/env")
        guest.run(f"BASH_ENV=/run/env setsid /root/scripts/{command} >/dev/null 2>&1 & "
                  "until grep -q 'State:.T' /proc/$!/status; do sleep 0.1; done")  # fmt: skip
        guest.kill()
        guest.start()
        assert guest.run("/root/scripts/make_persistent.sh uninstall").status == 0
        undone = guest.run("/root/scripts/system_optimize.sh undo")
        assert undone.status == 0
        if command.endswith("apply"):
            assert "gone by themselves: this host was started again" in undone.stdout
        else:
            guest.reboot()  # a file that was installed acted at the boot
        assert state(guest) ^ before == set(), (command, times)
    proof.keep("power", as_before=len(cuts), times=len(cuts))
