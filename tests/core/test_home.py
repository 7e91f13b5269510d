"""Where outputs go, and which notebooks and profiles are used: in a checkout, and in a package outside of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwdiag.cli.init_workbook import lay_out
from hwdiag.core import home as module
from hwdiag.core.errors import HwdiagError
from hwdiag.core.home import SHIPPED, home, notebook, profiles

pytestmark = pytest.mark.usefixtures("clean_environment")
ROOT = Path(__file__).parents[2]


def test_a_checkout_is_its_own_home_wherever_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert home() == ROOT
    assert notebook("audit") == ROOT / "notebooks" / "audit.ipynb"
    assert profiles()["dgx"] == ROOT / "params" / "dgx.yaml"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Outside a checkout: an empty present folder."""
    monkeypatch.setattr(module, "is_checkout", lambda: False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_package_writes_below_the_present_folder_and_has_notebooks_and_profiles(package: Path) -> None:
    assert home() == package
    assert notebook("audit") == SHIPPED / "notebooks" / "audit.ipynb"
    assert profiles()["dgx"] == SHIPPED / "params" / "dgx.yaml"


def test_a_workbook_that_was_laid_out_is_used_from_its_notebooks_too(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, kept = lay_out(package / "my book")
    assert {str(p.relative_to(package / "my book")) for p in written} >= {"notebooks/audit.ipynb", "params/auto.yaml"}
    assert kept == []
    assert all(p.is_file() and not p.is_symlink() for p in written)
    for folder in ("my book", "my book/notebooks"):
        monkeypatch.chdir(package / folder)
        assert home() == package / "my book"
    assert notebook("audit") == package / "my book" / "notebooks" / "audit.ipynb"


def test_laying_out_again_leaves_what_was_edited(package: Path) -> None:
    lay_out(package)
    edited, lost = package / "params" / "auto.yaml", package / "params" / "dgx.yaml"
    edited.write_text("budget: quick\n")
    lost.unlink()
    written, kept = lay_out(package)
    assert written == [lost]
    assert edited in kept
    assert edited.read_text() == "budget: quick\n"


def test_a_place_that_cannot_be_written_is_told_in_a_line(package: Path) -> None:
    (package / "file").touch()
    with pytest.raises(HwdiagError, match=r"cannot write .*file/notebooks/audit.ipynb: (Not a directory|File exists)"):
        lay_out(package / "file")
