"""The static look: what is in a file, and no more than that."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path

import pytest

from hwdiag.compat.static import contains, evenly

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the code is for x86-64")


def source(code: str, times: int = 20) -> str:
    data = ",".join(f"0x{b:02x}" for b in bytes.fromhex(code))
    body = f'__asm__ volatile (".byte {data}");' * times
    return f"void f(void) {{ {body} }}"


@pytest.mark.parametrize(
    ("code", "level", "found"),
    [
        ("c5fdfec1", "x86-64-v2", ["avx2"]),
        ("c5fdfec1", "x86-64-v2+avx", ["avx2"]),
        ("c5fdfec1", "x86-64-v3", []),
        ("c5fc58c1", "x86-64-v2", ["avx"]),
        ("c5fc58c1", "x86-64-v2+avx", []),
        ("c4e271b8c2", "x86-64-v2+avx", ["fma"]),
        ("c4e269f7c0", "x86-64-v2+avx", ["bmi2"]),
        ("62f17c4858c1", "x86-64-v3", ["avx512f"]),
        ("62f17c4858c1", "x86-64-v4", []),
        ("4889c8", "x86-64-v2", []),
    ],
)
def test_what_is_above_a_level(
    shared_object: Callable[[str, str], Path], code: str, level: str, found: list[str]
) -> None:
    content = contains(shared_object("libx", source(code)), level)
    assert list(content.found) == found
    assert content.looked_at == 1.0
    assert content.note is None
    text = content.text()
    assert "crash" not in text
    assert ("dispatch unknown" in text) == bool(found)


def test_a_few_bytes_that_read_like_an_instruction_are_not_called_code(
    shared_object: Callable[[str, str], Path],
) -> None:
    assert contains(shared_object("libx", source("c5fdfec1", times=3)), "x86-64-v2").found == {}


@pytest.mark.parametrize("damage", [b"", b"\x7fELF", b"\x7fELF\x01\x01" + bytes(90), b"rubbish" * 20])
def test_what_is_no_shared_object_says_so(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "x.so"
    path.write_bytes(damage)
    assert contains(path, "x86-64-v2").text() == "not looked at: not a 64-bit little-endian ELF file"
    assert "No such file" in contains(tmp_path / "none.so", "x86-64-v2").text()


def test_damaged_headers_raise_nothing(shared_object: Callable[[str, str], Path], tmp_path: Path) -> None:
    whole = shared_object("libx", source("c5fdfec1")).read_bytes()
    path = tmp_path / "damaged.so"
    for at in (18, 40, 41, 47, 58, 59, 60, 61):
        path.write_bytes(whole[:at] + b"\xff" + whole[at + 1 :])
        assert contains(path, "x86-64-v2", seconds=0.5).text()
    path.write_bytes(whole[: len(whole) // 2])
    assert contains(path, "x86-64-v2").note == "no section headers"


def test_another_architecture_is_not_read_as_this_one(shared_object: Callable[[str, str], Path]) -> None:
    assert contains(shared_object("libx", source("90")), "armv9-a").note == "it is for another architecture"


def test_windows_are_spread_evenly_and_none_is_left_out() -> None:
    windows = [(n, 1) for n in range(100)]
    order = list(evenly(windows))
    assert sorted(order) == windows
    assert {at // 25 for at, _ in order[:8]} == {0, 1, 2, 3}
    assert list(evenly([])) == []
