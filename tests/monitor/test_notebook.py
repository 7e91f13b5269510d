"""The monitor notebook, its parameters, and what it shows of a recorded hour or ten seconds."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from hwdiag.core.errors import UsageError
from hwdiag.monitor import show
from hwdiag.monitor.steps import Monitor, load, parameters, start
from hwdiag.monitor.study import SAMPLES, Recording
from hwdiag.record import store

pytestmark = pytest.mark.usefixtures("clean_environment")

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "monitor.ipynb"
EXAMPLE = ROOT / "outputs" / "example" / "monitor"


def test_the_committed_outputs_are_the_examples() -> None:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    outputs = [o for c in cells if c.cell_type == "code" for o in c.outputs]
    recording = store.load(EXAMPLE).study("monitor", Recording)
    assert recording is not None
    assert show.verdict(recording.monitored, recording.answers) in "".join(o.get("text", "") for o in outputs)
    assert {m.text for m in recording.monitored.marks} >= {"data", "1 thread", "2 threads", "save"}
    assert recording.monitored.status == 0
    assert (EXAMPLE / SAMPLES).stat().st_size < 200_000
    assert "/" not in " ".join(recording.monitored.command).replace(".venv/bin/python tools/example-training.py", "")


def test_replaying_shows_the_recording_and_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWDIAG_REPLAY", str(ROOT / "outputs" / "example" / "record.json"))
    watched = start(parameters({"In": ["nonsense = 1"]}))
    assert "all CPUs busy" in repr(watched.run())
    figure = watched.over_time().parts[0]
    assert figure is not None
    assert "data:image/svg+xml" in figure.to_html()
    assert "outputs/example/monitor/monitor.parquet" in watched.save()


def test_a_recording_is_walked_through_and_saved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "params").mkdir()
    monkeypatch.setenv("HWDIAG_HOME", str(tmp_path))
    watched = Monitor(load({"hz": 10, "seconds": 0.6}))
    assert "No finding; looked at:" in repr(watched.run()) or "finding" in repr(watched.run())
    assert "of one core" in repr(watched.costs())
    said = watched.save()
    (path,) = (tmp_path / "outputs").rglob(store.FILE)
    assert str(path.relative_to(tmp_path)) in said
    record = store.load(path)
    assert record.study("monitor", Recording) == watched.recording
    assert {SAMPLES, "monitor.svg", store.FILE} == {f.path for f in record.files}


def test_commands_are_given_as_text_or_as_lists() -> None:
    assert load({"command": "python -c 'print(1)'"}).command == ("python", "-c", "print(1)")
    assert load({"command": "[echo, a b]"}).command == ("echo", "a b")
    assert load({"command": ["echo", "a b"]}).command == ("echo", "a b")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"second": 3}, 'did you mean "seconds"'),
        ({"hz": 0.1}, "hz must be at least 1 and at most 10, got 0.1"),
        ({"hz": 11}, "hz must be at least 1 and at most 10, got 11"),
        ({"seconds": -1}, "seconds must be above 0 and at most 1000000, got -1"),
        ({"command": "'"}, "command must be the words of a command, got .*no closing quotation"),
        ({"command": "[]"}, "command must have at least 1 entry, got "),
    ],
)
def test_a_wrong_parameter_is_one_clear_line(given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        load(given)
    assert "\n" not in str(raised.value)
