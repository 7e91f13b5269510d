"""Lists of CPUs as the kernel writes them."""

from __future__ import annotations

import random

import pytest

from hwdiag.host.cpulist import MAX_CPU, format_cpulist, parse_cpulist


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", ()),
        ("\n", ()),
        ("0", (0,)),
        ("0-3", (0, 1, 2, 3)),
        ("0-2,8", (0, 1, 2, 8)),
        ("8,0-2, 1\n", (0, 1, 2, 8)),
        ("0-7:2/4", (0, 1, 4, 5)),
        (f"{MAX_CPU}", (MAX_CPU,)),
    ],
)
def test_parse(text: str, ids: tuple[int, ...]) -> None:
    assert parse_cpulist(text) == ids


@pytest.mark.parametrize(
    "text", ["a", "1-", "-1", "3-1", "0-99999999", "0,,1", "0-7:0/4", "0-7:5/4", "1 2", "0x1", "0-65535," * 9 + "0"]
)
def test_what_is_no_list(text: str) -> None:
    with pytest.raises(ValueError, match="not a CPU list"):
        parse_cpulist(text)


def test_round_trip() -> None:
    chance = random.Random(1)
    for _ in range(200):
        ids = tuple(sorted(chance.sample(range(600), chance.randrange(60))))
        assert parse_cpulist(format_cpulist(ids)) == ids


def test_format_is_the_shortest() -> None:
    assert format_cpulist([8, 0, 1, 2, 2]) == "0-2,8"
    assert format_cpulist([]) == ""
