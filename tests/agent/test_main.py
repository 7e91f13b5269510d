"""The agent's loop: it stands on its own, starts light, and nobody else can speak in its name."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hwdiag.agent.pools import native_pools
from hwdiag.process import agent as agents
from hwdiag.process.agent import MAIN, Agent
from tests.conftest import script

START = {"do": "measure.start", "device": "cpu", "seed": 1}
FILE = {"name": "mine", "kind": "file", "dtype": "float32", "size": {}}
SMALL_TORCH = """
device, float32 = str, 'float32'
def manual_seed(_): pass
def get_num_threads(): return 1
get_num_interop_threads = get_num_threads
class backends:
    class cpu:
        get_cpu_capability = staticmethod(lambda: 'none')
"""
"""A torch that can do what a file of one's own needs."""

MEASURING = "ctypes, faulthandler, gc, importlib.util, json, math, os, platform, re, resource, select, signal, time"
"""All that a process that measures may have imported beside torch."""

WRITES = """
import os
def build():
    for file in range(3, 64):
        for said in (b'{"event": "window", "seconds": []}\\n', b'\\xff[[[', b'{"event": "end"}'):
            try:
                os.write(file, said)
            except OSError:
                pass
    print('{"event": "ready"}', flush=True)
    return lambda: None
"""


def prepare(agent: Agent, path: Path) -> dict[str, object]:
    agent.tell(START)
    agent.tell({"do": "measure.prepare", "workload": {**FILE, "path": str(path)}, "check": False, "warmup_s": 0.0})
    found = agent.hear(("ready", "failed"), 60)
    assert found is not None, agent.outcome()
    return found


def test_what_the_persons_code_writes_and_prints_is_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(WRITES)
    with Agent(sys.executable) as agent:
        assert prepare(agent, path)["event"] == "ready"
        agent.tell({"do": "measure.sample", "seconds": 0.01, "min_samples": 3})
        window = agent.hear(("window",), 30)
        assert window is not None
        assert len(window["seconds"]) >= 3
        assert agent.noise > 0
        assert agent.finish(30).ok
    assert [e["event"] for e in agent.events] == ["begin", "applied", "begin", "ready", "window", "end"]


def test_what_it_starts_has_no_file_of_the_agents(tmp_path: Path) -> None:
    path, seen = tmp_path / "mine.py", tmp_path / "seen"
    path.write_text(
        f"import os\ndef build():\n    os.system('ls -l /proc/self/fd > {seen}; readlink /proc/self/fd/0 >> {seen}')\n"
        "    return lambda: None\n"
    )
    with Agent(sys.executable) as agent:
        prepare(agent, path)
    assert "socket:" not in seen.read_text()
    assert "/dev/null" in seen.read_text()


@pytest.mark.parametrize("version", ["3.8", "3.9", "this"])
def test_it_runs_as_a_folder_alone_on_older_pythons(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copied elsewhere, without hwdiag, beside a module whose name would hide the standard library's."""
    python = sys.executable if version == "this" else shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "-c", ""], capture_output=True).returncode:
        pytest.skip(f"no Python {version} here")
    alone = tmp_path / "alone"
    shutil.copytree(MAIN.parent, alone, ignore=shutil.ignore_patterns("__pycache__"))
    (alone / "inspect.py").write_text("raise RuntimeError('hidden')")
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("import inspect\n" + SMALL_TORCH)
    monkeypatch.setattr(agents, "MAIN", alone / "main.py")
    path = tmp_path / "mine.py"
    path.write_text("import inspect\ndef build(): return lambda: None\n")
    wrapper = script(tmp_path / "python", f'cd / && PYTHONPATH={tmp_path} exec {python} "$@"')
    with Agent(wrapper) as agent:
        assert prepare(agent, path)["event"] == "ready"
        assert agent.finish(30).ok
    for verb, event in (("packages.list", "environment"), ("dataloader.find", "failed")):
        with Agent(wrapper) as agent:
            agent.tell({"do": verb, **({"task": 1} if verb.startswith("data") else {})})
            assert agent.hear((event,), 60) is not None, agent.outcome()


def test_every_module_compiles_on_the_oldest_python() -> None:
    old = shutil.which("python3.8")
    if old is None or subprocess.run([old, "-c", ""], capture_output=True).returncode:
        pytest.skip("no Python 3.8 here")
    code = "import ast, sys\nfor path in sys.argv[1:]: ast.parse(open(path).read(), path)"
    done = subprocess.run([old, "-c", code, *map(str, MAIN.parent.rglob("*.py"))], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_measuring_imports_next_to_nothing(tmp_path: Path, fake_python: Callable[[str], str]) -> None:
    """With a torch that imports nothing itself; each further module is a part of every process's start."""
    path, seen = tmp_path / "mine.py", tmp_path / "seen"
    path.write_text(
        f"import json, sys\ndef build():\n    json.dump(sorted(sys.modules), open({str(seen)!r}, 'w'))\n"
        "    return lambda: None\n"
    )
    with Agent(fake_python(SMALL_TORCH)) as agent:
        prepare(agent, path)
    code = f"import sys, {MEASURING}; print(*sys.modules)"
    may = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.split()
    own = {"hwdiag_agent", "hwdiag_workload", "torch"}
    assert {n for n in json.loads(seen.read_text()) if n.partition(".")[0] not in own} <= {*may}


def test_a_verb_that_is_none_fails_and_the_next_is_answered() -> None:
    with Agent(sys.executable) as agent:
        agent.tell({"do": "nothing.at_all"})
        assert agent.hear(("failed",), 30) is not None
        agent.tell({"do": "packages.list"})
        assert agent.hear(("environment",), 60) is not None


def test_native_pools_are_those_that_are_loaded() -> None:
    numpy = pytest.importorskip("numpy")
    found = {pool["name"]: pool for pool in native_pools()}
    loaded = Path("/proc/self/maps").read_text()
    assert numpy.zeros(3).size == 3
    for pool in found.values():
        assert pool["path"] in loaded
    if "openblas" in loaded:
        assert found["OpenBLAS"]["threads"] == int(os.environ.get("OPENBLAS_NUM_THREADS", 0)) or (
            1 <= found["OpenBLAS"]["threads"] <= (os.cpu_count() or 1)
        )
