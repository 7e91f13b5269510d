"""Many files that several processes read."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hwdiag.record import index, reading

EXAMPLE = Path(__file__).parents[2] / "outputs" / "example"


def test_many_files_are_read_by_processes_and_what_kills_one_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others of its piece are read again, one at a time."""
    monkeypatch.setattr(index, "MANY", 2)
    monkeypatch.setattr(reading, "PIECE", 3)
    for i in range(7):
        (tmp_path / str(i)).mkdir()
        shutil.copy(EXAMPLE / "audit" / "record.json", tmp_path / str(i))
    (tmp_path / "3" / "record.json").write_text("DIES")
    (tmp_path / "sitecustomize.py").write_text(
        "import os, hwdiag.core.outside as o\n"
        "real = o.read_file\n"
        "def read(path, most):\n"
        "    data = real(path, most)\n"
        "    return os.abort() if data == b'DIES' else data\n"
        "o.read_file = read\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    table = index.build_index([str(tmp_path)])
    assert len(list(index.rows(table))) == 6
    assert [r.why for r in index.refused(table)] == ["the process that read it was killed, as by a lack of memory"]
