"""A throw-away virtual machine: other CPUs, NUMA nodes, disks and a kernel whose settings may be changed.

    with Guest(Machine(cpu="Haswell"), folder, image()) as guest:
        assert "2 nodes" in guest.run("numactl --hardware").stdout
        guest.copy_in(script, "/root/apply.sh")
        guest.reboot()

Emulated in software, so that it is the same everywhere and its CPU really lacks what its model lacks: about 25 s to
boot on two cores, 0.1 s for a command. It has no network, but where a port for ssh is asked for.
"""

from __future__ import annotations

import base64
import itertools
import json
import shlex
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.vm.acpi import power_table

BOOT_LIMIT_S = 600.0  # half a minute where nothing else runs
AGENT_LIMIT_S = 60.0  # for one answer of the agent, which answers at once unless the guest is overloaded
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
}
DISK_BYTES = 64 << 20

DISKS = {
    "nvme": "nvme,serial=nvme-of-the-guest,drive={name}",
    "virtio": "virtio-blk-pci,queue-size=64,drive={name}",
    "scsi": "scsi-hd,bus=scsi.0,drive={name}",
    "sata": "ide-hd,bus=ide.1,drive={name}",
    "usb": "usb-storage,bus=usb.0,drive={name}",
}
"""Kinds of disk and their qemu devices, with 1023, 64, 256, 32 and 1 tags (requests that the device itself queues)."""


@dataclass(frozen=True)
class Node:
    """A NUMA node. ``cpus`` is a kernel CPU list; empty: a node of memory only."""

    cpus: str = ""
    memory_mib: int = 768


@dataclass(frozen=True)
class Machine:
    """What a guest is made of.

    ``cpu`` is a model of qemu: Nehalem has no AVX, IvyBridge has AVX and F16C, Haswell has AVX2 too, none has AVX-512.
    CPUs are numbered thread by thread, core by core, socket by socket; each must be in a node.
    ``power`` gives cpufreq with three frequencies (acpi-cpufreq) and the idle states C1, C2 and C3.
    ``shares`` are folders of this machine that the guest sees, read-only, under the same paths.
    ``kernel`` is added to the kernel's command line.
    """

    cpu: str = "IvyBridge"
    sockets: int = 2
    cores: int = 2
    """Per socket."""
    threads: int = 1
    """Per core."""
    nodes: tuple[Node, ...] = (Node("0-1"), Node("2-3"))
    power: bool = True
    disks: tuple[str, ...] = tuple(DISKS)
    shares: tuple[Path, ...] = ()
    kernel: str = ""
    ssh_port: int | None = None
    """Of this machine's loopback, that leads to the guest's port 22; nothing leads out of the guest."""


@dataclass(frozen=True)
class Result:
    """How a command in the guest ended; ``status`` as a shell gives it, 128 + N for signal N."""

    status: int
    stdout: str
    stderr: str


