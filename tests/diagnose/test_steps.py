"""The notebook: run by papermill as its users do, and the small things its cells call."""

from __future__ import annotations

import asyncio
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest

from hwdiag.core.errors import UsageError
from hwdiag.core.home import home
from hwdiag.diagnose.steps import parameters, start
from hwdiag.diagnose.summary import MIME
from hwdiag.parameters.diagnosis import load
from hwdiag.record import store
from hwdiag.record.tuning import tuning
from hwdiag.workbook.cells import assigned_names, given_parameters, one_line_interrupts

pytestmark = pytest.mark.usefixtures("clean_environment")

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "diagnose.ipynb"
EXAMPLE = ROOT / "outputs" / "example" / "record.json"


def code_cells() -> list[str]:
    return [c.source for c in nbformat.read(NOTEBOOK, as_version=4).cells if c.cell_type == "code"]


def test_cells_are_few_short_and_hold_no_logic() -> None:
    lengths = sorted(len([line for line in source.splitlines() if line.strip()]) for source in code_cells()[1:])
    assert 10 <= len(lengths) <= 20
    assert lengths[len(lengths) // 2] <= 3
    assert max(lengths) <= 8
    code = [re.sub(r"#.*", "", source) for source in code_cells()]
    assert not any(word in source for source in code for word in ("def ", "class ", "for ", "if "))


def test_the_committed_notebook_runs_anywhere_and_shows_the_example() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert notebook.metadata.kernelspec.name == "python3"
    outputs = [o for c in notebook.cells if c.cell_type == "code" for o in c.outputs]
    assert not [o for o in outputs if o.output_type == "error"]
    summary = next(o.data[MIME] for o in outputs if MIME in o.get("data", {}))
    assert summary["verdict"] == store.load(EXAMPLE).verdict
    assert all(c.execution_count for c in notebook.cells if c.cell_type == "code")


def test_the_report_of_the_example_is_the_records() -> None:
    """Whoever changes the report's looks draws the example again: hwdiag report outputs/example."""
    from hwdiag.diagnose.report import render_report

    drawn, stored = render_report(store.load(EXAMPLE)), EXAMPLE.with_name("report.html").read_text()
    # As with the notebook's outputs: a figure's pixels depend on the libraries' versions, its words do not.
    assert without_pixels(drawn) == without_pixels(stored)


def test_the_example_says_what_todays_rules_say() -> None:
    """Whoever changes a rule lets it speak again: python tools/example-again.py."""
    said_again = runpy.run_path(str(ROOT / "tools" / "example-again.py"))["said_again"]
    for path in (EXAMPLE, *EXAMPLE.parent.glob("*/record.json")):
        record = store.load(path)
        if path.parent.name != "earlier":
            said = said_again(record, path.parent)
            again = record.model_copy(update=said).model_dump(mode="json")
            stored = record.model_dump(mode="json")
            assert {name: stored[name] for name in said} == {name: again[name] for name in said}, path


def without_pixels(page: str) -> str:
    return re.sub(r"data:image/svg\+xml;base64,[A-Za-z0-9+/=]+", "FIGURE", page)


def run_papermill(folder: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "papermill", *args, "--no-progress-bar"]
    return subprocess.run(command, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True, timeout=240)


@pytest.mark.slow
def test_the_commands_that_users_type(tmp_path: Path) -> None:
    """From the root and from notebooks/, live, on a small part of the work; the profile does not fit this machine."""
    home_here = tmp_path / "checkout"
    for name in ("params", "notebooks"):
        shutil.copytree(ROOT / name, home_here / name)
    (home_here / "outputs").mkdir()
    small = {
        "HWDIAG_HOME": str(home_here),
        "HWDIAG_BUDGET": "quick",
        "HWDIAG_WORKLOADS": "triad",
        "HWDIAG_THREADS": "1",
        "HWDIAG_MINUTES": "0.5",
    }
    done = run_papermill(home_here, "notebooks/diagnose.ipynb", "outputs/dgx.ipynb", "-p", "host", "dgx", **small)
    assert done.returncode == 0, done.stderr
    (path,) = (home_here / "outputs" / "dgx").glob("*/record.json")
    record = store.load(path)
    assert [w.name for w in tuning(record).workloads] == ["triad"]
    assert "unexpected-gpu" in {f.id for f in record.findings}
    assert {f.path for f in record.files} >= {"report.html", "record.json", "scripts/launch.sh", "figures/topology.svg"}
    assert all((path.parent / f.path).is_file() for f in record.files)

    replay = {"HWDIAG_HOME": str(home_here), "HWDIAG_REPLAY": str(path)}
    done = run_papermill(home_here / "notebooks", "diagnose.ipynb", "out.ipynb", "-p", "host", "dgx", **replay)
    assert done.returncode == 0, done.stderr
    last = nbformat.read(home_here / "notebooks" / "out.ipynb", as_version=4).cells[-1]
    assert last.outputs[0].data[MIME]["verdict"] == record.verdict


def test_a_wrong_parameter_fails_the_notebook_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(papermill.PapermillExecutionError) as caught:
        papermill.execute_notebook(NOTEBOOK, tmp_path / "out.ipynb", parameters={"thraeds": 4}, progress_bar=False)
    assert caught.value.ename == "UsageError"
    assert 'did you mean "threads"?' in caught.value.evalue
    assert caught.value.traceback == [f"hwdiag: {caught.value.evalue}"]


def test_nothing_measured_fails_the_notebook_but_keeps_the_facts(
    tmp_path: Path, python_without_torch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(ROOT / "params", tmp_path / "home" / "params")
    monkeypatch.setenv("HWDIAG_HOME", str(tmp_path / "home"))
    with pytest.raises(papermill.PapermillExecutionError, match="Nothing could be measured: torch cannot be imported"):
        papermill.execute_notebook(
            NOTEBOOK, tmp_path / "out.ipynb", parameters={"python": python_without_torch}, progress_bar=False
        )
    (path,) = (tmp_path / "home" / "outputs").glob("*/*/record.json")
    assert store.load(path).findings[0].id == "torch-does-not-run"


def test_a_snapshot_goes_through_the_notebook_without_a_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hwdiag.host.snapshot import make_snapshot

    shutil.copytree(ROOT / "params", tmp_path / "home" / "params")
    monkeypatch.setenv("HWDIAG_HOME", str(tmp_path / "home"))
    make_snapshot(tmp_path / "elsewhere.tar.gz")
    papermill.execute_notebook(
        NOTEBOOK,
        tmp_path / "out.ipynb",
        parameters={"snapshot": str(tmp_path / "elsewhere.tar.gz")},
        progress_bar=False,
    )
    (path,) = (tmp_path / "home" / "outputs" / "elsewhere").glob("*/record.json")
    record = store.load(path)
    assert (record.host.source, tuning(record).measurements, record.software.outcome.kind) == (
        "snapshot",
        (),
        "not-started",
    )
    text = (tmp_path / "out.ipynb").read_text()
    assert "Which PyTorch runs there is not known: not measured on this machine." in text


def test_only_cells_of_assignments_are_parameters() -> None:
    assert list(assigned_names('host: str = "auto"  # help\nbudget = None')) == ["host", "budget"]
    assert list(assigned_names("x = 1\nprint(x)")) == []
    assert list(assigned_names("%matplotlib inline\nx = 1")) == []


def test_injected_values_win_and_unknown_names_are_refused() -> None:
    cells = ["", 'host: str = "auto"\nbudget: str = None', '# Parameters\nhost = "dgx"\n', "import hwdiag"]
    assert given_parameters({"In": cells, "host": "dgx", "budget": None}) == {"host": "dgx", "budget": None}
    with pytest.raises(UsageError, match="did you mean"):
        parameters({"In": ["# Parameters\nbugdet = None"], "bugdet": None})


def test_what_the_notebooks_own_cell_leaves_open_is_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWDIAG_HOST", "dgx")
    cell, values = code_cells()[0], {}
    exec(cell, values)
    assert parameters({**values, "In": [cell]}).profile.host == "dgx"
    cell += '\nhost = "datacenter"'  # papermill's own comes later
    assert parameters({**values, "In": [cell], "host": "datacenter"}).profile.host == "datacenter"


def test_widgets_appear_only_where_somebody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    from hwdiag.report import widgets

    shown: list[object] = []
    monkeypatch.setattr(widgets, "show_now", shown.append)
    chooser = widgets.ProfileChooser(load({}), ["auto", "dgx"], load)
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    chooser._ipython_display_()
    assert "Parameters" in str(shown.pop())

    monkeypatch.setenv("JPY_SESSION_NAME", "x.ipynb")
    chooser._ipython_display_()
    (box,) = shown
    (host, budget, _), note, table = box.children[0].children, *box.children[1:]  # type: ignore[attr-defined]
    assert note.value == widgets.ORDER
    host.value = "dgx"
    assert note.value == widgets.AGAIN, "the run below did not have it"
    budget.value = "quick"
    assert (chooser.chosen().host, chooser.chosen().budget) == ("dgx", "quick")
    assert "DGX Spark" in table.value
    chooser._ipython_display_()
    assert "Chosen in the menus: dgx and quick." in shown[-1].children[1].value  # type: ignore[attr-defined]


def test_nothing_runs_on_after_a_wrong_choice_and_a_replay_has_no_menus(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty list of profiles crashed the menus, and a wrong choice left the one before it in force."""
    from hwdiag.report import widgets

    shown: list[object] = []
    monkeypatch.setattr(widgets, "show_now", shown.append)
    monkeypatch.setenv("JPY_SESSION_NAME", "x.ipynb")
    monkeypatch.setenv("HWDIAG_REPLAY", str(EXAMPLE))
    parameters({})._ipython_display_()
    assert "Parameters" in str(shown.pop())
    monkeypatch.delenv("HWDIAG_REPLAY")

    chooser = widgets.ProfileChooser(load({}), ["auto", "gone"], load)
    chooser._ipython_display_()
    host = shown[-1].children[0].children[0]  # type: ignore[attr-defined]
    host.value = "gone"
    with pytest.raises(UsageError, match="no host profile 'gone'"):
        start(chooser)
    host.value = "auto"
    assert chooser.chosen().host == "auto"


def test_the_stop_button_gives_one_line() -> None:
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output

    shell = InteractiveShell.instance()
    try:
        one_line_interrupts()
        with capture_output() as said:
            done = shell.run_cell(
                "def deep(n): deep(n - 1) if n else (_ for _ in ()).throw(KeyboardInterrupt())\ndeep(9)"
            )
        assert isinstance(done.error_in_exec, KeyboardInterrupt)
        assert said.stdout.splitlines() == ["hwdiag: interrupted; nothing is left running"]
    finally:
        InteractiveShell.clear_instance()


def test_a_choice_in_the_menus_outlives_running_the_cell_again() -> None:
    namespace: dict[str, object] = {"In": ['host: str = "auto"'], "host": "auto"}
    namespace["choice"] = chooser = parameters(namespace)
    chooser.profile = load({"budget": "quick"})
    assert parameters(namespace) is chooser
    assert parameters({**namespace, "host": "dgx"}).profile.host == "dgx"


def test_recommendations_are_chosen_by_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    from hwdiag.core.finding import Recommendation
    from hwdiag.report import widgets
    from tests.record.test_store import make_record

    shown: list[object] = []
    monkeypatch.setattr(widgets, "show_now", shown.append)
    monkeypatch.setenv("JPY_SESSION_NAME", "x.ipynb")
    better = Recommendation(id="launch-gpt2", scope="gpt2", plan="threads=1", title="1 thread", why="faster")
    kept = Recommendation(id="launch-overall", scope="overall", plan=None, title="keep", why="same")
    chooser = widgets.EmitChooser(make_record(recommendations=(kept, better)))
    chooser._ipython_display_()
    box, note = shown[0].children  # type: ignore[attr-defined]
    assert (chooser.chosen, box.description) == ({"launch-gpt2"}, "1 thread")
    box.value = False
    assert chooser.chosen == set()
    written: list[set[str]] = []
    assert chooser.write(lambda chosen: written.append(set(chosen)) or "summary") == "summary"
    box.value = True
    assert written == [set(), {"launch-gpt2"}], "a box that is ticked later writes again"
    assert note.value == "Written again, with 1 recommendation."


def test_a_run_waits_for_the_menus_and_then_for_the_button(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells that run all at once had passed the menus before anybody could choose."""
    from hwdiag.report import widgets

    shown: list[Any] = []
    monkeypatch.setattr(widgets, "show_now", shown.append)
    monkeypatch.setattr(widgets, "LOOK_S", 0.01)
    monkeypatch.setattr(widgets, "GRACE_S", 0.1)
    monkeypatch.setenv("JPY_SESSION_NAME", "x.ipynb")
    chooser = widgets.ProfileChooser(load({}), ["auto", "dgx"], load)
    asyncio.run(chooser.wait())  # no menus, no wait
    chooser._ipython_display_()
    (host, budget, button), note, _ = shown[-1].children[0].children, *shown[-1].children[1:]
    asyncio.run(chooser.wait())
    assert note.value.startswith("Running.")
    assert not chooser.compares_only

    chooser._ipython_display_()
    (host, budget, button), note, _ = shown[-1].children[0].children, *shown[-1].children[1:]
    waits = threading.Thread(target=lambda: asyncio.run(chooser.wait()))
    monkeypatch.setattr(widgets, "GRACE_S", 30)
    waits.start()
    while not chooser._waiting:
        time.sleep(0.01)
    budget.value = "quick"
    host.value = "dgx"
    time.sleep(0.2)
    assert waits.is_alive(), "after a first choice there may be another"
    assert note.value.startswith(widgets.WAITS)
    button.click()
    waits.join(timeout=5)
    assert not waits.is_alive()
    assert (chooser.chosen().budget, chooser.compares_only) == ("quick", True)


def test_the_summary_is_machine_readable_in_the_notebook() -> None:
    outputs = [o for c in nbformat.read(NOTEBOOK, as_version=4).cells if c.cell_type == "code" for o in c.outputs]
    bundle = next(o.data for o in outputs if MIME in o.get("data", {}))
    assert json.loads(json.dumps(bundle[MIME]))["report"].endswith("report.html")
    assert bundle[MIME]["report"] in bundle["text/plain"]
    assert home().joinpath(bundle[MIME]["report"]).is_file()
