"""The child that looks: parameters as JSON on its input, a line of JSON for each step on its output.

It ends when its input does, and with it all that it started: whoever waits for it may die or give up at any time.
"""

from __future__ import annotations

import json
import os
import sys
import threading

from hwdiag.parameters.verify import VerifyParams
from hwdiag.record.verification import Verification
from hwdiag.verify.look import verify


def main() -> None:
    """Look, and tell."""
    params = VerifyParams.model_validate_json(sys.stdin.buffer.readline())
    threading.Thread(target=end_with_input, daemon=True).start()
    say("done", verify(params, lambda text: say("doing", text), lambda found: say("facts", found)))


def end_with_input() -> None:
    """End this process when its input ends: all that it started ends with it."""
    while os.read(0, 4096):
        pass
    os._exit(1)


def say(what: str, value: str | Verification) -> None:
    """Write one line: its kind, and a text or a verification."""
    told = value if isinstance(value, str) else json.loads(value.model_dump_json())
    print(json.dumps({what: told}), flush=True)


if __name__ == "__main__":
    main()
