"""The child that ``host.library`` starts: it imports one Python module and calls its functions, as it is told.

Started by path, with the standard library alone. Each line of its input is a call: ``["nvmlDeviceGetName", [{"handle":
0}]]``; each line of its output the answer: ``{"is": ...}``, ``{"error": ..., "code": ...}`` or ``{"missing": true}``.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import sys
from typing import Any

PLAIN = "nvmlFriendlyObject"
"""What pynvml makes of structures in a list, such as that of processes."""


def encoded(value: Any, handles: list[Any]) -> Any:
    """Return an answer as JSON. What is neither number, text, list, dictionary nor structure stays here, by number."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, (list, tuple)):
        return [encoded(one, handles) for one in value]
    if isinstance(value, dict):
        return {"dict": {str(key): encoded(one, handles) for key, one in value.items()}}
    if isinstance(value, ctypes.Array):
        return [encoded(one, handles) for one in value]
    if isinstance(value, ctypes.Structure):
        return {"fields": {name: encoded(getattr(value, name), handles) for name, *_ in value._fields_}}
    if type(value).__name__ == PLAIN:
        return {"fields": {name: encoded(one, handles) for name, one in vars(value).items()}}
    handles.append(value)
    return {"handle": len(handles) - 1}


def answer(module: Any, name: str, arguments: list[Any], handles: list[Any]) -> dict[str, Any]:
    """Call one function."""
    function = getattr(module, name, None)
    if function is None:
        return {"missing": True}
    try:
        given = [handles[a["handle"]] if isinstance(a, dict) else a for a in arguments]
        return {"is": encoded(function(*given), handles)}
    except Exception as error:  # the binding's own, and others for functions that a driver lacks
        code = getattr(error, "value", None)
        words = str(error).strip() or type(error).__name__
        return {"error": words[:500], "code": code if isinstance(code, int) else None}


def main(name: str) -> None:
    """Answer calls until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to take: its end closes the input
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer
    sys.path.pop(0)  # this file's folder
    module = importlib.import_module(name)
    handles: list[Any] = []
    for line in sys.stdin:
        function, arguments = json.loads(line)
        out.write(json.dumps(answer(module, function, arguments, handles)) + "\n")
        out.flush()


if __name__ == "__main__":
    main(sys.argv[1])
