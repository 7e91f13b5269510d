"""The playbooks over ssh, against this machine with files of another one mounted over its own, and a guest."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hwdiag.audit.audit import audit
from hwdiag.audit.emit import settings_files
from hwdiag.compare.fleet.steps import load as load_fleet
from hwdiag.compare.fleet.steps import read_fleet
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.record import store
from hwdiag.record.tuning import tuning
from hwdiag.record.verification import VerdictCause, Verification, load_verification
from tests.audit.fake_host import memory_folder, require_namespaces
from tests.audit.guest_state import emit, read_guest, state
from tests.audit.proof import Proof, proof
from tests.vm.fixtures import StartGuest
from tests.vm.guest import Machine
from tests.vm.image import SSHD as SSHD_PACKAGES
from tests.vm.image import NoGuestError, kept

__all__ = ["proof"]

PLAYBOOKS = Path(__file__).parents[2] / "hwdiag" / "audit" / "templates" / "ansible"
ROOT = Path(__file__).parents[2]
OVER = {
    "/proc/sys/vm/swappiness": "60\n",
    "/proc/sys/vm/vfs_cache_pressure": "100\n",
    "/etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    "/etc/passwd": Path("/etc/passwd").read_text() + "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n",
}
"""Files of this machine that others are mounted over, in a namespace of its own."""
FOLDERS = ("/var/lib/hwdiag", "/etc/sysctl.d")
HOST_NAME = "{{ lookup('pipe', 'touch /pwned') }}$(touch /pwned)'"
"""Of the host that the scripts are for: text that neither Ansible nor a shell may run."""
SSHD = """
Port 2222
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/key.pub
PidFile none
UsePAM no
StrictModes no
Subsystem sftp internal-sftp
"""
SSH = "-F none -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR"


def ansible(name: str) -> str:
    """The program beside this Python, or on the path."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def sshd() -> tuple[str, dict[str, str]]:
    """An SSH server's program, the installed one or one unpacked for this, and the environment that it needs."""
    found = shutil.which("sshd", path="/usr/local/sbin:/usr/sbin:/sbin")
    if found is not None:
        return found, {}
    try:
        folder = kept(SSHD_PACKAGES)
    except NoGuestError as error:
        pytest.skip(str(error))
    return f"{folder}/usr/sbin/sshd", {"LD_LIBRARY_PATH": str(next(folder.glob("usr/lib/*-linux-gnu")))}


def over_ssh(folder: Path) -> dict[str, str]:
    """One connection for all tasks, which ends with the server."""
    return {
        "ANSIBLE_SSH_ARGS": f"{SSH} -o ControlMaster=auto -o ControlPersist=yes -o ControlPath={folder}/mux",
        "ANSIBLE_PIPELINING": "true",
    }


@pytest.fixture
def played(tmp_path: Path) -> Iterator[Played]:
    require_namespaces()
    if os.geteuid() != 0:
        pytest.skip("an SSH server that logs root in needs root")
    with memory_folder() as folder:
        yield Played(folder, tmp_path)