class Guest:
    """One guest, which keeps its disks in ``folder`` from start to start."""

    def __init__(self, machine: Machine, folder: Path, image: Path) -> None:
        self.machine = machine
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._qemu: subprocess.Popen[bytes] | None = None
        self._agent: Agent | None = None
        self._command = _qemu_command(machine, folder, image)

    def start(self) -> Guest:
        """Boot, and wait until services and disks are there. Raises RuntimeError with what qemu and the console say."""
        ours, theirs = socket.socketpair()
        with theirs, open(self.folder / "qemu.err", "wb") as errors:
            agent = ["-chardev", f"socket,id=agent,fd={theirs.fileno()}"]
            self._qemu = subprocess.Popen(
                [*self._command, *agent], stdin=subprocess.DEVNULL, stderr=errors, pass_fds=[theirs.fileno()]
            )
        self._agent = Agent(ours)
        try:
            self._agent.wait(BOOT_LIMIT_S)
            # Services can be up before slow disks are.
            disks = len(self.machine.disks) + 1
            self.run(
                "systemctl is-system-running --wait >/dev/null\n"
                f"until [ $(lsblk --nodeps --noheadings | wc -l) -ge {disks} ]; do sleep 0.2; done; udevadm settle"
            )
            for number, share in enumerate(self.machine.shares):
                place = shlex.quote(str(share))
                options = "trans=virtio,version=9p2000.L,msize=512000,ro,cache=loose"
                mounted = self.run(f"mkdir -p {place} && mount -t 9p -o {options} share{number} {place}")
                if mounted.status:
                    raise RuntimeError(mounted.stderr)
        except (OSError, RuntimeError) as error:
            self.kill()
            said = [(self.folder / name).read_text(errors="replace")[-800:] for name in ("qemu.err", "console")]
            raise RuntimeError(f"the guest did not come up: {error}\n{''.join(said)}") from error
        return self

    def run(
        self, command: str, *, stdin: bytes = b"", env: Mapping[str, str] | None = None, limit_s: float = 300
    ) -> Result:
        """Run a bash command as root. Raises TimeoutError after ``limit_s``; the command then runs on."""
        status, stdout, stderr = self._execute(command, stdin, env, limit_s)
        return Result(status, stdout.decode(errors="replace"), stderr.decode(errors="replace"))

    def copy_in(self, here: Path, there: str) -> None:
        """Copy a file into the guest, with its permissions (up to some 10 MB; more is for ``shares``)."""
        mode = f"{here.stat().st_mode & 0o7777:o}"
        path = shlex.quote(there)
        status, _, error = self._execute(f"cat >{path} && chmod {mode} {path}", here.read_bytes(), None, AGENT_LIMIT_S)
        if status:
            raise OSError(error.decode(errors="replace"))

    def copy_out(self, there: str, here: Path) -> None:
        """Copy a file out of the guest (up to 16 MB)."""
        status, content, error = self._execute(f"cat {shlex.quote(there)}", b"", None, AGENT_LIMIT_S)
        if status:
            raise OSError(error.decode(errors="replace"))
        here.write_bytes(content)

    def reboot(self) -> None:
        """Shut down in good order and boot from cold."""
        self.close()
        self.start()

    def follow(self) -> None:
        """Boot anew as soon as the guest reboots itself, which ends qemu."""
        assert self._qemu is not None
        self._qemu.wait(BOOT_LIMIT_S)
        self._release()
        self.start()

    def kill(self) -> None:
        """Pull the plug: the guest writes nothing more. ``start`` boots it again from the same disks."""
        if self._qemu is not None:
            self._qemu.kill()
        self._release()

    def close(self) -> None:
        """Shut down in good order, if it runs."""
        if self._qemu is None:
            return
        assert self._agent is not None
        try:
            self._agent.send("guest-shutdown", mode="powerdown")
            self._qemu.wait(120)
        except (OSError, subprocess.TimeoutExpired):
            self._qemu.kill()
        self._release()

    def __enter__(self) -> Guest:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def _release(self) -> None:
        if self._qemu is not None:
            self._qemu.wait()
        if self._agent is not None:
            self._agent.close()
        self._qemu = self._agent = None

    def _execute(
        self, command: str, stdin: bytes, env: Mapping[str, str] | None, limit_s: float
    ) -> tuple[int, bytes, bytes]:
        if self._agent is None:
            raise RuntimeError("the guest does not run")
        variables = {**ENVIRONMENT, **(env or {})}
        pid = self._agent.call(
            "guest-exec",
            path="/bin/bash",
            arg=["-c", command],
            env=[f"{name}={value}" for name, value in variables.items()],
            **{"input-data": base64.b64encode(stdin).decode(), "capture-output": True},
        )["pid"]
        end = time.monotonic() + limit_s
        for pause in itertools.chain((0.02, 0.04, 0.08), itertools.repeat(0.1)):
            time.sleep(pause)
            state = self._agent.call("guest-exec-status", pid=pid)
            if state["exited"]:
                break
            if time.monotonic() > end:
                raise TimeoutError(f"not done after {limit_s:g} s: {command}")
        if state.get("out-truncated") or state.get("err-truncated"):
            raise RuntimeError(f"more output than the guest's agent keeps (16 MB): {command}")
        status = 128 + state["signal"] if "signal" in state else state["exitcode"]
        return status, base64.b64decode(state.get("out-data", "")), base64.b64decode(state.get("err-data", ""))


