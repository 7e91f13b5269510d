"""One report per host: the newest study of each topic, each with its date; and what cannot be a record, in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import pytest

from hwdiag.cli import main
from hwdiag.compat.model import Interpreter, Survey
from hwdiag.core.files import EmittedFile
from hwdiag.core.finding import Check, Finding
from hwdiag.core.value import TopicStudy
from hwdiag.diagnose.report_steps import of_host
from hwdiag.process.model import Outcome
from hwdiag.record import store
from hwdiag.record.merge import merged, same_machine
from hwdiag.record.model import Record, Topic
from hwdiag.record.tuning import Tuning, tuning
from tests.record.test_store import make_record

EXAMPLE = Path(__file__).parents[2] / "outputs" / "example" / "dataloader" / "record.json"

pytestmark = pytest.mark.usefixtures("clean_environment")


def day(n: int) -> str:
    return f"2026-11-{n:02}T10:00:00Z"


def one(topic: Topic, n: int, study: TopicStudy, **more: Any) -> Record:
    """A record of one topic, of the nth day, with a finding and a check that say so."""
    said = {"topic": topic, "title": f"{topic} of day {n}"}
    return make_record(
        started_at=day(n), finished_at=day(n), verdict=f"{topic} of day {n}.", studies={topic: study},
        params={topic: {"day": n}},
        findings=(Finding(id=f"{topic}-{n}", severity="note", detail="", **said),),
        checks=(Check(id=f"{topic}-{n}", state="fine", **said),),
        files=(EmittedFile(path="scripts/x.sh", what=f"of {topic}"),), **more,
    )  # fmt: skip


def tune(n: int, **more: Any) -> Record:
    return one("tune", n, Tuning(started_at=day(n), overall_of=(f"w{n}",)), **more)


def compat(n: int, **more: Any) -> Record:
    interpreter = Interpreter(python="/usr/bin/python3", outcome=Outcome(kind="ok"))
    return one("compat", n, Survey(started_at=day(n), seconds=1, interpreter=interpreter), **more)


def test_the_newest_study_of_each_topic_with_what_was_said_of_it() -> None:
    records = {"a/1": tune(1), "a/2": tune(2), "a/3": compat(3), "a/0": compat(1)}
    found = merged(records)
    assert {t: s.started_at for t, s in found.studies.items()} == {"tune": day(2), "compat": day(3)}
    assert tuning(found).overall_of == ("w2",)
    assert {f.id for f in found.findings} == {c.id for c in found.checks} == {"tune-2", "compat-3"}
    assert found.params == {"tune": {"day": 2}, "compat": {"day": 3}}
    assert {f.path for f in found.files} == {"a/2/scripts/x.sh", "a/3/scripts/x.sh"}
    assert found.verdict == "tune of day 2."


def test_only_one_machine_is_merged() -> None:
    first = tune(1)
    clone = first.host.model_copy(update={"cpu": first.host.cpu.model_copy(update={"model": "Another"})})
    assert same_machine(first, compat(2, name="renamed"))
    assert not same_machine(first, compat(2, host=clone))


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "params").mkdir()
    monkeypatch.setenv("HWDIAG_HOME", str(tmp_path))
    return tmp_path


def put(home: Path, place: str, record: Record) -> Path:
    folder = home / "outputs" / place
    folder.mkdir(parents=True)
    return store.save(record, folder)


def test_report_of_a_host_shows_each_study_with_its_date(workshop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    host = tune(1).host
    other = host.model_copy(update={"cpu": host.cpu.model_copy(update={"model": "Another"})})
    put(workshop, "box/1", tune(1, name="box"))
    put(workshop, "box/2", compat(2, name="box"))
    put(workshop, "oldname/3", tune(0, name="oldname"))
    put(workshop, "box/0", compat(1, name="box", host=other))
    (workshop / "outputs" / "box" / "4").mkdir()
    (workshop / "outputs" / "box" / "4" / "record.json").write_text("{")
    assert main(["report", "--host", "box"]) == 0
    said = capsys.readouterr().out
    assert "Will the packages run? (2026-11-02 10:00 UTC)" in said
    assert "left out: box/0: another machine that is called box" in said
    assert "left out: box/4/record.json: is not a record: damaged or not JSON" in said
    html = (workshop / "outputs" / "box.html").read_text()
    assert "The search for a launch: 2026-11-01 10:00 UTC" in html
    assert "Will the packages run?: 2026-11-02 10:00 UTC" in html
    assert main(["report", "--host", "nobody"]) == 2
    assert "no record of nobody" in capsys.readouterr().err
    assert of_host("oldname").record.started_at == day(2)  # the same machine, renamed


def test_the_example_counts_where_it_is_alone(workshop: Path) -> None:
    put(workshop, "example", tune(1, name="box"))
    assert of_host("box").record.started_at == day(1)
    put(workshop, "other/1", tune(3, name="other"))
    assert of_host("other").record.started_at == day(3)


REPORT_EACH = """
import contextlib, io, json, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
from hwdiag.cli import main
for path in sys.argv[1:]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(["report", path])
    print(json.dumps((status, out.getvalue(), err.getvalue())))
