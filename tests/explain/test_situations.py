"""Programs with something wrong, run for real: what must be said of each, and that nothing false is."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hwdiag.core.finding import Finding
from hwdiag.explain.explain import explain
from hwdiag.explain.steps import Explained
from hwdiag.parameters.watching import ExplainParams

HERE = Path(__file__).parent / "situations"
SITUATIONS: list[dict[str, Any]] = yaml.safe_load((HERE / "situations.yaml").read_text())
OF_THE_HOST = ("neighbours", "cpu-waiting", "cpu-steal", "swapped", *(("low-priority",) if os.nice(0) > 0 else ()))
"""Findings about other programs and virtual machines, which a busy host has in any test, and of tests that are nice."""
GROUPS = Path("/sys/fs/cgroup")
FILES = {"memory.max": "memory.limit_in_bytes", "pids.max": "pids.max", "cpu.max": "cpu.cfs_quota_us"}
"""Of control groups of version 1."""
THREADS = "import threading, time; [threading.Thread(target=time.sleep, args=(1,)).start() for _ in range(40)]"


def lacks(need: str) -> str | None:
    """Return why a need is not met, or None."""
    if need == "root":
        met = os.geteuid() == 0
    elif need == "two-cpus":
        met = len(os.sched_getaffinity(0)) >= 2
    elif need == "torch":
        met = bool(list(Path(sys.prefix).glob("lib/python*/site-packages/torch")))
    elif need == "unshare":
        met = subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0
    elif need.startswith("group-"):
        met = any(os.access(f, os.W_OK) for f in (GROUPS / need[6:] / "cgroup.procs", GROUPS / "cgroup.controllers"))
    else:
        met = shutil.which(need) is not None
    return None if met else f"needs {need}"


@contextlib.contextmanager
def group(files: dict[str, str]) -> Iterator[list[Path]]:
    """Make a control group with these limits, of whichever version, and yield the files to join it by."""
    made = []
    try:
        for name, value in files.items():
            first = (GROUPS / "cgroup.controllers").exists()
            place = (GROUPS if first else GROUPS / name.partition(".")[0]) / f"hwdiag-test-{os.getpid()}"
            place.mkdir(exist_ok=True)
            made.append(place)
            (place / (name if first else FILES[name])).write_text(value if first else value.split()[0])
        yield [place / "cgroup.procs" for place in made]
    finally:
        for place in made:
            for _ in range(50):
                with contextlib.suppress(OSError):
                    place.rmdir()
                    break
                time.sleep(0.1)


@contextlib.contextmanager
def beside(count: int) -> Iterator[None]:
    """Keep so many CPUs busy."""
    loop = [sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(loop) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def explained(situation: dict[str, Any], monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[Finding]:
    """Return what explain finds in a situation; ``folder``: for compiled code."""
    for need in situation.get("needs", []):
        if why := lacks(need):
            pytest.skip(why)
    for name, value in {
        "PYTHON": sys.executable, "INCLUDE": sysconfig.get_path("include"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder), "HERE": str(HERE), "START_40_THREADS": THREADS,
        "PYTHON3": next(filter(os.path.exists, ("/usr/bin/python3", sys.executable))),
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "OPENBLAS_NUM_THREADS"):  # of the test suite itself
        monkeypatch.delenv(name, raising=False)
    with group(situation.get("group", {})) as joined, beside(situation.get("beside", 0)):
        joins = "".join(f"echo $$ > {place}; " for place in joined)
        run = Explained(
            ExplainParams(
                command=("sh", "-c", f"{joins}{situation['run']}"), seconds=300 if situation.get("long") else 90
            )
        )
        return [*explain(run.look(), run.host).findings]


def is_one_of(id_: str, patterns: list[str]) -> bool:
    """Return whether an id is among these, of which ``name:*`` stands for several."""
    return any(fnmatch.fnmatchcase(id_, pattern) for pattern in patterns)


@pytest.mark.parametrize(
    "situation",
    [pytest.param(s, id=s["name"], marks=[pytest.mark.long] if s.get("long") else []) for s in SITUATIONS],
)
def test_what_is_wrong_is_named_and_nothing_else(
    situation: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = explained(situation, monkeypatch, tmp_path)
    told = "\n".join(f"[{f.severity}] {f.id}: {f.title}. {f.detail}" for f in found)
    for pattern in situation["finds"]:
        assert any(is_one_of(f.id, [pattern]) for f in found), told
    allowed = [*situation["finds"], *situation.get("may", []), *OF_THE_HOST]
    assert not [f.id for f in found if not is_one_of(f.id, allowed)], told
    for words in situation["says"]:
        assert words in told
