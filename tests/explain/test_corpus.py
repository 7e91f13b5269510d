"""The corpus of reported situations by its own harness: cause and remedy are named, and nothing false is said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).parents[2].parent / "shared" / "cases"
HWDIAG = Path(sys.executable).with_name("hwdiag")
SHORT = ("10-shm-too-small", "11-open-files", "12-killed-for-memory")
"""Programs that end within seconds, of which ``make test`` scores one after the other."""
LONG = (
    "01-quota-below-cores", "02-one-thread-inherited", "03-thread-limit", "04-invalid-threads", "05-preload-missing",
    "06-gomp-affinity", "07-one-core-mask", "08-tiny-weights", "09-half-on-old-cpu", "13-work-in-a-thread",
    "14-noisy-neighbours", "15-slow-decoding", "16-growing-memory", "17-no-compiler", "18-kvm64",
)  # fmt: skip
NAMED = "named cause and remedy"


@pytest.mark.parametrize("name", [*SHORT, *(pytest.param(name, marks=pytest.mark.long) for name in LONG)])
def test_cause_and_remedy_of_a_reported_situation_are_named(name: str, tmp_path: Path) -> None:
    if not (CASES / "given" / name).is_dir():
        pytest.skip(f"{CASES} is not here")
    home, result, said = tmp_path / "home", tmp_path / "result.json", tmp_path / "said"
    (home / "params").mkdir(parents=True)
    for folder in (said, tmp_path / "outputs"):
        folder.mkdir()
    argv = [sys.executable, str(CASES / "run.py"), "given", "--only", name, "--hwdiag", str(HWDIAG), "--patience", "3"]
    argv += ["--verbs", "explain", "--json", str(result), "--keep", str(said)]
    drop = ("OMP_", "OPENBLAS_", "MKL_")  # what the test suite itself sets is no part of a situation
    env = {k: v for k, v in os.environ.items() if not k.startswith(drop)} | {"HWDIAG_HOME": str(home)}
    done = subprocess.run(argv, capture_output=True, text=True, env=env, timeout=900, cwd=tmp_path)
    assert result.exists(), done.stdout + done.stderr
    [row] = json.loads(result.read_text())
    if row["verdict"] == "skipped":
        pytest.skip(row["note"])
    told = "".join(path.read_text() for path in said.glob("*.txt"))
    assert row["verdict"] == NAMED, f"{row}\n{told}"
