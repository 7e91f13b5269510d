"""The one door for what comes from outside, and what a terminal is given of it."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.mutated_inputs import INPUTS
from benchmarks.mutations import mutate
from hwdiag.core.outside import OutsideError, parse_json, read_file, user_path
from hwdiag.core.printing import PlainOutput, printable
from hwdiag.core.text import one_group
from hwdiag.core.value import Value
from hwdiag.host.cpulist import bounded_lists
from hwdiag.host.model import Host
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.process import command
from hwdiag.process.command import MetricError, last_match
from hwdiag.record.convert import NotARecordError, upgraded


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "damaged or not JSON"),
        ("[" * 200_000, "damaged or not JSON"),
        ("[" * 250 + "]" * 250, "damaged or not JSON"),
        (b'"\xff"', "damaged or not JSON"),
        ('{"a": [' + "1" * 5000 + "]}", "damaged or not JSON"),
        ('{"a": [' + "1" * 400 + "]}", "a number of more than 30 digits in it"),
        ("[NaN]", "damaged or not JSON"),
    ],
)
def test_json_that_is_refused(text: str | bytes, message: str) -> None:
    with pytest.raises(OutsideError, match=f"^{message}$"):
        parse_json(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": ["\\u00e9", 1.5, -3, true, null]}', {"a": ["é", 1.5, -3, True, None]}),
        ('["\\udcff", "\\ud83d\\ude00", "' + "1" * 400 + '"]', ["?", "😀", "1" * 400]),
        ("[" * 150 + "]" * 150, json.loads("[" * 150 + "]" * 150)),
    ],
)
def test_json_that_is_read(text: str, value: object) -> None:
    assert parse_json(text) == value


def test_files_that_are_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(bytes(2049))
    for path, message in (
        (tmp_path / "pipe", "not a regular file"),
        (tmp_path, "not a regular file"),
        ("/dev/zero", "not a regular file"),
        (tmp_path / "large", "larger than 2 KiB"),
        ("a\0b", "no name of a file"),
    ):
        with pytest.raises(OutsideError, match=f"^{message}$"):
            read_file(path, 2048)
    assert read_file(tmp_path / "large", 2049) == bytes(2049)
    for name in ("none", "x" * 300):
        with pytest.raises(OSError, match=name[:20]):
            read_file(tmp_path / name, 2048)


def test_a_person_who_is_not_there_has_no_home() -> None:
    assert str(user_path("~nobody-of-that-name/x")) == "~nobody-of-that-name/x"
    assert str(user_path("~/x")) == os.path.expanduser("~/x")  # noqa: PTH111


class Name(Value):
    name: str


def test_what_is_no_unicode_can_be_written() -> None:
    assert json.loads(Name(name="sd\udcff").model_dump_json(indent=1)) == {"name": "sd?"}


def test_a_terminal_is_given_no_control_characters() -> None:
    text = "a\tb\n\x1b]0;title\x07\x9b2J\r\u202e\udcff é"
    assert printable(text) == "a\tb\n\\x1b]0;title\\x07\\x9b2J\\r\\u202e\\udcff é"
    written = io.BytesIO()
    output = PlainOutput(written, encoding="utf-8")
    assert print("\x1b[31m", end="", file=output, flush=True) is None
    assert written.getvalue() == rb"\x1b[31m"


SHELL = """
ulimit -n 64
for redirection in '>/dev/full' '>&-' '<&- >&- 2>&-'; do
  eval "'{0}' -m hwdiag host --json $redirection"; echo "status $?"
done
HWDIAG_HOME='~nobody-of-that-name/x' '{0}' -m hwdiag run; echo "status $?"
"""


def test_closed_and_full_outputs_and_homes_that_are_not_there() -> None:
    done = subprocess.run(["sh", "-c", SHELL.format(sys.executable)], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["status 1", "status 0", "status 0", "status 2"]
    first, second = done.stderr.splitlines()
    assert first == f"hwdiag: cannot write to standard output: {os.strerror(errno.ENOSPC)}"
    assert second == "hwdiag: HWDIAG_HOME must name a folder, got '~nobody-of-that-name/x'"


@pytest.mark.parametrize(
    ("expression", "text"), [(r"(a+)+$", "a" * 1_000_000 + "b"), (r".*.*.*=([0-9]+)x", "=" * 1_000_000)]
)
def test_an_expression_without_end_is_told(monkeypatch: pytest.MonkeyPatch, expression: str, text: str) -> None:
    monkeypatch.setattr(command, "MATCHING_S", 0.2)
    with pytest.raises(MetricError, match="takes more than"):
        last_match(expression, text)


def test_the_last_match_counts() -> None:
    assert last_match(r"speed: ([0-9.]+)", "speed: 1.5\nspeed: 2.5\n") == "2.5"
    assert last_match(r"speed: ([0-9.]+)", "none") is None


def test_an_expression_that_fills_the_memory_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 10000 times"):
        one_group("(?:(?:(a{1000}){1000}){1000})")
    assert one_group("(a{100})") == "(a{100})"


@pytest.mark.parametrize("how", ["list", "map"])
def test_nodes_that_name_all_cpus_again_and_again_are_bounded(tmp_path: Path, how: str) -> None:
    files = {"cpulist": "0-{}\n", "cpumap": "f" * 16383 + "{:x}\n"}
    (tmp_path / "sys/devices/system/cpu").mkdir(parents=True)
    (tmp_path / "sys/devices/system/cpu/online").write_text("0-65535\n")
    for node in range(80):
        folder = tmp_path / f"sys/devices/system/node/node{node}"
        folder.mkdir(parents=True)
        name = {"list": "cpulist", "map": "cpumap"}[how]
        (folder / name).write_text(files[name].format(65000 + node if how == "list" else node % 16))
    host = read_host(Root.directory(tmp_path))
    assert any("entries together" in g.why for g in host.gaps)
    assert sum(len(node.cpus) for node in host.numa) <= 64 * 65536
    with bounded_lists(), pytest.raises(ValueError, match="entries together"):
        Host.model_validate_json(
            '{"read_at": "x", "system": {"hostname": "x", "arch": "x"}, "cpu": {}, "memory": {}, "numa": ['
            + ", ".join('{"id": 1, "cpus": "0-65535"}' for _ in range(70))
            + "]}"
        )


def test_names_that_are_no_text_are_left_out(tmp_path: Path) -> None:
    for name in ("sda", os.fsdecode(b"sd\xff")):
        (tmp_path / "sys/block" / name).mkdir(parents=True)
    host = read_host(Root.directory(tmp_path))
    assert ([d.name for d in host.disks], [g.what for g in host.gaps]) == (["sda"], ["/sys/block"])
    assert host.model_dump_json()


def test_an_older_record_that_is_damaged_is_refused() -> None:
    old = {"schema_version": 1, "monitored": True, "findings": True}
    with pytest.raises(NotARecordError, match="damaged"):
        upgraded(old, ("x",))


@pytest.mark.parametrize("name", [*INPUTS])
def test_mutations_are_read_or_refused_in_a_line(name: str) -> None:
    """A sample of ``python -m benchmarks.mutations``, in forked children."""
    assert mutate(name, 4, 7).faults == []
