"""The notebooks as people use them, in JupyterLab: menus, the stop button, a wrong value, a replay, light and dark."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hwdiag.report.widgets import GRACE_S, WAITS
from hwdiag.workbook.params import NOTEBOOKS
from tests.browser.lab import ROOT, errors_of, running_lab

pytestmark = [pytest.mark.browser, pytest.mark.long, pytest.mark.usefixtures("clean_environment")]

EXAMPLE = ROOT / "outputs" / "example" / "record.json"
INTERRUPTED = ["hwdiag: interrupted; nothing is left running"]


def test_menus_act_on_the_first_run_and_the_stop_button_gives_one_line(tmp_path: Path) -> None:
    with running_lab(tmp_path, HWDIAG_MINUTES="2") as lab:
        page = lab.page
        lab.open("diagnose")
        lab.run_all()
        page.wait_for_selector(".widget-dropdown select", timeout=60_000)
        menus = page.locator(".widget-dropdown select")
        page.wait_for_timeout(1500)
        assert menus.nth(0).is_visible()
        assert page.locator("text=Starts in").is_visible(), "who runs all cells sees that the run waits"
        menus.nth(0).select_option("dgx")
        menus.nth(1).select_option("quick")
        page.wait_for_timeout(1000 * GRACE_S)
        assert page.locator(f"text={WAITS}").is_visible(), "after a first choice it waits for the button"
        page.click("button.jupyter-button >> text=Start")
        page.wait_for_selector("text=Running.", timeout=10_000)
        page.wait_for_timeout(20_000)
        lab.interrupt()
        cells = lab.wait_idle("diagnose", 60)
        page.screenshot(path=tmp_path / "interrupted.png")
        (error,) = errors_of(cells)
        assert (error["ename"], error["traceback"]) == ("KeyboardInterrupt", INTERRUPTED)
        assert cells[-1]["execution_count"] is None, "nothing runs on"
        outputs = tmp_path / "outputs"
        assert not (outputs / "dgx").exists(), "a profile that is only compared with names no folder"
        assert [p.name for p in outputs.iterdir() if p.is_dir()] != []


def test_after_a_wrong_value_nothing_runs_on(tmp_path: Path) -> None:
    with running_lab(tmp_path, HWDIAG_HZ="fast") as lab:
        lab.open("monitor")
        lab.run_all()
        cells = lab.wait_idle("monitor", 60)
        (error,) = errors_of(cells)
        assert len(error["traceback"]) == 1
        assert "must be a number" in error["traceback"][0]
        assert [bool(c["execution_count"]) for c in cells[:3]] == [True, True, False]


@pytest.mark.parametrize(("theme", "width"), [("dark", 1200), ("light", 500)])
def test_every_notebook_shows_a_record(tmp_path: Path, theme: str, width: int) -> None:
    """Pictures of all of them stand in the test's folder, to be looked at."""
    before = {p: p.read_bytes() for p in (ROOT / "notebooks").glob("*.ipynb")}
    with running_lab(tmp_path, theme, width, HWDIAG_REPLAY=str(EXAMPLE)) as lab:
        for name in NOTEBOOKS if theme == "dark" else ("diagnose", "monitor"):
            lab.open(name)
            lab.run_all()
            cells = lab.wait_idle(name, 120)
            assert (name, errors_of(cells)) == (name, [])
            assert all(c["execution_count"] and (c["outputs"] or "=" in "".join(c["source"])) for c in cells), name
            assert lab.page.locator(".widget-dropdown").count() == 0, "a replay has nothing to choose"
            lab.page.screenshot(path=tmp_path / f"{name}-{theme}-{width}.png")
            background = lab.page.evaluate("getComputedStyle(document.body).getPropertyValue('--jp-layout-color0')")
            assert ("11" in background) == (theme == "dark"), json.dumps(background)
    assert before == {p: p.read_bytes() for p in before}
