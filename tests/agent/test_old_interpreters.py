"""What runs inside the person's interpreter: it is Python 3.8, and a torch that lacks something is told, not met."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hwdiag.process.agent import MAIN
from hwdiag.process.observation.witness import Witness

FILES = sorted(MAIN.parent.rglob("*.py"))
PROGRAM = "import torch, sys, json; print(torch.__version__, sys.version_info[0]); print(json.dumps([1]))"
TORCHES = {
    "almost nothing": "__version__ = '0.1'",
    "no profiler": """
__version__ = "1.4.0"
class Tensor: pass
class nn: Parameter = Tensor
class version: cuda = None
float32 = float64 = None
class autograd: pass
""",
}
"""Stand-ins for versions of torch that lack what newer ones have, and what is told of each."""
PYTHONS = sorted({sys.executable, *filter(None, map(shutil.which, ("python3.8", "python3.9", "python3.13")))})


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(MAIN.parent)))
def test_each_file_is_python_3_8(file: Path) -> None:
    ast.parse(file.read_text(), feature_version=(3, 8))


@pytest.mark.parametrize("torch", TORCHES)
@pytest.mark.parametrize("python", PYTHONS)
def test_a_torch_that_lacks_something_is_told_and_the_program_does_not_notice(
    tmp_path: Path, torch: str, python: str
) -> None:
    if subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode:
        pytest.skip(f"{python} does not run")
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text(TORCHES[torch])
    with Witness() as witness:
        path = os.pathsep.join((witness.variables["PYTHONPATH"], str(tmp_path)))
        env = {**os.environ, **witness.variables, "PYTHONPATH": path}
        done = subprocess.run(
            [python, "-c", PROGRAM], env=env, capture_output=True, text=True, timeout=120, check=False
        )
        (report,) = witness.collect()[0]
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(" 3\n[1]\n")
    assert report.state == "failed"
    assert "attribute" in report.error
