"""The clock that watching goes by."""

from __future__ import annotations

import math
import select
import time
from collections.abc import Sequence


class Clock:
    """Time as it goes by; tests let it go by faster."""

    def now(self) -> float:
        """Return the seconds of the monotonic clock."""
        return time.monotonic()

    def wait(self, seconds: float, files: Sequence[int]) -> list[int]:
        """Wait for so long, or until one of the files can be read; gives those that can."""
        poller = select.poll()
        for file in files:
            poller.register(file, select.POLLIN)
        return [file for file, _ in poller.poll(None if math.isinf(seconds) else max(0.0, 1000 * seconds))]
