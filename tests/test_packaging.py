"""The set-up: what is installed, by which commands, and that its files stay in step."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ["3.10.0", "3.11.7", "3.12.1", "3.13.0"]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
DIRECT = [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
CONSTRAINTS = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line.strip() and not line.startswith("#")
]


def python_marker(version: str) -> dict[str, str]:
    """The environment markers of CPython ``version`` on 64-bit Linux."""
    return {
        "python_version": version.rpartition(".")[0],
        "python_full_version": version,
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "sys_platform": "linux",
        "os_name": "posix",
    }


def pins(version: str) -> dict[str, list[SpecifierSet]]:
    """The pins of constraints.txt that hold on this Python, by package."""
    found: dict[str, list[SpecifierSet]] = {}
    for pin in CONSTRAINTS:
        if pin.marker is None or pin.marker.evaluate(python_marker(version)):
            found.setdefault(canonicalize_name(pin.name), []).append(pin.specifier)
    return found


def run(*command: str | Path, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a person would: without what an outer ``make test`` left in the environment."""
    inherited = {
        k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS", "CHOSEN_", "HWDIAG_", "PYTHON"))
    }
    for name in ("HOST", "BUDGET"):
        inherited.pop(name, None)
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**inherited, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


# --- dependencies ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", PYTHONS)
@pytest.mark.parametrize("line", DIRECT)
def test_each_dependency_is_pinned_once_within_its_bounds(line: str, version: str) -> None:
    requirement = Requirement(line)
    (specifier,) = pins(version)[canonicalize_name(requirement.name)]
    ((operator, pinned),) = ((s.operator, s.version) for s in specifier)
    assert operator == "=="
    assert requirement.specifier.contains(pinned)


@pytest.mark.parametrize("version", PYTHONS)
def test_no_python_gets_two_pins_of_one_package(version: str) -> None:
    assert [name for name, specifiers in pins(version).items() if len(specifiers) != 1] == []


@pytest.mark.parametrize("name", ["setuptools", "filelock", "fsspec", "jinja2", "networkx", "sympy", "mpmath"])
@pytest.mark.parametrize("version", PYTHONS)
def test_what_torch_and_the_build_need_is_pinned(name: str, version: str) -> None:
    assert name in pins(version)


def test_torch_is_an_extra_and_pinned() -> None:
    assert [Requirement(line).name for line in EXTRAS["torch"]] == ["torch"]
    assert "torch" not in {Requirement(line).name for line in PROJECT["dependencies"]}
    for version in PYTHONS:
        assert [str(s) for s in pins(version)["torch"]] == ["==2.13.0"]


def test_constraints_name_no_index_and_no_file() -> None:
    assert all(pin.url is None for pin in CONSTRAINTS)
    assert "://" not in (ROOT / "constraints.txt").read_text()


def test_conda_environment_is_in_step() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == PROJECT["name"]
    python, *others = environment["dependencies"]
    python = Requirement(python)
    assert python.name == "python"
    # It takes the Pythons that pyproject.toml takes and that the pins are checked for above, and no others.
    assert str(SpecifierSet(PROJECT["requires-python"])) in {str(SpecifierSet(str(s))) for s in python.specifier}
    assert [v for v in [*PYTHONS, "3.9.18", "3.14.0"] if python.specifier.contains(v)] == PYTHONS
    # All else comes from pyproject.toml at the versions of constraints.txt, so there is nothing to list twice.
    assert others[0] == "pip"
    ((kind, (constraints, project)),) = others[1].items()
    assert kind == "pip"
    assert constraints == "-c constraints.txt"
    wanted = re.fullmatch(r"-e \.\[([a-z,]+)\]", project)
    assert wanted is not None
    script = (ROOT / "tools" / "make-venv.sh").read_text()
    installed = {what: set(extras.split(",")) for what, extras in re.findall(r"^(\S+)\) extras=(\S+)", script, re.M)}
    # A user gets no test tools, and not what only counting other nets needs.
    assert installed == {"test": set(EXTRAS), "*": set(EXTRAS) - {"test", "nets"}}
    assert set(wanted[1].split(",")) == installed["*"]
    assert len(others) == 2


