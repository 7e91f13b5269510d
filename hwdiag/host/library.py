"""A vendor's Python module, asked in a child: a call that hangs costs its answer, and no more.

A driver that is stuck keeps whoever asks it from ever coming back, even from being killed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

CHILD = Path(__file__).with_name("library_child.py")
FIRST_S = 30.0
"""Seconds that the first call may take: without persistence mode, NVML's first one waits for each GPU to start."""
CALL_S = 5.0
"""Seconds that any other call may take; most take less than a millisecond."""
MAX_ANSWER = 1 << 20


class LibraryError(Exception):
    """An answer that is an error. ``value`` is the library's own code, as in pynvml."""

    def __init__(self, words: str, value: int | None = None) -> None:
        super().__init__(words)
        self.value = value


class LibraryMissing(LibraryError):
    """The library has no such function."""


class Gone(LibraryError):
    """The library does not answer any more."""


@dataclass(frozen=True)
class Handle:
    """A GPU's handle, which stays in the child, by its number there."""

    number: int


def is_installed(module: str) -> bool:
    """Return whether this interpreter could import the library; it is not imported here."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


class Library:
    """Stands in for a module of Python: each of its functions is called in the child."""

    def __init__(self, module: str, folder: str = "") -> None:
        """Start the child, which imports the module; ``folder`` has shared libraries off the loader's path."""
        self._module = module
        self._limit_s = FIRST_S
        self._gone = ""
        self._rest = b""
        paths = ":".join(filter(None, (folder, os.environ.get("LD_LIBRARY_PATH"))))
        try:
            self._child: subprocess.Popen[bytes] | None = subprocess.Popen(
                [sys.executable, str(CHILD), module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env={**os.environ, "LD_LIBRARY_PATH": paths} if folder else None,
            )
        except OSError as error:
            self._child, self._gone = None, f"could not be asked: {error.strerror}"

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *arguments: self._call(name, arguments)

    def _call(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """Return what the function gives. Raises ``LibraryError``."""
        if self._child is None:
            raise Gone(self._gone)
        given = [{"handle": a.number} if isinstance(a, Handle) else a for a in arguments]
        limit, self._limit_s = self._limit_s, CALL_S
        line = self._ask(json.dumps([name, given]).encode() + b"\n", time.monotonic() + limit)
        if line is None:
            self._end(f"it did not answer {name} within {limit:g} s")
        elif not line:
            self._end(f"it ended while it was asked {name}")
        if not line:
            raise Gone(self._gone)
        told = json.loads(line)
        if told.get("missing"):
            raise LibraryMissing("not in this driver")
        if "error" in told:
            raise LibraryError(told["error"], told["code"])
        return _decoded(told["is"])

    def _ask(self, line: bytes, deadline: float) -> bytes | None:
        """Return the line that the child answers; None where it takes too long, empty where it has ended."""
        assert self._child is not None
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        out = self._child.stdout.fileno()
        poll = select.poll()
        poll.register(out, select.POLLIN | select.POLLHUP)
        try:
            self._child.stdin.write(line)
            while b"\n" not in self._rest:
                left = deadline - time.monotonic()
                if left <= 0 or not poll.poll(left * 1000):
                    return None
                piece = os.read(out, 1 << 16)
                self._rest += piece
                if not piece or len(self._rest) > MAX_ANSWER:
                    return b""
        except OSError:
            return b""
        found, _, self._rest = self._rest.partition(b"\n")
        return found

    def _end(self, why: str) -> None:
        """Give the child up. One that is stuck in the kernel cannot be waited for."""
        child, self._child, self._gone = self._child, None, why
        if child is None:
            return
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        if why:
            child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(1.0)
            return
        child.kill()

    def close(self) -> None:
        """End the child, which ends by itself where nobody asks any more."""
        if self._child is not None:
            self._end("")
            self._gone = "it was closed"


def _decoded(value: Any) -> Any:
    if isinstance(value, list):
        return [_decoded(one) for one in value]
    if isinstance(value, dict):
        if "handle" in value:
            return Handle(value["handle"])
        if "fields" in value:
            return SimpleNamespace(**{name: _decoded(one) for name, one in value["fields"].items()})
        return {name: _decoded(one) for name, one in value["dict"].items()}
    return value
