"""What a guest's settings are, all of them: to see that nothing is left different."""

from __future__ import annotations

import json
from pathlib import Path

from hwdiag.audit.audit import audit
from hwdiag.audit.emit import settings_files
from hwdiag.audit.model import Audit
from hwdiag.host.model import Host
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from tests.vm.guest import Guest

LISTED = r"""find /proc/sys/vm /proc/sys/net/core /proc/sys/net/ipv4 /proc/sys/kernel /sys/block/*/queue /sys/block/*/device/queue_depth \
  /sys/kernel/mm/transparent_hugepage /sys/devices/system/cpu /sys/module/zfs/parameters -type f -readable 2>/dev/null |
  grep -Ev '/(random|stat_refresh|usage|time|above|below|rejected|scaling_cur_freq|cpuinfo_cur_freq|total_trans|time_in_state|trans_table|ns_last_pid|inode-nr|file-nr|pty/nr|crash_notes|uevent|modalias|msr|io_timeout|drop_caches|compact_memory|residency|full_scans|pages_collapsed|conf|neigh|route|tcp_metrics|tcp_challenge_ack_limit|hung_task_detect_count|tainted|user_reserve_kbytes)(/|$)'"""  # noqa: E501
"""Prints the files of every setting near those that are changed; not those that the kernel counts up, or works out from
the memory that happens to be free at boot."""

DUMP = rf"""{LISTED} |
  sort | xargs -d '\n' grep -sH '' --
cut -d' ' -f5,6 /proc/self/mountinfo | sed 's/^/mount /'
systemctl is-enabled fstrim.timer; systemctl is-active fstrim.timer
find /etc /usr/local /usr/libexec /lib/udev/rules.d /var/lib/hwdiag -xdev \( -type f -o -type l -o -type d \) -printf '%y %p %m %U %s %l\n' 2>/dev/null |
  grep -Ev '/etc/(mtab|adjtime|\.updated|ld.so.cache)|/var/lib/hwdiag' | sort
find /etc /usr/local /usr/libexec/hwdiag -xdev -type f 2>/dev/null | sort | xargs -d '\n' md5sum
"""  # noqa: E501
"""Every setting near those that are changed, mounts, the timer, and all of /etc and /usr/local, as lines."""

PORTS = r"""
for disk in /sys/block/sd*; do
  echo "${disk##*/} $(udevadm info --query=property --name="/dev/${disk##*/}" | sed -n 's/^ID_PATH=//p')"
done
"""


def state(guest: Guest) -> set[str]:
    """All lines of it, with disks by the port that they are at: sda may be another one after a boot."""
    text = guest.run(DUMP).stdout
    for line in guest.run(PORTS).stdout.splitlines():
        name, _, port = line.partition(" ")
        if port:
            text = text.replace(f"/sys/block/{name}/", f"/sys/block/{port}/")
    return set(text.splitlines())


COLLECT = r"""
import glob, json, os
files = {}
def take(path):
    try:
        with open(path, "rb") as file:
            files[path] = file.read(65536).decode()
    except (OSError, UnicodeDecodeError):
        pass
for path in ("/proc/cpuinfo", "/proc/meminfo", "/proc/version", "/proc/self/mountinfo", "/proc/self/limits",
             "/etc/machine-id", "/proc/net/softnet_stat", "/lib/systemd/system/fstrim.timer"):
    take(path)
for top in ("/proc/sys/vm", "/proc/sys/kernel", "/proc/sys/net/core", "/proc/sys/net/ipv4", "/sys/devices/system/cpu",
            "/sys/devices/system/node", "/sys/kernel/mm", *glob.glob("/sys/block/*/queue")):
    for here, _, names in os.walk(top):
        for name in names:
            if name not in ("stat_refresh", "drop_caches", "compact_memory"):
                take(os.path.join(here, name))
for path in glob.glob("/sys/block/*/size") + glob.glob("/sys/block/*/device/*"):
    if os.path.isfile(path):
        take(path)
for path in glob.glob("/etc/systemd/system/*.wants/*"):
    files[path] = ""
print(json.dumps(files))
"""
"""What the audit reads, by the guest's own Python: importing hwdiag there would take a minute."""


def read_guest(guest: Guest, folder: Path) -> tuple[Root, Host]:
    """The guest as a dump of its files."""
    done = guest.run("python3 -", stdin=COLLECT.encode())
    assert done.status == 0, done.stderr
    for path, text in json.loads(done.stdout).items():
        place = folder / "dump" / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    root = Root.directory(folder / "dump")
    return root, read_host(root)


def emit(root: Root, host: Host, *knobs: str) -> tuple[Audit, dict[str, str]]:
    """The audit with a choice, and the texts of all scripts that follow from it."""
    found = audit(root, host, knobs=knobs)
    return found, {
        f.path.rpartition("/")[2]: f.text for f in settings_files(found, host, made_at="2026-11-20T10:00:00Z")
    }


def copy_script(guest: Guest, text: str, there: str, folder: Path) -> str:
    """Put a script into the guest; gives its path."""
    here = folder / "script"
    here.write_text(text)
    here.chmod(0o755)
    guest.copy_in(here, there)
    return there