# --- the package -----------------------------------------------------------------------------------------------------


def test_console_script_is_importable() -> None:
    module, _, function = PROJECT["scripts"]["hwdiag"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))


def modules_after(code: str) -> set[str]:
    """Top-level names in ``sys.modules`` of a fresh interpreter after this code."""
    done = run(sys.executable, "-c", f"{code}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))")
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_import_hwdiag_is_light() -> None:
    assert not modules_after("import hwdiag") & {"torch", "pandas", "matplotlib", "numpy", "scipy", "IPython"}


@pytest.mark.parametrize("words", [["host"], ["audit", "--json"]])
def test_what_only_reads_the_host_loads_nothing_heavy(words: list[str]) -> None:
    loaded = modules_after(f"from hwdiag.cli import main\nmain({words})")
    assert not loaded & {"torch", "pandas", "matplotlib", "numpy", "scipy", "pyarrow", "IPython"}


def test_no_module_imports_torch_by_being_imported() -> None:
    """But for the agent, which runs in the interpreter that is measured."""
    code = "import importlib, pkgutil, hwdiag\n"
    code += "for m in pkgutil.walk_packages(hwdiag.__path__, 'hwdiag.'):\n"
    code += "    m.name.endswith('__main__') or '.agent.' in m.name or importlib.import_module(m.name)"
    loaded = modules_after(code)
    assert {"pydantic", "numpy"} <= loaded  # so the walk did import them
    assert not loaded & {"torch", "pandas"}


