"""Becomes a command, once it has said what of the Launch it sees of itself. Standard library only, run by path.

``start.py FD COMMAND [ARGUMENT...]`` stands between the binding and the command. It writes one JSON object a line to
FD and closes it: ``applied`` and the time on the monotonic clock, and ``error`` where the command cannot be started.
"""

from __future__ import annotations

import json
import os
import sys
import time

sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
from hwdiag.agent.applied import applied


def start(fd: int, argv: list[str]) -> None:
    """Become the command."""
    os.set_inheritable(fd, False)
    os.write(fd, json.dumps({"applied": applied(), "at": time.monotonic()}).encode() + b"\n")
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        os.write(fd, json.dumps({"error": f"{argv[0]}: {error.strerror}"}).encode() + b"\n")
        os._exit(127)


if __name__ == "__main__":
    start(int(sys.argv[1]), sys.argv[2:])
