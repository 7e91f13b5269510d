"""Ten programs that are in order: at most one note in all, and nothing that is worse."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

import pytest

from hwdiag.core.finding import Finding
from hwdiag.explain.explain import explain
from hwdiag.explain.steps import Explained
from hwdiag.parameters.watching import ExplainParams
from tests.explain.test_situations import OF_THE_HOST, is_one_of

HERE = Path(__file__).parent / "healthy"
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
PROGRAMS: dict[str, tuple[str, ...]] = {
    "mnist.py": (), "gpt.py": (), "trainer.py": ("transformers", "accelerate"), "server.py": (), "ddp.py": (),
    "generate.py": ("transformers",), "loader.py": (), "compiled.py": ("g++",), "tree.py": (), "eigenvalues.py": (),
}  # fmt: skip
"""With what they need beside torch and NumPy."""
NOTES: list[str] = []
"""Those of all programs."""
pytestmark = pytest.mark.long


def findings_of(program: str) -> tuple[Finding, ...]:
    """Return what explain finds, without what is about other programs on this host."""
    starter = TORCHRUN if program == "ddp.py" else ()
    run = Explained(ExplainParams(command=(sys.executable, *starter, str(HERE / program))))
    done = explain(run.look(), run.host)
    assert done.program.ending.status == 0, done.program.ending.stderr
    return tuple(f for f in done.findings if not is_one_of(f.id, [*OF_THE_HOST]))


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_healthy_program_gets_no_finding(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for need in PROGRAMS[program]:
        if shutil.which(need) is None and importlib.util.find_spec(need) is None:
            pytest.skip(f"needs {need}")
    for name in [n for n in os.environ if n.startswith(("OMP_", "OPENBLAS_", "MKL_"))]:  # of the test suite itself
        monkeypatch.delenv(name)
    found = findings_of(program)
    told = "\n".join(f"[{f.severity}] {f.id}: {f.title}. {f.detail}" for f in found)
    assert not [f for f in found if f.severity != "note"], told
    NOTES.extend(f"{program}: {f.id}" for f in found)
    assert len(NOTES) <= 1, f"{NOTES}\n{told}"
