"""What tests of several rooms share: small hosts, and interpreters that fail in chosen ways."""

from __future__ import annotations

import re
import signal
import stat
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from hwdiag.core.params import variable
from hwdiag.host.model import Cache, CoreKind, Cpu, Host, Limits, LogicalCpu, Memory, NumaNode, System
from hwdiag.parameters.diagnosis import TOPICS
from hwdiag.process.model import Outcome, Software
from tests.vm.fixtures import guest, start_guest

__all__ = ["guest", "start_guest"]

ROOT = Path(__file__).parents[1]

# A shell's background jobs ignore Ctrl-C, and what nohup starts a hang-up: so would all that the tests signal.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests in the guest first: of what one of several processes runs by itself they take the longest."""
    items.sort(key=lambda item: item.get_closest_marker("vm") is None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Return what gives each file to one process, and all files that share the guest to the same."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = str(super()._split_scope(nodeid))
            return "guest" if uses_guest(ROOT / file) else file

    return Scheduling(config, log)


@cache
def uses_guest(file: Path) -> bool:
    """Whether a file has tests for the guest that a session boots once."""
    return file.suffix == ".py" and re.search(r"mark\.vm\b", file.read_text()) is not None


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No HWDIAG_* variable of the caller reaches the test."""
    parameters = {variable(name) for model in TOPICS.values() for name in model.model_fields}
    for name in ("HWDIAG_REPLAY", "HWDIAG_HOME", *parameters):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fake_python(tmp_path: Path) -> Callable[[str], str]:
    """Makes an interpreter whose ``import torch`` runs the given code; gives its path."""

    def make(torch_code: str) -> str:
        package = tmp_path / "site" / "torch"
        package.mkdir(parents=True, exist_ok=True)
        (package / "__init__.py").write_text(torch_code)
        return script(tmp_path / "python", f'PYTHONPATH={package.parent} exec {sys.executable} "$@"')

    return make


@pytest.fixture
def python_without_torch(tmp_path: Path) -> str:
    """An interpreter that works, but sees no installed package."""
    return script(tmp_path / "bare-python", f'exec {sys.executable} -I -S "$@"')


def script(path: Path, line: str) -> str:
    """An executable shell script of one line."""
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def make_host(
    *, nodes: int = 1, cores_per_node: int = 4, smt: int = 1, limits: Limits | None = None, llc_bytes: int = 32 << 20
) -> Host:
    """A host of ``nodes`` sockets of one NUMA node each; SMT siblings are numbered after all cores, as on Intel."""
    cores = nodes * cores_per_node
    logical = tuple(
        LogicalCpu(id=t * cores + c, core=c, socket=c // cores_per_node, node=c // cores_per_node)
        for t in range(smt)
        for c in range(cores)
    )
    of_node = [tuple(sorted(cpu.id for cpu in logical if cpu.node == n)) for n in range(nodes)]
    online = tuple(sorted(cpu.id for cpu in logical))
    return Host(
        read_at="2026-11-20T10:00:00Z",
        system=System(hostname="testbox", arch="x86_64", machine_hash="a" * 64),
        cpu=Cpu(
            vendor="GenuineIntel",
            model="Intel(R) Xeon(R) CPU E5-2680 v2 @ 2.80GHz",
            sockets=nodes,
            cores=cores,
            online=online,
            smt=smt > 1,
            logical=logical,
            kinds=(CoreKind(name="core", cpus=online, cores=cores),),
            caches=tuple(Cache(level=3, type="unified", size_bytes=llc_bytes, cpus=cpus) for cpus in of_node),
        ),
        memory=Memory(total_bytes=64 << 30, available_bytes=60 << 30),
        numa=tuple(NumaNode(id=n, cpus=of_node[n], memory_bytes=32 << 30) for n in range(nodes)),
        limits=limits or Limits(allowed=online),
    )


def make_software(**more: object) -> Software:
    """A torch that runs, with MKL and 4 threads."""
    values = {"python": "/usr/bin/python3", "outcome": Outcome(kind="ok"), "torch_version": "2.13.0", "threads": 4}
    return Software.model_validate({**values, "mkl": True, **more})
