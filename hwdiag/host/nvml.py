"""NVML, NVIDIA's management library, asked one thing at a time.

Source: NVML API reference, nvmlReturn_t; ``nvidia-ml-py`` is NVIDIA's own binding to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hwdiag.host.library import Gone, LibraryMissing
from hwdiag.host.model import GapKind
from hwdiag.host.root import Root

# Values of nvmlReturn_t
NOT_SUPPORTED = 3
FUNCTION_NOT_FOUND = 13
NO_DRIVER = frozenset({9, 12})
"""Driver not loaded and library not found."""
BROKEN: Mapping[int, GapKind] = {15: "lost", 16: "reset", 18: "mismatch"}
"""What an error says of the whole GPU, or of the driver: whatever is asked of it from then on gets the same answer."""


class Nvml:
    """NVML, asked one thing at a time: what is not supported, or not in this driver, is None, and an error a gap."""

    def __init__(self, module: Any, root: Root) -> None:
        self.module = module
        self.root = root
        self.last_code: int | None = None
        """Code of the last call's error, None if it succeeded."""
        self.last_error = ""
        """The same in NVML's words."""
        self.about = ""
        """Which GPU is asked, ``GPU 0``."""

    def ask(self, name: str, *args: Any) -> Any:
        """Call one function; None if there is no answer."""
        self.last_code = None
        function = getattr(self.module, name, None)
        if function is None:
            self.last_code, self.last_error = FUNCTION_NOT_FOUND, "not in this driver"
            return None
        try:
            return function(*args)
        except Exception as error:  # not only NVMLError: the binding raises others for functions a driver lacks
            self.last_code, self.last_error = code_of(error), clause(error)
            if isinstance(error, LibraryMissing):
                self.last_code = FUNCTION_NOT_FOUND
                return None
            self.tell(name, error)
            return None

    def tell(self, name: str, error: BaseException) -> None:
        """Note an error as a gap: of the function, or of the GPU that is asked, or of all of NVML."""
        code = code_of(error)
        if isinstance(error, Gone):  # whatever it is asked from now on
            self.root.note("NVML", clause(error), "hang")
        elif code is not None and code in BROKEN:
            self.root.note(self.about or "NVML", clause(error), BROKEN[code])
        elif code not in (NOT_SUPPORTED, FUNCTION_NOT_FOUND):
            self.root.note(name, clause(error))

    def text(self, name: str, *args: Any) -> str | None:
        """Return an answer as text; old versions of the binding give bytes."""
        answer = self.ask(name, *args)
        if isinstance(answer, bytes):
            answer = answer.decode(errors="replace")
        return (str(answer).rstrip("\0").strip() or None) if answer is not None else None

    def number(self, name: str, *args: Any) -> int | None:
        """Return an answer as a number."""
        answer = self.ask(name, *args)
        return answer if isinstance(answer, int) else None


def code_of(error: BaseException) -> int | None:
    """Return an error's value of nvmlReturn_t."""
    value = getattr(error, "value", None)
    return value if isinstance(value, int) else None


def clause(error: BaseException) -> str:
    """Return NVML's own words for an error (``Driver Not Loaded``), or the name of the exception."""
    return str(error).strip() or type(error).__name__
