"""A host made of files, in which emitted scripts run as they are: a chroot in a mount namespace of its own.

What a kernel does beyond keeping what was written (clamping, refusing, resetting something else) is for the guest's.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from hwdiag.host.model import Host
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.host.settings import normal
from tests.host.test_host_gpu import FakeNvml
from tests.simulation.nvml import SMI, Nvml

SYSTEM = ("usr", "bin", "sbin", "lib", "lib64")
BASH = os.environ.get("HWDIAG_BASH")
"""Another bash to run the scripts with, such as the oldest that they promise to run on."""
BOOT = "11111111-2222-3333-4444-555555555555"

SCHEDULERS = {"nvme0n1": "[none] mq-deadline", "sda": "none [mq-deadline]"}


def settings_tree(cpus: int = 6, disks: Mapping[str, str] = SCHEDULERS) -> dict[str, str]:
    """Files of a small machine: sysctls, two disks, clocks, idle states, ZFS; values as Linux shows them."""
    files = {
        "/etc/machine-id": "0123456789abcdef0123456789abcdef\n",
        "/proc/sys/kernel/random/boot_id": f"{BOOT}\n",
        "/proc/cpuinfo": "processor : 0\nflags : fpu lm sse2\n\nprocessor : 1\nflags : fpu lm sse2\n\n",
        "/proc/meminfo": "MemTotal: 16777216 kB\nMemAvailable: 12582912 kB\n",
        "/proc/sys/vm/swappiness": "60\n",
        "/proc/sys/vm/vfs_cache_pressure": "100\n",
        "/proc/sys/vm/dirty_bytes": "0\n",
        "/proc/sys/vm/dirty_ratio": "20\n",
        "/proc/sys/vm/dirty_background_bytes": "0\n",
        "/proc/sys/vm/dirty_background_ratio": "10\n",
        "/proc/sys/vm/overcommit_memory": "2\n",
        "/proc/sys/net/core/rmem_max": "212992\n",
        "/proc/sys/net/core/wmem_max": "212992\n",
        "/proc/sys/net/core/netdev_max_backlog": "1000\n",
        "/proc/sys/net/ipv4/tcp_rmem": "4096\t131072\t6291456\n",
        "/proc/sys/net/ipv4/tcp_wmem": "4096\t16384\t4194304\n",
        "/proc/sys/net/ipv4/tcp_slow_start_after_idle": "1\n",
        "/sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never\n",
        "/sys/kernel/mm/transparent_hugepage/defrag": "[always] defer defer+madvise madvise never\n",
        "/sys/module/zfs/parameters/zfs_arc_max": "0\n",
        "/sys/module/zfs/parameters/zfs_prefetch_disable": "1\n",
        "/sys/devices/system/cpu/online": "0-1\n",
        "/sys/devices/system/cpu/cpufreq/boost": "0\n",
        "/sys/devices/system/cpu/intel_pstate/no_turbo": "1\n",
    }
    for disk, scheduler in disks.items():
        files |= {
            f"/sys/block/{disk}/size": "1000215216\n",
            f"/sys/block/{disk}/queue/scheduler": f"{scheduler} kyber bfq\n",
            f"/sys/block/{disk}/queue/nr_requests": "64\n",
            f"/sys/block/{disk}/queue/read_ahead_kb": "128\n",
            f"/sys/block/{disk}/queue/rotational": "0\n",
        }
    for cpu in range(cpus):
        policy = f"/sys/devices/system/cpu/cpufreq/policy{cpu}"
        files |= {
            f"{policy}/scaling_governor": "powersave\n",
            f"{policy}/scaling_available_governors": "performance powersave\n",
            f"{policy}/energy_performance_preference": "balance_performance\n",
        }
        for state, (name, latency) in enumerate((("POLL", 0), ("C1", 2), ("C6", 133))):
            idle = f"/sys/devices/system/cpu/cpu{cpu}/cpuidle/state{state}"
            files |= {f"{idle}/name": f"{name}\n", f"{idle}/latency": f"{latency}\n", f"{idle}/disable": "0\n"}
    return files


class FakeHost:
    """The files of one host, and a way to run a script among them."""

    def __init__(self, folder: Path, files: Mapping[str, str], gpus: Mapping[str, Mapping[str, str]]) -> None:
        self.folder = folder
        for name in ("dev", "tmp", "var/lib", "etc", "local", "libexec", "proc", "sys", "scripts", "gpus"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "dev/null").touch()
        for path, text in files.items():
            self.write(path, text)
        for uuid, fields in gpus.items():
            for field, text in {"lock": "default", "vboost": "default", **fields}.items():
                self.write(f"/gpus/{uuid}/{field}", f"{text}\n")
        shutil.copy2(SMI, folder / "local/nvidia-smi")

    def write(self, path: str, text: str) -> None:
        place = self.folder / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def read(self, path: str) -> str:
        return (self.folder / path.lstrip("/")).read_text().strip()

    def host(self, nvml: FakeNvml | Nvml | None = None) -> Host:
        return read_host(Root.directory(self.folder), nvml=nvml)

    def everything(self) -> dict[str, str]:
        """Every file that is the host's own, with its content; a choice by its chosen word, as the kernel means it."""
        found = {}
        for here, _, names in os.walk(self.folder):
            if here.startswith((f"{self.folder}/scripts", f"{self.folder}/usr")):
                continue
            for name in names:
                path = Path(here, name)
                if path.is_symlink() or not path.is_file():
                    continue
                text = path.read_text(errors="surrogateescape")
                if "/queue/" in str(path) or "/kernel/mm/" in str(path):
                    text = normal(text)
                found[f"/{path.relative_to(self.folder)}"] = " ".join(text.split())
        return {p: t for p, t in found.items() if p not in ("/gpus/calls", "/gpus/count")}

    def run(
        self, name: str, text: str, *args: str, before: str = "", bash_env: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run a script in there. ``before``: shell commands outside of the chroot, to mount something over a file;
        ``bash_env``: what bash reads before the script."""
        (self.folder / "scripts" / name).write_text(text)
        (self.folder / "scripts" / name).chmod(0o755)
        (self.folder / "scripts" / "env").write_text(bash_env)
        steps = [f"cd {self.folder}"]
        for part in SYSTEM:
            if Path(f"/{part}").is_symlink():
                steps.append(f"ln -sfn {Path(f'/{part}').readlink()} {part}")
            elif Path(f"/{part}").is_dir():
                steps.append(f"mkdir -p {part}; mount --rbind /{part} {part}; mount -o remount,bind,ro {part}")
        steps += [
            *([f"mount --bind {BASH} usr/bin/bash"] if BASH else []),
            "mount --bind local usr/local/bin",
            "mount --bind libexec usr/libexec",
            "mount --bind /dev/null dev/null",
            before,
            'exec chroot . /usr/bin/env ${BASH_FILE:+BASH_ENV="$BASH_FILE"} /bin/bash "$@"',
        ]
        unshare = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
        return subprocess.run(
            [*unshare, "sh", "-c", "\n".join(["set -e", *steps]), "sh", f"/scripts/{name}", *args],
            capture_output=True,
            text=True,
            errors="surrogateescape",
            env={"PATH": os.environ["PATH"], "BASH_FILE": "/scripts/env" if bash_env else ""},
            timeout=300,
        )


@contextlib.contextmanager
def memory_folder() -> Iterator[Path]:
    """A folder in memory where there is one: scripts sync what they write, and other programs keep disks busy."""
    shm = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shm if os.access(shm, os.W_OK) else None) as name:
        yield Path(name)


def require_namespaces() -> None:
    """Skip, and say so, where no mount namespace can be made."""
    options = ["--mount"] if os.geteuid() == 0 else ["--mount", "--map-root-user"]
    command = ["unshare", *options, "mount", "--bind", "/dev/null", "/dev/null"]
    if shutil.which("unshare") is None or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("this machine allows no mount namespace to run scripts in")
