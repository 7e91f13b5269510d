"""Copy of a command's output: it goes on to the person as it comes, and its end is kept.

Where the person's own stream is a terminal, the command gets one too (pty(7)), so that it prints as it would without
hwdiag: progress bars, colours, lines as they come. Elsewhere it gets a pipe.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import pty
import select
import signal
import termios
import threading
import tty
from collections.abc import Callable

from hwdiag.process.supervised import Stdio
from hwdiag.process.tail import PIECE, Tail

TAIL_BYTES = 1 << 16
"""Of each stream so much is kept, from its end."""
PIPE_BYTES = 1 << 20
"""What a pipe holds; Linux allows this much to everybody."""
LAST_S = 0.5
"""Seconds for what is on its way, where the person wants the end."""


class _Stream:
    """One of the command's outputs: where it comes from, and where it goes."""

    def __init__(self, target: int | None) -> None:
        self.target = target
        self.tail = Tail(TAIL_BYTES)
        self.is_terminal = target is not None and os.isatty(target)
        if self.is_terminal:
            self.source, self.inner = pty.openpty()
            tty.setraw(self.inner, termios.TCSANOW)  # the person's own terminal does what there is to do
            self.resize()
        else:
            self.source, self.inner = os.pipe()
            with contextlib.suppress(OSError):
                fcntl.fcntl(self.source, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        os.set_blocking(self.source, True)

    def resize(self) -> None:
        """Make its terminal as large as the person's."""
        if self.is_terminal and self.target is not None:
            with contextlib.suppress(OSError):
                size = fcntl.ioctl(self.target, termios.TIOCGWINSZ, bytes(8))
                fcntl.ioctl(self.source, termios.TIOCSWINSZ, size)

    def started(self) -> None:
        """Let go of the command's end of it: so its end is seen."""
        if self.inner >= 0:
            os.close(self.inner)
            self.inner = -1

    def copy(self) -> bool:
        """Hand a piece on; return False at the end of it, or where nobody takes it any more."""
        try:
            piece = os.read(self.source, PIECE)
        except OSError as error:
            if error.errno == errno.EIO:  # a terminal's way to say that nobody has it open
                return False
            raise
        if not piece:
            return False
        self.tail.add(piece)
        return self.target is None or write(self.target, piece)


class Tee:
    """Copies a command's output and error on to the person's, in a thread of its own. Use it in a ``with`` statement.

    ``stdio`` is what the command is to be started with; call ``started`` when it was.
    """

    def __init__(self, person: Stdio) -> None:
        """``person``: the person's own streams; where one is None, what the command prints is kept only."""
        self._streams = tuple(_Stream(target) for target in person[1:])
        self.stdio: Stdio = (person[0], self._streams[0].inner, self._streams[1].inner)
        self._over, self._end = os.pipe()
        self._thread = threading.Thread(target=self._copy, daemon=True)

    def __enter__(self) -> Tee:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.started()
        os.write(self._end, b"\0")
        self._thread.join(LAST_S)
        if not self._thread.is_alive():
            for file in (self._over, self._end):
                os.close(file)

    def started(self) -> None:
        """Let go of the files that the command has now."""
        for stream in self._streams:
            stream.started()

    def resize(self) -> None:
        """Give the command's terminals the new size of the person's."""
        for stream in self._streams:
            stream.resize()

    def is_done(self, timeout_s: float) -> bool:
        """Return whether all of it was copied, after so many seconds at most."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def texts(self) -> tuple[str, str]:
        """Return the ends of output and error."""
        stdout, stderr = (stream.tail.text() for stream in self._streams)
        return stdout, stderr

    def _copy(self) -> None:
        with contextlib.suppress(ValueError):
            signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))  # they are the main thread's
        poller = select.poll()
        poller.register(self._over, select.POLLIN)
        streams = {stream.source: stream for stream in self._streams}
        for file in streams:
            poller.register(file, select.POLLIN)
        while streams:
            ready = [file for file, _ in poller.poll()]
            if self._over in ready:
                break
            for file in ready:
                if not self._copy_one(streams[file]):
                    poller.unregister(file)
                    del streams[file]
                    os.close(file)
        for file in streams:
            os.close(file)

    def _copy_one(self, stream: _Stream) -> bool:
        try:
            return stream.copy()
        except OSError:  # the person's end is gone: the command is to find that out, too
            return False


def write(file: int, data: bytes) -> bool:
    """Write all of it; return False where nobody reads it any more."""
    left = memoryview(data)
    while left:
        try:
            left = left[os.write(file, left) :]
        except BlockingIOError:
            select.select([], [file], [])
        except OSError:
            return False
    return True


def drain(tee: Tee, is_ending: Callable[[], bool]) -> None:
    """Wait until all was copied, for as long as the person's stream takes; less where ``is_ending`` says so."""
    while not tee.is_done(0.05):
        if is_ending():
            tee.is_done(LAST_S)
            return