# --- Make and the scripts --------------------------------------------------------------------------------------------


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A checkout of just the set-up, in a folder with a space in its name."""
    root = tmp_path / "my tree"
    root.mkdir()
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, root)
    shutil.copytree(ROOT / "tools", root / "tools")
    return root


@pytest.fixture
def stub(tmp_path: Path) -> Callable[[str, str], Path]:
    """Writes a shell script with this name and body, and gives its path."""

    def write(name: str, body: str) -> Path:
        path = tmp_path / "stubs" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def installed(tree: Path) -> Path:
    """The same with a .venv in which ``hwdiag`` prints its arguments, one a line."""
    script = tree / ".venv" / "bin" / "hwdiag"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\nprintf '<%s>\\n' \"$@\"\n")
    script.chmod(0o755)
    (tree / ".venv" / "ready").touch()
    return tree


def test_make_help_lists_every_target() -> None:
    done = run("make", "help")
    assert done.returncode == 0, done.stderr
    assert run("make").stdout == done.stdout
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    listed = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert listed == set(phony[1].split())
    assert {"diagnose", "test", "lab", "bench", "constraints", "clean"} <= listed


@pytest.mark.parametrize(
    ("given", "arguments"),
    [
        ([], ["diagnose"]),
        (["HOST=dgx"], ["diagnose", "--host=dgx"]),
        (["BUDGET=quick", "PYTHON="], ["diagnose", "--budget=quick"]),
        (
            ["HOST=a 'b' \"c\" `id` ; $(shell id) $HOME", "PYTHON=/my venv/bin/python"],
            ["diagnose", "--host=a 'b' \"c\" `id` ; $(shell id) $HOME", "--python=/my venv/bin/python"],
        ),
    ],
)
def test_make_diagnose_passes_what_was_given(installed: Path, given: list[str], arguments: list[str]) -> None:
    done = run("make", "diagnose", *given, cwd=installed)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"<{argument}>" for argument in arguments]


def test_make_diagnose_does_not_take_an_exported_machine_name_for_a_profile(installed: Path) -> None:
    name = os.uname().nodename
    assert run("make", "diagnose", cwd=installed, HOST=name).stdout == "<diagnose>\n"
    assert run("make", "diagnose", cwd=installed, HOST="dgx").stdout == "<diagnose>\n<--host=dgx>\n"
    assert run("make", "diagnose", f"HOST={name}", cwd=installed).stdout == f"<diagnose>\n<--host={name}>\n"


OLD = 'case "$2" in *print*) echo 3.9 ;; *"< (3, 10)"*) exit 1 ;; esac'
BARE = 'case "$2" in *print*) echo 3.12 ;; *ensurepip*) echo "No module named ensurepip" >&2; exit 1 ;; esac'


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (OLD, r"error: .*python3 is Python 3\.9, and hwdiag needs 3\.10 or newer; .*make PYTHON3=/usr/bin/python3"),
        (BARE, r"error: .*cannot make virtual environments; .*sudo apt-get install python3\.12-venv"),
        ("exit 1", r"error: .*python3 does not run"),
    ],
)
def test_unfit_python_is_one_clear_line(tree: Path, stub: Callable[[str, str], Path], body: str, message: str) -> None:
    done = run("make", "setup", f"PYTHON3={stub('python3', body)}", cwd=tree)
    assert done.returncode != 0
    line, make_says = done.stderr.splitlines()
    assert re.fullmatch(message, line)
    assert make_says.startswith("make")
    assert not (tree / ".venv").exists()


def test_no_python_is_one_clear_line(tree: Path) -> None:
    done = run("make", "setup", "PYTHON3=/nowhere/python3", cwd=tree)
    assert done.returncode != 0
    assert "error: no /nowhere/python3 here; install it: sudo apt-get install python3 python3-venv\n" in done.stderr


def test_debian_packages_all_there(tree: Path, stub: Callable[[str, str], Path]) -> None:
    stub("apt-get", "echo called; exit 1")
    folder = stub("dpkg-query", "echo installed").parent
    done = run(tree / "tools" / "debian-packages.sh", PATH=f"{folder}:{os.environ['PATH']}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Debian packages: all there\n", "")


@pytest.mark.parametrize(
    ("known", "chosen"),
    [("libtcmalloc-minimal4", "libtcmalloc-minimal4"), ("libtcmalloc-minimal4t64", "libtcmalloc-minimal4t64")],
)
def test_debian_packages_installs_only_what_lacks(
    tree: Path, stub: Callable[[str, str], Path], known: str, chosen: str
) -> None:
    stub("id", "echo 0")
    stub("apt-get", 'echo "apt-get $*"')
    stub("apt-cache", f'case "$2" in {known}) echo "  Candidate: 1.0" ;; *) echo "  Candidate: (none)" ;; esac')
    stub("dpkg-query", 'case "$4" in libtcmalloc*|chromium) exit 1 ;; *) echo installed ;; esac')
    folder = tree.parent / "stubs"
    done = run(tree / "tools" / "debian-packages.sh", PATH=f"{folder}:{os.environ['PATH']}")
    assert done.returncode == 0, done.stderr
    assert f"Debian packages: apt-get install {chosen}\n" in done.stdout
    assert re.search(rf"^apt-get .* install .* {chosen}$", done.stdout, re.MULTILINE)
    assert "no chromium here" in done.stderr


def test_debian_packages_fails_where_a_needed_one_is_unknown(tree: Path, stub: Callable[[str, str], Path]) -> None:
    for name, body in {"id": "echo 0", "apt-get": ":", "apt-cache": ":", "dpkg-query": "exit 1"}.items():
        stub(name, body)
    folder = tree.parent / "stubs"
    done = run(tree / "tools" / "debian-packages.sh", PATH=f"{folder}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert "error: this distribution has no package shellcheck\n" in done.stderr


SCRIPTS = [ROOT / ".ci" / "run", *sorted((ROOT / "tools").glob("*.sh"))]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_pass_shellcheck(script: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("no shellcheck here (make packages installs it)")
    assert os.access(script, os.X_OK)
    done = run("shellcheck", script)
    assert done.returncode == 0, done.stdout


def test_ci_runs_make_test() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    assert "timed make test" in lines
    assert "set -euo pipefail" in lines
