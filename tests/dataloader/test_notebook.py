"""The input-pipeline notebook, its parameters, the run that it walks through, and the verb."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import nbformat
import pytest
import yaml

from hwdiag.cli import main
from hwdiag.core.errors import UsageError
from hwdiag.dataloader import steps
from hwdiag.dataloader.model import Feed
from hwdiag.dataloader.rules import verdict
from hwdiag.dataloader.steps import load, parameters, start
from hwdiag.record import store

pytestmark = pytest.mark.usefixtures("clean_environment")

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "dataloader.ipynb"
EXAMPLE = ROOT / "outputs" / "example" / "dataloader" / store.FILE


def read(path: Path) -> Feed:
    """The study in a record."""
    study = store.load(path).study("dataloader", Feed)
    assert study is not None
    return study


def test_the_committed_outputs_are_the_examples() -> None:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    outputs = [o for c in cells if c.cell_type == "code" for o in c.outputs]
    assert verdict(read(EXAMPLE)) in "".join(o.get("text", "") for o in outputs)


def test_replaying_shows_the_record_and_writes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWDIAG_REPLAY", str(EXAMPLE.parents[1] / "record.json"))
    run = start(parameters({"In": ["nonsense = 1"]}))
    found = read(EXAMPLE)
    assert found.storage.kind in run.storage().verdict
    assert "pictures/s on one core" in run.decoding().verdict
    assert verdict(found) in run.search().verdict
    assert run.plan().parts
    assert "DataLoader(" in run.snippet()
    assert run.save().endswith("outputs/example/dataloader/record.json")
    assert Feed.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema_version": 2}', '{"best": 3}'])
def test_a_file_that_is_no_run_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "feeding.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"json( is not|: not) a record"):
        read(path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"data": "x"}, 'did you mean "data_dir"'),
        ({"batch_size": 0}, "batch_size must be at least 1 and at most 65536, got 0"),
        ({"batch_sizes": "16,many"}, "every entry of batch_sizes must be a whole number, got 'many'"),
        ({"batch_sizes": "0"}, "every entry of batch_sizes must be at least 1 and at most 65536, got '0'"),
        ({"step_ms": -1}, "step_ms must be above 0 and at most 3600000, got -1"),
        ({"budget": "long"}, "budget must be quick, standard or thorough, got 'long'"),
        ({"dataset_file": "/nonexistent.py"}, "parameter dataset_file: there is no Python file"),
        ({"data_dir": "/a", "dataset_file": "/b.py"}, "give either a folder as data_dir or a dataset_file"),
    ],
)
def test_a_wrong_parameter_is_one_clear_line(given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        load(given)
    assert "\n" not in str(raised.value)


def test_sizes_as_papermill_gives_them() -> None:
    assert load({"batch_sizes": "[16, 64]"}).batch_sizes == (16, 64)
    assert load({"batch_sizes": "16,64"}).batch_sizes == (16, 64)
    assert load({"batch_sizes": 16}).batch_sizes == (16,)


def test_a_folder_without_pictures_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("nothing to see")
    assert main(["dataloader", "--data", str(tmp_path), "--json"]) == 1
    found = Feed.model_validate(json.loads(capsys.readouterr().out))
    assert found.problem == f"there is no JPEG or PNG picture in {tmp_path}: 1 other files"
    (tmp_path / "empty").mkdir()
    assert main(["dataloader", "--data", str(tmp_path / "empty"), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problem"].endswith("empty: it is empty")
    assert main(["dataloader", "--data", str(tmp_path / "none"), "--json"]) == 1
    assert "there is no folder" in json.loads(capsys.readouterr().out)["problem"]
    assert main(["dataloader", "--python", "/nonexistent/python"]) == 2
    assert main(["dataloader", "--budget", "long"]) == 2


@pytest.mark.long
def test_a_folder_with_a_broken_picture_goes_all_the_way(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A short run on a real folder: the setting, the files, and the picture that was skipped."""
    folder = tmp_path / "set"
    shutil.copytree(pictures, folder)
    victim = sorted(folder.glob("*.jpg"))[2]
    victim.write_bytes(victim.read_bytes()[:1000])
    (tmp_path / "home" / "params").mkdir(parents=True)
    monkeypatch.setenv("HWDIAG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(steps, "folder_name", lambda *_: "here")
    assert (
        main(["dataloader", "--data", str(folder), "--budget", "quick", "--minutes", "0.4", "--batch-size", "8"]) == 0
    )
    said = capsys.readouterr().out
    (out,) = (tmp_path / "home" / "outputs" / "here").iterdir()
    assert {p.name for p in out.iterdir()} == {store.FILE, "dataloader.yaml", "dataloader.py", "rollout.md"}
    found = read(out)
    assert [b.path for b in found.broken] == [str(victim)]
    assert str(victim) in said
    assert verdict(found) in said
    assert found.best is not None
    assert found.best.samples_s > 0
    assert found.footprint is not None
    assert any(t.phase == "screen" for t in found.trials)
    values = yaml.safe_load((out / "dataloader.yaml").read_text())
    assert values["training"]["arguments"]["batch_size"] == 8
