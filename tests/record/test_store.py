"""Records are whole or not there; what is read back is what was written; strangers' files are refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hwdiag.core.errors import HwdiagError, UsageError
from hwdiag.core.files import EmittedFile
from hwdiag.diagnose.topics import TOPICS
from hwdiag.host.identity import identity_of
from hwdiag.record import store
from hwdiag.record.model import Record
from hwdiag.record.tuning import Tuning, tuning
from tests.conftest import make_host, make_software


def make_record(**more: object) -> Record:
    values = {
        "name": "testbox",
        "started_at": "2026-11-20T10:00:00Z",
        "finished_at": "2026-11-20T10:05:00Z",
        "versions": {"hwdiag": "0.1.0"},
        "params": {"tune": {"host": "auto"}},
        "verdict": "Keep what you have.",
        "host": make_host(),
        "software": make_software(),
        "complete": True,
    }
    return Record.model_validate({**values, **more})


def load_wholly(path: Path) -> Record:
    """The record, with each of its studies read."""
    record = store.load(path)
    tuning(record)
    for topic, shown in TOPICS.items():
        record.study(topic, shown.kind)
    return record


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    record = make_record(studies={"tune": Tuning(started_at="2026-11-20T10:00:00Z", overall_of=("gpt2",))})
    again = store.load(store.save(record, tmp_path))
    assert again.model_dump(mode="json") == record.model_dump(mode="json")
    assert tuning(again) == tuning(record)
    assert store.load(tmp_path).model_dump(mode="json") == record.model_dump(mode="json")
    assert again.identity == identity_of(record.host)
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


def test_complete_is_the_last_word_in_the_file(tmp_path: Path) -> None:
    text = store.save(make_record(), tmp_path).read_text()
    assert text.split(",")[-1].split() == ['"complete":', "true", "}"]


def test_a_record_that_was_not_finished_is_refused(tmp_path: Path) -> None:
    store.save(make_record(complete=False), tmp_path)
    with pytest.raises(UsageError, match="not written to its end"):
        store.load(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[]", "record.json: not a record"),
        ("{}", "record.json: not a record"),
        ('{"schema_version": true}', "record.json: not a record"),
        ('{"schema_version": 99}', "schema version 99; this hwdiag reads up to 2"),
        ('{"schema_version": 2}', "is not a record: name: Field required"),
        ('{"schema_version": 1}', "is not a record: name: Field required"),
        ("[" * 200_000, "not JSON"),
        ("\x00" * 1000, "not JSON"),
        ('{"devices": 3, "launches": []}', "studies.devices"),
        ('{"interpreter": [], "seconds": "x"}', "studies.compat"),
        ("\x00\xff", "not JSON"),
    ],
)
def test_what_is_no_record_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UsageError, match=message) as raised:
        load_wholly(path)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 600


def test_a_missing_record_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no record at .*: No such file"):
        store.load(tmp_path / "none.json")


def test_unknown_fields_and_paths_that_leave_the_folder_are_refused(tmp_path: Path) -> None:
    values = json.loads(make_record().model_dump_json())
    path = tmp_path / "record.json"
    path.write_text(json.dumps({**values, "extra": 1}))
    with pytest.raises(UsageError, match="extra"):
        store.load(path)
    for evil in ("../x", "/etc/passwd", "a/../../b", "a//b", ".hidden"):
        with pytest.raises(ValueError, match="path"):
            EmittedFile(path=evil, what="")


def test_a_full_disk_leaves_the_old_record_and_no_rubbish(tmp_path: Path) -> None:
    """A real failed write: the child may not write files of more than a few bytes."""
    store.save(make_record(verdict="old"), tmp_path)
    code = (
        "import resource, sys, pathlib; from hwdiag.record import store\n"
        f"record = store.load(pathlib.Path({str(tmp_path)!r}))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        f"store.save(record.model_copy(update={{'verdict': 'new'}}), pathlib.Path({str(tmp_path)!r}))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "HwdiagError: the record could not be written" in done.stderr
    assert store.load(tmp_path).verdict == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


def test_run_folders_never_collide(tmp_path: Path) -> None:
    made = {store.create_folder(tmp_path, "box", "2026-11-20T10:00:00Z").name for _ in range(3)}
    assert made == {"20261120T100000Z", "20261120T100000Z-2", "20261120T100000Z-3"}


def test_an_output_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HwdiagError, match=r"cannot write to .*file/box: Not a directory"):
        store.require_writable(tmp_path / "file" / "box")
    with pytest.raises(HwdiagError, match=r"cannot write to .*file/box: Not a directory"):
        store.create_folder(tmp_path / "file", "box", "2026-11-20T10:00:00Z")
    store.require_writable(tmp_path / "box")
    assert not list((tmp_path / "box").iterdir())


@pytest.mark.parametrize(
    ("hostname", "folder"),
    [("box.example.org", "box-example-org"), ("../../etc", "etc"), ("", "unnamed"), ("-", "unnamed")],
)
def test_host_names_are_made_safe_as_folders(hostname: str, folder: str) -> None:
    assert store.folder_name("auto", hostname) == folder
    assert store.folder_name("dgx", hostname) == "dgx"


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "outputs").symlink_to(tmp_path / "gone")
    with pytest.raises(HwdiagError, match=r"outputs/box: .*outputs is a link that leads nowhere"):
        store.create_folder(tmp_path / "outputs", "box", "2026-11-20T10:00:00Z")


FULL = """
import resource, sys, pathlib
from hwdiag.core.errors import HwdiagError
from hwdiag.core.files import File
from hwdiag.core.verbs import write
from hwdiag.record import store
folder = pathlib.Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
for step in (
    lambda: store.require_writable(folder),
    lambda: store.write_file(folder, File(path="apply.sh", text="x" * 4000, what="", executable=True)),
    lambda: write(folder / "report.html", "x" * 4000),
):
    try:
        step()
        print("written")
    except HwdiagError as error:
        print(error)
"""


def test_a_full_disk_is_found_before_measuring_and_leaves_no_cut_file(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old")
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True)
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
        f"cannot write to {tmp_path}",
        f"cannot write {tmp_path / 'apply.sh'}",
        f"cannot write {tmp_path / 'report.html'}",
    ]
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("report.html", "old")]
