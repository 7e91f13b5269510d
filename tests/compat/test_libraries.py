"""Of a package's shared objects each is loaded, or counted as not tried: "ok" is said of nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hwdiag.agent.packages import torch_version
from hwdiag.compat import show
from hwdiag.compat.advice import consult
from hwdiag.compat.check import survey, triable
from hwdiag.compat.model import Package, Survey
from hwdiag.core.finding import Check, Finding
from tests.compat.conftest import Site

Make = Callable[[str, str], Path]
GOOD = "int answer(void) { return 42; }"
MISFIT = "int missing_in_torch(void); int answer(void) { return missing_in_torch(); }"
ENDS = "#include <stdlib.h>\n__attribute__((constructor)) static void end(void) { abort(); }"


def checked(site: Site, *names: str) -> Survey:
    return survey(site.python, packages=names, timeout_s=60)


def said(found: Survey) -> dict[str, Finding | Check]:
    return {s.id: s for s in consult(found)}


def test_a_library_that_lacks_a_symbol_is_not_ok(site: Site, shared_object: Make) -> None:
    site.add("torch", "", shared_object("libfine", GOOD), version="2.13.0+cpu")
    site.add("vision", "", shared_object("_C", MISFIT), shared_object("libgood", GOOD), version="0.25.0",
             needs="torch (==2.10.0)")  # fmt: skip
    found = checked(site, "torch", "vision")
    (row,) = found.unloadable
    assert (row.package, row.libraries, row.outcome.ok) == ("vision", 1, True)
    assert "undefined symbol: missing_in_torch" in row.unloaded[0]
    wrong = said(found)["compat-vision-libraries"]
    assert isinstance(wrong, Finding)
    assert wrong.title == (
        "vision 0.25.0: _C.so cannot be loaded; it is built for torch 2.10.0, and torch 2.13.0+cpu is installed"
    )
    assert "pip install torch==2.10.0 vision==0.25.0" in wrong.detail
    assert "compat-vision" not in said(found)
    alone = found.model_copy(update={"results": tuple(r for r in found.results if r.package == "vision")})
    assert "vision cannot load all of its native code" in show.verdict(alone)
    table = {r[0]: r for r in show.packages_table(found).rows}
    assert table["vision"][2] == "cannot load _C.so"
    assert "libraries (1 of 2)" in str(table["vision"][3])


def test_one_that_ends_the_process_by_itself_is_not_held_against_the_package(site: Site, shared_object: Make) -> None:
    files = [shared_object("liba", GOOD), shared_object("libb", ENDS), shared_object("libc2", GOOD)]
    site.add("plain", "", *files)
    found = checked(site, "plain")
    assert not found.failed
    (row,) = [r for r in found.results if r.stage == "libraries"]
    assert row.unloaded == ("libb.so: loaded by itself, it ended the process",)
    assert (row.libraries, row.untried) == (1, 1)


def test_a_missing_neighbour_is_named_and_no_finding(site: Site, shared_object: Make, tmp_path: Path) -> None:
    import subprocess

    lone, needs = shared_object("libdriver", GOOD), tmp_path / "libgpu.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-x", "c", "-", "-x", "none", "-Wl,--no-as-needed", "-o", str(needs),
                    f"-L{tmp_path}", "-ldriver"], input=GOOD, text=True, check=True)  # fmt: skip
    lone.unlink()
    site.add("gpu", "", needs)
    found = checked(site, "gpu")
    assert not found.unloadable
    (row,) = show.packages_table(found).rows
    assert row[2] == "ok; what needs libdriver.so does not load"


def test_what_was_built_for_another_torch_is_told_even_where_it_ran(site: Site, shared_object: Make) -> None:
    site.add("torch", "", shared_object("libfine", GOOD), version="2.13.0+cpu")
    site.add("audio", "", shared_object("_A", GOOD), version="2.13.0+cu126", needs="torch==2.13.0")
    told = said(checked(site, "torch", "audio"))["compat-audio-mismatch"]
    assert isinstance(told, Finding)
    assert told.title == "audio 2.13.0+cu126 is a build for cu126, and torch 2.13.0+cpu is one for cpu"


@pytest.mark.parametrize(
    ("requirements", "version"),
    [
        (["numpy", "torch (==2.10.0)"], "2.10.0"),
        (["torch==2.6.0+cu124"], "2.6.0+cu124"),
        (["torch>=2.1"], None),
        (["torch==2.1 ; extra == 'all'"], None),
        (["torchvision==0.2"], None),
    ],
)
def test_only_a_pin_says_for_which_torch_it_was_built(requirements: list[str], version: str | None) -> None:
    assert torch_version(requirements) == version


def test_variants_for_an_instruction_set_are_counted_and_not_loaded() -> None:
    names = ("a/_core.so", "a/metrics_avx2.so", "a/tests/_t.so", "a/lib/x86_64_v3/libx.so", "a/_assets.so")
    package = Package(name="a", imports=("a",), shared_objects=tuple(f"/home/tests/avx2/{n}" for n in names))
    assert [Path(p).name for p in triable(package)] == ["_core.so", "_assets.so"]
