"""Looks at live objects leave what another thread is building alone."""

from __future__ import annotations

import threading

from hwdiag.agent.witness import live


class Wanted:
    pass


def test_what_another_thread_builds_is_left_alone() -> None:
    """Seen to fail with SystemError in the building thread where a list of all objects was kept for a moment."""
    kept = [Wanted() for _ in range(3)]
    errors: list[BaseException] = []
    stop = threading.Event()

    def build() -> None:
        try:
            while not stop.is_set():
                tuple(str(i) for i in range(300))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=build)
    thread.start()
    for _ in range(4):
        found, count = live.live({Wanted})
        assert len(found) == len(kept)
        assert count > 1000
    stop.set()
    thread.join()
    assert errors == []