class Agent:
    """The guest agent's protocol, over a socket to its serial port: a JSON object a line, both ways.

    https://www.qemu.org/docs/master/interop/qemu-ga-ref.html
    """

    def __init__(self, ours: socket.socket) -> None:
        self._socket = ours
        self._replies = ours.makefile("rb")
        self._tokens = itertools.count(1)

    def wait(self, limit_s: float) -> None:
        """Wait until the agent answers: what is sent before it listens is kept for it."""
        self._socket.settimeout(limit_s)
        token = next(self._tokens)
        self.send("guest-sync", id=token)
        while self._reply() != token:
            pass
        self._socket.settimeout(AGENT_LIMIT_S)

    def call(self, command: str, **arguments: Any) -> Any:
        """Send a command and give what it returns. Raises RuntimeError where the agent refuses."""
        self.send(command, **arguments)
        return self._reply()

    def send(self, command: str, **arguments: Any) -> None:
        """Send a command that has no answer."""
        self._socket.sendall(json.dumps({"execute": command, "arguments": arguments}).encode() + b"\n")

    def close(self) -> None:
        """Let go of the socket."""
        self._replies.close()
        self._socket.close()

    def _reply(self) -> Any:
        line = self._replies.readline()
        if not line:
            raise ConnectionError("qemu ended")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(answer["error"]["desc"])
        return answer["return"]


def _qemu_command(machine: Machine, folder: Path, image: Path) -> list[str]:
    """qemu's arguments, all but the agent's socket; makes the disks where they are not there yet."""
    root = folder / "root.qcow2"
    if not root.exists():
        base = ["-F", "raw", "-b", str(image / "root.img")]
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *base, str(root)], check=True)
    cpus = machine.sockets * machine.cores * machine.threads
    memory_mib = sum(node.memory_mib for node in machine.nodes)
    smp = f"{cpus},sockets={machine.sockets},cores={machine.cores},threads={machine.threads}"
    command = ["qemu-system-x86_64", "-M", "q35", "-accel", "tcg,thread=multi", "-cpu", machine.cpu, "-smp", smp]
    command += ["-m", f"{memory_mib}M", "-display", "none", "-vga", "none", "-monitor", "none"]
    forward = f"user,model=virtio-net-pci,restrict=on,hostfwd=tcp:127.0.0.1:{machine.ssh_port}-:22"
    command += ["-nic", forward if machine.ssh_port else "none"]
    command += ["-no-reboot", "-serial", f"file:{folder / 'console'}"]
    command += ["-kernel", str(image / "vmlinuz"), "-initrd", str(image / "initrd.img")]
    command += ["-append", f"console=ttyS0 quiet panic=-1 mitigations=off {machine.kernel}".rstrip()]

    for number, node in enumerate(machine.nodes):
        command += ["-object", f"memory-backend-ram,id=ram{number},size={node.memory_mib}M"]
        ranges = "".join(f",cpus={part}" for part in node.cpus.split(",") if part)
        command += ["-numa", f"node,nodeid={number},memdev=ram{number}{ranges}"]
    for a, b in itertools.combinations(range(len(machine.nodes)), 2):
        command += ["-numa", f"dist,src={a},dst={b},val=21"]

    command += ["-drive", f"file={root},if=none,id=root,cache=unsafe", "-device", "virtio-blk-pci,drive=root"]
    command += ["-device", "qemu-xhci,id=usb", "-device", "virtio-scsi-pci,id=scsi"]
    for name in machine.disks:
        file = folder / f"{name}.img"
        with open(file, "ab") as disk:
            disk.truncate(DISK_BYTES)
        command += ["-drive", f"file={file},if=none,id={name},format=raw,cache=unsafe"]
        command += ["-device", DISKS[name].format(name=name)]
    for number, share in enumerate(machine.shares):
        command += ["-virtfs", f"local,path={share},mount_tag=share{number},security_model=none,readonly=on"]
    if machine.power:
        command += ["-acpitable", f"file={power_table(folder, cpus)}"]
    serial = "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"
    return [*command, "-device", "virtio-serial-pci", "-device", serial]
