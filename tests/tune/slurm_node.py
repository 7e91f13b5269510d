"""A Slurm cluster of one node on loopback: slurmctld and slurmd as this user, for tests that submit real jobs."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "sinfo")
CONFIGURATION = """\
ClusterName=hwdiag
SlurmctldHost={name}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
SlurmctldPort={first}
SlurmdPort={second}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName={name} NodeAddr=127.0.0.1 CPUs={cpus}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
{more}
"""


def why_not() -> str:
    """Return why no cluster can be started here; an empty text where one can."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if missing:
        return f"Debian's slurmctld, slurmd and slurm-client are not installed: no {missing[0]}"
    return "" if os.geteuid() == 0 else "slurmd needs root"


def free_ports() -> tuple[int, int]:
    """Return two ports that nobody listens on."""
    with socket.socket() as one, socket.socket() as two:
        for each in (one, two):
            each.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


@contextlib.contextmanager
def cluster(folder: Path, more: str = "") -> Iterator[dict[str, str]]:
    """Run a cluster of this node; gives the environment by which clients find it. ``more``: lines of its file."""
    for name in ("state", "spool"):
        (folder / name).mkdir()
    first, second = free_ports()
    file = folder / "slurm.conf"
    about = {"name": os.uname().nodename, "folder": folder, "first": first, "second": second, "more": more}
    file.write_text(CONFIGURATION.format(cpus=os.cpu_count(), **about))
    environment = {**os.environ, "SLURM_CONF": str(file), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    log = (folder / "daemons.log").open("wb")
    daemons = []
    try:
        for daemon in ("slurmctld", "slurmd"):
            daemons.append(subprocess.Popen([daemon, "-D", "-f", file], env=environment, stdout=log, stderr=log))
        wait_until_idle(environment, folder)
        yield environment
    finally:
        for running in reversed(daemons):
            running.terminate()
        for running in daemons:
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(10)
            running.kill()
        log.close()


def wait_until_idle(environment: dict[str, str], folder: Path) -> None:
    """Wait until the node takes jobs. Raises ``AssertionError`` with the daemons' words."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        asked = subprocess.run(["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True)
        if asked.stdout.strip() == "idle":
            return
        time.sleep(0.2)
    raise AssertionError((folder / "daemons.log").read_text()[-3000:])


def submit(script: Path, environment: dict[str, str]) -> str:
    """Run a job to its end and return what it printed. Raises ``AssertionError`` where it was refused or failed."""
    out = script.with_suffix(".out")
    command = ["sbatch", "--parsable", "--output", out, script]
    asked = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert asked.returncode == 0, asked.stderr
    show = ["scontrol", "--oneliner", "show", "job", asked.stdout.strip()]
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:  # sbatch --wait looks every ten seconds
        seen = subprocess.run(show, env=environment, capture_output=True, text=True).stdout
        if "JobState=COMPLETED" in seen:
            return out.read_text()
        assert "JobState=FAILED" not in seen, seen + (out.read_text() if out.exists() else "")
        time.sleep(0.1)
    raise AssertionError(f"the job does not end: {seen}")


def wait_for_state(environment: dict[str, str], state: str) -> bool:
    """Return whether the node comes into a state that begins so, within half a minute."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        asked = subprocess.run(["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True)
        if asked.stdout.strip().startswith(state):
            return True
        time.sleep(0.2)
    return False