class Played:
    """Emitted files, and a way to play a book over ssh: a server on the loopback of a network namespace of its own, in
    a mount namespace where a few files are stand-ins."""

    def __init__(self, folder: Path, tmp: Path) -> None:
        self.folder, self.tmp = folder, tmp
        for path, text in OVER.items():
            self.place(path).parent.mkdir(parents=True, exist_ok=True)
            self.place(path).write_text(text)
        for path in FOLDERS:
            self.place(path).mkdir(parents=True, exist_ok=True)
        self.place("/proc/sys/kernel/random").mkdir(parents=True)
        for key in ("host_key", "key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp / key], check=True)
        (tmp / "sshd_config").write_text(SSHD.format(folder=tmp))
        root = Root.directory(folder)
        host = read_host(root)
        system = host.system.model_copy(update={"arch": os.uname().machine, "hostname": HOST_NAME})
        host = host.model_copy(update={"system": system})
        found = audit(root, host, knobs=("vm.swappiness", "vm.vfs_cache_pressure"))
        for file in settings_files(found, host, made_at="2026-11-20T10:00:00Z"):
            target = tmp / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(file.text)

    def place(self, path: str) -> Path:
        return self.folder / path.lstrip("/")

    def play(self, book: str, *args: str) -> tuple[int, dict[str, int], str]:
        """Exit status, the recap of the host, and the output."""
        server, needed = sshd()
        mounts = [f"mount --bind {self.place(p)} {p}" for p in OVER]
        mounts += [f"mkdir -p {p}; mount --bind {self.place(p)} {p}" for p in FOLDERS]
        start = f"env {' '.join(f'{k}={v}' for k, v in needed.items())} {server} -D -e -f {self.tmp}/sshd_config"
        steps = [
            "set -e",
            "ip link set lo up",
            *mounts,
            "mount -t tmpfs none /run; mkdir -m 755 -p /run/sshd /run/systemd/system",  # no container, whatever this is
            f"{start} 2>{self.tmp}/sshd.log & server=$!",
            f"login='ssh {SSH} -i {self.tmp}/key -p 2222 root@127.0.0.1 true'",
            "for i in 1 2 3 4 5 6 7 8 9; do $login && break; sleep 1; done",
            'status=0; "$@" || status=$?',
            f"ssh -F none -o ControlPath={self.tmp}/mux -O exit root@127.0.0.1 2>/dev/null || true",
            "sleep 0.2; kill $server; exit $status",
        ]
        target = {
            "ansible_connection": "ssh",
            "ansible_host": "127.0.0.1",
            "ansible_port": "2222",
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(self.tmp / "key"),
            "ansible_python_interpreter": sys.executable,
        }
        command = [ansible("ansible-playbook"), "-i", "inventory.yml", book, *args]
        command += [word for name, value in target.items() for word in ("-e", f"{name}={value}")]
        done = subprocess.run(
            ["unshare", "--mount", "--net", "sh", "-c", "\n".join(steps), "sh", *command],
            cwd=self.tmp / "scripts" / "ansible",
            env={
                **os.environ,
                "ANSIBLE_LOCAL_TEMP": str(self.tmp / "local"),
                "ANSIBLE_REMOTE_TEMP": str(self.tmp / "remote"),
                **over_ssh(self.tmp),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=550,
        )
        assert not Path("/pwned").exists()
        return done.returncode, recap(done.stdout), done.stdout + done.stderr

    def values(self) -> tuple[str, str]:
        return tuple(self.place(p).read_text().strip() for p in list(OVER)[:2])  # type: ignore[return-value]


@pytest.mark.long
def test_apply_check_second_run_status_and_undo(played: Played) -> None:
    book = "complete_optimize.yml"
    status, stats, said = played.play(book, "--check")
    assert status == 0, said
    assert stats["changed"] > 0
    assert played.values() == ("60", "100")
    assert not list(played.place("/etc/sysctl.d").iterdir())
    status, stats, said = played.play(book)
    assert status == 0, said
    assert played.values() == ("10", "50")
    assert (played.place("/etc/sysctl.d") / "99-zz-hwdiag.conf").exists()
    status, stats, said = played.play(book)
    assert (status, stats["changed"]) == (0, 0), said
    played.place("/proc/sys/vm/swappiness").write_text("33\n")
    assert played.play(book, "-e", "optimization_action=status")[0] != 0
    status, stats, said = played.play("apply_non_persistent.yml")
    assert (status, played.values()) == (0, ("10", "50")), said
    status, stats, said = played.play(book, "-e", "optimization_action=undo", "--check")
    assert (status, stats["changed"], played.values()) == (0, 3, ("10", "50")), said  # files, settings, scripts
    status, stats, said = played.play(book, "-e", "optimization_action=undo")
    assert (status, stats["changed"], played.values()) == (0, 3, ("60", "100")), said
    assert not list(played.place("/etc/sysctl.d").iterdir())
    for check in ((), ("--check",)):
        status, stats, said = played.play(book, "-e", "optimization_action=undo", *check)
        assert (status, stats["changed"]) == (0, 0), said
    status, _, said = played.play(book, "-e", "optimization_action=aply")
    assert status != 0
    assert "optimization_action is apply, status or undo, not aply" in said


@pytest.mark.long
def test_a_fleet_is_diagnosed(played: Played) -> None:
    """hwdiag as it is installed on the host, in a folder of its own; its record and report come back."""
    there = played.tmp / "there"
    shutil.copytree(ROOT / "params", there / "params")
    hwdiag = played.tmp / "hwdiag"
    hwdiag.write_text(
        f'#!/bin/sh\nPYTHONPATH={ROOT} HWDIAG_HOME={there} exec {sys.executable} -m hwdiag "$@" --set minutes=0.3\n'
    )
    hwdiag.chmod(0o755)
    where = ["-e", f"hwdiag_command={hwdiag}", "-e", f"hwdiag_home={there}"]
    status, stats, said = played.play("diagnose.yml", "--check", *where)
    assert (status, stats["changed"]) == (0, 0), said
    assert not (there / "outputs").exists()
    status, stats, said = played.play("diagnose.yml", "-e", "hwdiag_budget=quick", *where)
    assert status == 0, said
    fetched = played.tmp / "scripts" / "ansible" / "fetched" / "this-host"
    assert sorted(p.name for p in fetched.iterdir()) == ["record.json", "report.html"]
    record = store.load(fetched / "record.json")
    assert record.complete
    assert tuning(record).measurements
    assert record.verdict in said.replace("\\", "")


HOSTS = 200
FAKE = """#!/bin/sh
# Stands for hwdiag on a host: what it says lies in the host's folder.
case $(basename "$PWD") in
    *-hangs) exec sleep 60 ;;
    *-broken) echo 'Traceback (most recent call last):'; exit 1 ;;
    *-old) echo 'hwdiag: needs Python 3.10' >&2; exit 127 ;;
esac
cat answer.json
exit "$(cat status)"
"""


@pytest.mark.long
def test_a_fleet_is_verified_and_hosts_that_fail_do_not_stop_the_others(tmp_path: Path) -> None:
    """Of 200 hosts over local connections some hang, are broken, have no hwdiag or are critical; one runs hwdiag."""
    books = tmp_path / "ansible"
    shutil.copytree(PLAYBOOKS, books)
    fake = tmp_path / "fake"
    fake.write_text(FAKE)
    fake.chmod(0o755)
    real = tmp_path / "hwdiag"
    real.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m hwdiag "$@"\n')
    real.chmod(0o755)
    ends = {3: "-hangs", 5: "-broken", 7: "-old", 11: "-broken", 13: "-missing"}
    names = [f"n{i:03}{ends.get(i, '')}" for i in range(HOSTS)]
    critical = {names[20], names[21]}
    for name in names:
        (tmp_path / name).mkdir()
        told = Verification(
            status="CRITICAL" if name in critical else "PASS", host=name, hostname=name, seconds=1.0, version="0.1.0",
            started_at="2026-12-01T00:00:00Z",
            causes=(VerdictCause(id="gpu", status="CRITICAL", title="a GPU is gone", remedy="look"),)
            if name in critical
            else (),
        )  # fmt: skip
        (tmp_path / name / "answer.json").write_text(told.model_dump_json())
        (tmp_path / name / "status").write_text(str(told.exit_status))
    hosts = {name: {"hwdiag_home": str(tmp_path / name), "hwdiag_command": str(fake)} for name in names}
    hosts[names[13]]["hwdiag_command"] = "/nonexistent/hwdiag"
    hosts[names[30]] |= {"hwdiag_command": str(real), "hwdiag_verify_options": ["--facts-only"]}
    shared = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (tmp_path / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": shared}}))
    done = subprocess.run(
        [ansible("ansible-playbook"), "-i", str(tmp_path / "inventory.json"), "verify.yml", "-f", "8",
         "-e", "hwdiag_timeout=20"],
        cwd=books, env={**os.environ, "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"), "ANSIBLE_PIPELINING": "true"},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    assert done.returncode == 2, done.stdout[-3000:] + done.stderr
    failed = {m[1] for m in re.finditer(r"^(\S+) +: ok=.* failed=1 ", done.stdout, re.MULTILINE)}
    assert failed == critical | {names[i] for i in ends}
    fetched = {p.parent.name: load_verification(p) for p in (books / "fetched").glob("*/verification.json")}
    assert set(fetched) == set(names) - {names[i] for i in ends}
    assert fetched[names[30]].status == "UNKNOWN"  # there is no record of it
    assert "a GPU is gone" in done.stdout
    found = read_fleet(load_fleet({"records": [str(books / "fetched")]}), keep=tmp_path / "index.parquet")
    assert {h.name for h in found.hosts if h.severity == "problem"} == critical
    assert len(found.hosts) == HOSTS - len(ends)


NETWORK = """[Unit]
After=systemd-udev-trigger.service
[Service]
Type=oneshot
ExecStartPre=udevadm settle
Restart=on-failure
RestartSec=1
WorkingDirectory=/sys/class/net
ExecStart=/bin/bash -c 'for n in e*; do ip link set $$n up; ip addr replace 10.0.2.15/24 dev $$n; done'
[Install]
WantedBy=multi-user.target
"""
IN_GUEST = ("vm.swappiness=33", "vm.thp=always", "cpu.governor", "io.scheduler=bfq", "io.access_times=strictatime")
"""Kept by sysctl.d, tmpfiles.d, units and a udev rule."""


@pytest.mark.vm_long
def test_in_a_guest_that_it_reboots(start_guest: StartGuest, tmp_path: Path, proof: Proof) -> None:
    """do_reboot=true: set, kept, rebooted, verified; then again, and taken back."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    guest = start_guest(Machine(disks=("sata",), kernel="modules_load=acpi-cpufreq,bfq", ssh_port=port))
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key"], check=True)
    (tmp_path / "network").write_text(NETWORK)
    guest.run("mkdir -p -m 700 /root/.ssh")
    guest.copy_in(tmp_path / "key.pub", "/root/.ssh/authorized_keys")
    guest.copy_in(tmp_path / "network", "/etc/systemd/system/network.service")
    started = guest.run("systemctl enable --now network.service ssh.service")
    assert started.status == 0, started.stderr
    root, host = read_guest(guest, tmp_path)
    _, texts = emit(root, host, *IN_GUEST)
    for name, text in texts.items():
        (tmp_path / "scripts" / "ansible").mkdir(parents=True, exist_ok=True)
        (tmp_path / "scripts" / ("ansible" if name.endswith(".yml") else "") / name).write_text(text)
    target = {
        "ansible_connection": "ssh",
        "ansible_host": "127.0.0.1",
        "ansible_port": str(port),
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(tmp_path / "key"),
        "ansible_python_interpreter": "/usr/bin/python3",
    }

    def play(*args: str) -> dict[str, int]:
        words = [word for name, value in target.items() for word in ("-e", f"{name}={value}")]
        done = subprocess.run(
            [ansible("ansible-playbook"), "-i", "inventory.yml", "complete_optimize.yml", *args, *words],
            cwd=tmp_path / "scripts" / "ansible",
            env={
                **os.environ,
                "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
                "ANSIBLE_TIMEOUT": "60",
                **over_ssh(tmp_path),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return recap(done.stdout)

    before = state(guest)
    play("--check")
    assert state(guest) ^ before == set()
    follower = threading.Thread(target=guest.follow)
    follower.start()
    play("-e", "do_reboot=true")
    follower.join()
    assert guest.run("cat /proc/sys/vm/swappiness").stdout == "33\n"
    again = play()
    assert again["changed"] == 0
    play("-e", "optimization_action=undo")
    guest.reboot()
    assert state(guest) ^ before == set()
    proof.keep("ansible", changed_again=again["changed"])


def recap(said: str) -> dict[str, int]:
    """The figures of the one host."""
    match = re.search(r"^this-host +: (.*)$", said, re.MULTILINE)
    return {name: int(n) for name, n in re.findall(r"(\w+)=(\d+)", match[1] if match else "")}


def test_they_pass_ansible_lint(tmp_path: Path) -> None:
    shutil.copytree(PLAYBOOKS, tmp_path / "ansible")
    lint = ansible("ansible-lint")
    books = sorted(str(p) for p in (tmp_path / "ansible").glob("*.yml"))
    path = f"{Path(lint).parent}:{os.environ['PATH']}"  # it calls ansible
    done = subprocess.run(
        [lint, "--offline", "--strict", "--profile", "production", "-q", *books],
        cwd=tmp_path,
        env={**os.environ, "ANSIBLE_HOME": str(tmp_path / "home"), "PATH": path},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
