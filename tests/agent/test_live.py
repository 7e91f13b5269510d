"""Looks at live objects leave what another thread is building alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from hwdiag.agent.witness import live


class Wanted:
    pass


LOOKS: dict[str, tuple[Callable[[], int], int]] = {
    "count": (lambda: live.count({Wanted}), 3),
    "count of generations": (lambda: live.count({Wanted}, (0, 1, 2)), 3),
    "of_kinds": (lambda: len(live.of_kinds({Wanted})), 3),
    "count_all": (lambda: min(live.count_all(), 1000), 1000),
}


@pytest.mark.parametrize("name", LOOKS)
def test_what_another_thread_builds_is_left_alone(name: str) -> None:
    """Seen to fail with SystemError in the building thread where a list of all objects was kept for a moment."""
    kept = [Wanted() for _ in range(3)]
    look, expected = LOOKS[name]
    errors: list[BaseException] = []
    ends = time.monotonic() + 1.5

    def build() -> None:
        try:
            while time.monotonic() < ends:
                tuple(str(i) for i in range(300))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=build)
    thread.start()
    found = {look()}
    while thread.is_alive():
        found.add(look())
    thread.join()
    assert errors == []
    assert found == {expected}
    assert len(kept) == 3
