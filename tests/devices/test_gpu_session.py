"""The session with a real GPU is prepared: each of its steps runs, and its table judges what they leave."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu_session
from tests.simulation.device import START

EXAMPLE = Path(__file__).parents[2] / "outputs" / "example" / "devices" / "record.json"


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a session writes of which each command ends well, and ``devices`` leaves the example's record."""

    def ran(self: gpu_session.Session, name: str, *_: object, **env: str) -> str:
        if home := env.get("HWDIAG_HOME"):
            place = Path(home, "outputs", "host", "time", "record.json")
            place.parent.mkdir(parents=True)
            shutil.copyfile(EXAMPLE, place)
        self.rows.append(gpu_session.Row(f"{name} ends well", "yes", reached=True))
        return ""

    monkeypatch.setattr(gpu_session.Session, "ran", ran)
    for step in ("assertion", "hidden", "sustained"):
        monkeypatch.setattr(gpu_session, step, lambda _: None)
    return tmp_path / "session"


def table(folder: Path) -> dict[str, str]:
    """What the archive's table says of each target."""
    with tarfile.open(folder.with_suffix(".tar.gz")) as archive:
        file = archive.extractfile(f"{folder.name}/table.txt")
        assert file is not None
        rows = [line.split("  ") for line in file.read().decode().splitlines()[3:]]
    return {row[0].strip(): row[-1].strip() for row in rows}


def test_what_devices_found_is_read_from_its_record(session: Path) -> None:
    """It was looked for in what the command prints, where it never was."""
    gpu_session.main(["--device", "cpu", "--out", str(session), "--rehearse"])
    found = table(session)
    for budget in ("quick", "standard"):
        assert found[f"devices-{budget}: no outcome without its reason, no wrong result"] == "yes"
        assert found[f"devices-{budget} measures cpu"] == "yes"
        assert (session / f"devices-{budget}" / "outputs" / "host" / "time" / "record.json").exists()


def test_a_step_that_raises_costs_no_other(session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(*_: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(gpu_session, "kernels", raises)
    monkeypatch.setattr(raises, "__name__", "kernels")
    gpu_session.main(["--device", "cpu", "--out", str(session), "--rehearse"])
    found = table(session)
    assert found["kernels"] == "NO"
    assert found["devices-standard ends well"] == "yes"


@pytest.mark.long
def test_the_whole_session_on_a_simulated_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No target is missed; what only a real GPU shows is said to be not seen."""
    monkeypatch.setenv("HWDIAG_SIM_DEVICE", json.dumps({"slowed": 2e4}))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(START), os.environ.get("PYTHONPATH")))))
    folder = tmp_path / "session"
    gpu_session.main(
        ["--python", sys.executable, "--device", "sim:0", "--out", str(folder), "--rehearse", "--seconds", "3000"]
    )
    found = table(folder)
    assert not [target for target, reached in found.items() if reached == "NO"]
    assert [target for target, reached in found.items() if reached == "not seen"] == [
        "CUDA_VISIBLE_DEVICES= hides it, and that is said",
        "burst and sustained, with the clock's reasons",
    ]
