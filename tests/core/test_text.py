"""Text that every package writes."""

from __future__ import annotations

import pytest

from hwdiag.core.text import capitalised


@pytest.mark.parametrize(
    ("words", "said"), [("at 5 % utilisation", "At 5 % utilisation"), ("PID 12", "PID 12"), ("", "")]
)
def test_only_the_first_letter_changes(words: str, said: str) -> None:
    """``str.capitalize`` made "Pid 12 waits least" of a process's name."""
    assert capitalised(words) == said
