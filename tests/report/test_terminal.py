"""Tables on a terminal: coloured, as wide as it is, and harmless; plain elsewhere."""

from __future__ import annotations

import io
import re

import pytest

from hwdiag.report.table import Table
from hwdiag.report.terminal import drawn

TABLE = Table("What is [bold]here[/bold]", ("what", "value"), [("evil \x1b[31mred", "1.5"), ("long " * 40, "2")],
              numeric=frozenset({1}))  # fmt: skip


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    return Terminal()


def test_a_terminal_has_colour_and_its_own_width(terminal: Terminal) -> None:
    text = drawn(TABLE, terminal)
    assert "\x1b[1;36mWhat is [bold]here[/bold]\x1b[0m" in text  # no markup from outside
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert max(map(len, plain.splitlines())) <= 60
    assert plain.count("long") == 40, "nothing is cut"
    assert "evil \ufffd[31mred" in plain
    assert "\x1b[31m" not in text


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_no_colour_where_it_is_not_wanted(
    name: str, value: str, terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", drawn(TABLE, terminal))


def test_a_pipe_gets_the_plain_table() -> None:
    assert drawn(TABLE, io.StringIO()) == TABLE.to_text()
