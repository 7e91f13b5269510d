"""Stack samples of a Python process, which py-spy (https://github.com/benfred/py-spy) reads from outside.

It sees what the kernel cannot tell: whether a training without workers is in the DataLoader, or computes. It needs the
right to trace the process, as a debugger does, and is asked not to stop it meanwhile.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

RATE = 20
"""Stacks a second."""
END_S = 10.0
WHOLE_S = 3600
LOADER = re.compile(r"(^|;)([\w<>]+\.)*(__next__|_next_data) \([^;]*torch/utils/data/dataloader\.py")
"""A frame of the DataLoader's iterator; newer versions of py-spy put the class before the method."""
MAIN = re.compile(r"^[^;]*MainThread")


def installed() -> str | None:
    """Return the program py-spy: beside this Python, or on the path."""
    beside = Path(sys.executable).with_name("py-spy")
    return str(beside) if beside.is_file() else shutil.which("py-spy")


class Stacks:
    """Records one process's stacks while others look at it."""

    def __init__(self, program: str, pid: int, seconds: float | None) -> None:
        """Start it; ``seconds`` None lasts until the process ends, or ``share`` is asked for."""
        self._folder = tempfile.TemporaryDirectory(prefix="hwdiag-stacks-")
        self._file = Path(self._folder.name) / "stacks"
        limit = str(max(1, round(seconds or WHOLE_S)))
        argv = [program, "record", "--pid", str(pid), "--duration", limit, "--rate", str(RATE), "--format", "raw"]
        argv += ["--idle", "--threads", "--nonblocking", "--full-filenames", "--output", str(self._file)]
        self._process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    @property
    def pid(self) -> int:
        """Return the process that looks."""
        return self._process.pid

    def share(self) -> tuple[float | None, str]:
        """Return the share of the main thread's stacks within the DataLoader, or None and why. Ends the recording."""
        with self._folder:
            try:
                self._process.wait(1.0)
            except subprocess.TimeoutExpired:
                self._process.send_signal(2)  # as Ctrl-C: it writes what it has
            try:
                _, said = self._process.communicate(timeout=END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.communicate()
                return None, "py-spy did not end"
            text = self._file.read_text(errors="replace") if self._file.exists() else ""
        found = share_of(text)
        last = [line.strip() for line in said.splitlines() if "Error" in line or "Permission" in line]
        return found, "" if found is not None else f"py-spy saw no stack: {last[0] if last else 'the process ended'}"

    def close(self) -> None:
        """End it, whatever it saw; nothing where it has ended."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if self._process.stderr is not None:
            self._process.stderr.close()
        self._folder.cleanup()


def share_of(text: str) -> float | None:
    """Return the main thread's share within the DataLoader, of collapsed stacks: one a line with its count."""
    inside = total = 0
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        if not count.isdigit() or not MAIN.search(stack):
            continue
        total += int(count)
        inside += int(count) if LOADER.search(stack) else 0
    return inside / total if total else None
