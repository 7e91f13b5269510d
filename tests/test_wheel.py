"""The wheel works by itself: in a fresh environment, outside a checkout, with outputs in the present folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command outside the checkout, without what points into it, and return what it prints."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("HWDIAG_", "PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, env=inherited, capture_output=True, text=True, timeout=570
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built from a copy: setuptools writes beside its sources."""
    folder = tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.split("\0"):
        if name.startswith(("hwdiag/", "notebooks/", "params/", "docs/", "pyproject", "README", "LICENSE", "MANIFEST")):
            copy = folder / "source" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / name).is_symlink():
                copy.symlink_to((ROOT / name).readlink())
            else:
                copy.write_bytes((ROOT / name).read_bytes())
    pip = (sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index")
    run(*pip, "-w", folder, folder / "source", cwd=folder)
    return next(folder.glob("*.whl"))


@pytest.mark.slow
def test_the_wheel_holds_what_the_checkout_has(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    listed = subprocess.run(["git", "ls-files", "hwdiag"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    links = {"hwdiag/shipped/notebooks", "hwdiag/shipped/params"}
    own = {f"hwdiag/shipped/{f.relative_to(ROOT)}" for f in (*ROOT.glob("notebooks/*.ipynb"), *ROOT.glob("params/*"))}
    assert own <= held
    assert any(name.endswith("/share/man/man1/hwdiag.1") for name in held)
    assert set(listed.split()) - links - held == set()
    assert not any(name.startswith(("tests/", "benchmarks/", "outputs/")) for name in held)


@pytest.mark.long
def test_a_fresh_environment_with_the_wheel_diagnoses_outside_a_checkout(wheel: Path, tmp_path: Path) -> None:
    """What hwdiag needs is lent by this environment, so that nothing is downloaded; hwdiag itself is the wheel's."""
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    run(python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    (site / "lent.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    kernels = Path(sysconfig.get_path("data"), "share", "jupyter", "kernels")
    (tmp_path / "venv" / "share" / "jupyter").mkdir(parents=True, exist_ok=True)
    (tmp_path / "venv" / "share" / "jupyter" / "kernels").symlink_to(kernels)

    there = tmp_path / "anywhere"
    there.mkdir()
    hwdiag = python.with_name("hwdiag")
    where = run(python, "-c", "import hwdiag; print(hwdiag.__file__)", cwd=there).strip()
    assert where == f"{site}/hwdiag/__init__.py"
    said = run(
        hwdiag, "diagnose", "--budget", "quick", "--set", "minutes=0.3", "--workloads", "triad", "--json", cwd=there
    )
    summary = json.loads(said)
    assert summary["measured"]
    assert all((there / summary[name]).is_file() for name in ("report", "record", "notebook"))
    assert {p.name for p in there.iterdir()} == {"outputs"}
    assert (there / summary["record"]).is_relative_to(there / "outputs")

    run(hwdiag, "init", "book", cwd=there)
    book = there / "book"
    assert {p.name for p in book.iterdir()} == {"notebooks", "params"}
    run(hwdiag, "audit", "--host", "dgx", cwd=book)
    assert list(book.glob("outputs/*/*/record.json"))