"""
"""The verb for each of some paths, in a process that may have 2 GiB."""


def errors_of_reports(paths: Iterable[object]) -> list[str]:
    """Return what the verb says of each path, which must be one line of an error."""
    command = [sys.executable, "-c", REPORT_EACH, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(status, out, err.count("\n")) for status, out, err in said] == [(2, "", 1)] * len(said), said
    return [err for _, _, err in said]


NO_RECORDS = {
    "truncated": (json.dumps(make_record().model_dump(mode="json")).encode()[:-300], "not JSON"),
    "brackets": (b"[" * 200_000, "not JSON"),
    "zeros": (b"\x00" * 100_000, "not JSON"),
    "numbers": (b"[" + b"1," * 1000 + b"1]", "not a record"),
    "newer": (b'{"schema_version": 3, "name": "x"}', "schema version 3; this hwdiag reads up to 2"),
    "text": (b'{"schema_version": 2, "name": 3}', "name: "),
    "host": (b'{"schema_version": 2, "name": "x", "host": []}', "is not a record: "),
    "nan": (b'{"schema_version": 1, "host": {"memory": {"total_bytes": NaN}}}', "is not a record"),
}


def test_what_is_no_record_is_one_line(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.json" for name in NO_RECORDS]
    for path, (content, _) in zip(paths, NO_RECORDS.values(), strict=True):
        path.write_bytes(content)
    for path, (_, why), error in zip(paths, NO_RECORDS.values(), errors_of_reports(paths), strict=True):
        assert str(path) in error
        assert why in error
        assert len(error) < 700


def test_what_is_no_file_is_one_line_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "empty").mkdir()
    expected = {
        tmp_path / "pipe": "not a regular file",
        "/dev/zero": "not a regular file",
        tmp_path / "huge": "larger than 32 MiB",
        tmp_path / "empty": "no record at",
        tmp_path / "none": "no record at",
        "a\x1bb": "no record at",
    }
    for why, error in zip(expected.values(), errors_of_reports(expected), strict=True):
        assert why in error


@pytest.mark.parametrize("topic", get_args(Topic))
@pytest.mark.parametrize("study", [{"started_at": "x", "launches": 3}, {"started_at": 3}, [], "text", {}])
def test_a_study_of_wrong_types_is_one_line(tmp_path: Path, topic: str, study: object) -> None:
    values = json.loads(make_record().model_dump_json())
    path = tmp_path / "record.json"
    path.write_text(json.dumps({**values, "studies": {topic: study}}))
    assert main(["report", str(path)]) in (0, 2)  # a study of a search may be empty


def test_values_that_do_not_fit_together_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Steps of a search that name plans which are not there."""
    values = json.loads(EXAMPLE.read_text())
    values["studies"]["dataloader"]["plans"] = []
    path = tmp_path / "record.json"
    path.write_text(json.dumps(values))
    assert main(["report", str(path)]) == 2
    said = capsys.readouterr().err
    assert "studies.dataloader cannot be shown: its values do not fit together" in said
    assert len(said.splitlines()) == 1
