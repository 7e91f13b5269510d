"""Idle states of the CPUs, which are told apart by how long waking up takes: their numbers differ by platform."""

from __future__ import annotations

import shlex

from hwdiag.audit.kinds.file import Files


class IdleStates(Files):
    """A file of each idle state. A person chooses the states that take longer to wake up from than so many µs."""

    name = "idle_state"
    means = {}

    def condition(self, asked: str) -> str | None:
        return f'slower_than {shlex.quote(asked)} "${{file%/*}}/latency"'

    def tuned(self, name: str, wanted: str, *, is_pattern: bool) -> tuple[str, str, str] | None:
        # A pattern is narrowed by latency, which a profile cannot: TuneD's own force_latency is the like of it.
        return None if is_pattern else super().tuned(name, wanted, is_pattern=False)
