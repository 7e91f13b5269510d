"""Errors that a person is meant to read: one line, without a traceback."""

from __future__ import annotations


class HwdiagError(Exception):
    """Something that ends the run, told in one line that says what is wrong and what is allowed."""

    exit_status = 1

    def __str__(self) -> str:
        """Return the line: a name in it may hold ends of lines."""
        return " ".join(super().__str__().splitlines())

    def _render_traceback_(self) -> list[str]:
        """Return the lines that IPython prints in place of a traceback."""
        return [f"hwdiag: {self}"]


class UsageError(HwdiagError):
    """A wrong parameter, file or host name."""

    exit_status = 2


class NoProgramError(UsageError):
    """A command that is not there; the exit status is a shell's."""

    exit_status = 127


class NothingMeasuredError(HwdiagError):
    """The run recorded facts, but not one measurement."""
