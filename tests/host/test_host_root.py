"""The door itself: what it refuses, what it remembers."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from hwdiag.host import Root, read_host
from hwdiag.host.root import MAX_GAPS

from .conftest import MakeTree, small_machine


def gaps(root: Root) -> dict[str, str]:
    return {g.what: g.why for g in root.gaps}


def test_missing_is_none_and_normal(tree: MakeTree) -> None:
    root = tree({"/proc/cpuinfo": ""})
    assert root.text("/proc/meminfo") is None
    assert root.integer("/proc/cpuinfo/inside/a/file") is None
    assert root.names("/sys") == ()
    assert root.link("/proc/cpuinfo") is None
    assert root.gaps == ()


def test_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotADirectoryError, match="nowhere"):
        Root.directory(tmp_path / "nowhere")


def test_values(tree: MakeTree) -> None:
    root = tree(
        {
            "/n": " 42\n",
            "/list": "0-2,8\n",
            "/empty": "\n",
            "/mask": "00000001,00000003\n",
            "/tree": "NVIDIA Jetson\0",
            "/sys/node10/x": "",
            "/sys/node2/x": "",
            "/sys/nodes/x": "",
        }
    )
    assert root.integer("/n") == 42
    assert root.cpulist("/list") == (0, 1, 2, 8)
    assert root.cpulist("/empty") == ()
    assert root.cpumask("/mask") == (0, 1, 32)
    assert root.word("/tree") == "NVIDIA Jetson"
    assert root.word("/empty") is None
    assert root.ids("/sys", "node") == (2, 10)
    assert root.names("/sys") == ("node10", "node2", "nodes")
    assert root.gaps == ()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"a\0b", "binary data where text was expected"),
        (b"\xff\xfe", "not UTF-8 text"),
        (b"x" * (1 << 20) + b"y", f"larger than {1 << 20} bytes"),
    ],
)
def test_unreadable_text_is_a_gap(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "f").write_bytes(content)
    root = Root.directory(tmp_path)
    assert root.text("/f") is None
    assert gaps(root) == {"/f": why}


def test_wrong_values_are_gaps(tree: MakeTree) -> None:
    root = tree({"/n": "abc\n", "/list": "5-2\n", "/mask": "xyz\n"})
    assert root.integer("/n") is None
    assert root.cpulist("/list") is None
    assert root.cpumask("/mask") is None
    assert gaps(root) == {
        "/n": "not a number: 'abc'",
        "/list": "not a CPU list: '5-2'",
        "/mask": "not a CPU mask: 'xyz'",
    }


def test_a_gap_is_told_once_and_gaps_have_an_end(tmp_path: Path) -> None:
    root = Root.directory(tmp_path)
    for i in range(MAX_GAPS + 5):
        root.note(f"/f{i}", "why")
        root.note(f"/f{i}", "why")
    assert len(root.gaps) == MAX_GAPS + 1
    assert root.gaps[-1].what == "further gaps"


def test_permission_denied_is_a_gap(tree: MakeTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests may run as root, who is denied nothing: the system call is made to fail instead."""
    root = tree(small_machine())
    really_open = os.open

    def open_but_not_governors(path: Any, *args: Any, **kwargs: Any) -> int:
        if str(path).endswith("cpu1/cpufreq/scaling_governor"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return really_open(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", open_but_not_governors)
    host = read_host(root)
    assert host.cpu.governor == "powersave"  # of the other CPUs
    assert [(g.what, g.why) for g in host.gaps] == [
        ("/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "permission denied")
    ]


# A dump comes from a stranger


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("7\n")
    folder = tmp_path / "dump"
    (folder / "sys/real").mkdir(parents=True)
    (folder / "sys/real/value").write_text("1\n")
    return folder


@pytest.mark.parametrize("target", ["../../secret", "../../../../../../../../../../etc/passwd", "real/../../../secret"])
def test_links_do_not_leave_the_dump(dump: Path, target: str) -> None:
    (dump / "sys/link").symlink_to(target)
    root = Root.directory(dump)
    assert root.text("/sys/link") is None
    assert gaps(root) == {"/sys/link": "leads out of the dump"}


def test_a_folder_that_is_a_link_does_not_leave_the_dump(dump: Path) -> None:
    (dump / "sys/up").symlink_to("../..")
    root = Root.directory(dump)
    assert root.text("/sys/up/secret") is None
    assert root.names("/sys/up") == ()
    assert not root.exists("/sys/up/secret")
    assert gaps(root)["/sys/up"] == "leads out of the dump"


def test_absolute_links_start_at_the_top_of_the_dump(dump: Path) -> None:
    (dump / "sys/inside").symlink_to("/sys/real")
    (dump / "sys/outside").symlink_to(dump.parent / "secret")
    root = Root.directory(dump)
    assert root.integer("/sys/inside/value") == 1
    assert root.text("/sys/outside") is None


def test_links_in_a_circle_end(dump: Path) -> None:
    (dump / "sys/a").symlink_to("b")
    (dump / "sys/b").symlink_to("a")
    (dump / "sys/grow").symlink_to("grow/grow")
    root = Root.directory(dump)
    assert root.text("/sys/a") is None
    assert root.text("/sys/grow/x") is None
    assert set(gaps(root).values()) == {"too many links"}


def test_a_pipe_in_a_dump_does_not_hold_the_run(dump: Path) -> None:
    os.mkfifo(dump / "sys/pipe")
    assert Root.directory(dump).text("/sys/pipe") is None


def test_the_requested_path_does_not_leave_the_dump_either(dump: Path) -> None:
    assert Root.directory(dump).text("/sys/../../secret") is None
