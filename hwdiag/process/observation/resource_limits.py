"""The soft limits of a process, from /proc/PID/limits (proc(5), getrlimit(2))."""

from __future__ import annotations

import re

from hwdiag.process.observation.model import ResourceLimits

NAMES = {
    "open_files": "Max open files",
    "address_space_bytes": "Max address space",
    "processes": "Max processes",
    "locked_memory_bytes": "Max locked memory",
    "file_size_bytes": "Max file size",
    "cpu_s": "Max cpu time",
    "stack_bytes": "Max stack size",
}


def parse_limits(text: str) -> ResourceLimits:
    """Return the soft limits that such a file tells."""
    found: dict[str, int | None] = {}
    for field, name in NAMES.items():
        match = re.search(rf"^{name}\s+(\d+|unlimited)\s", text, re.MULTILINE)
        found[field] = None if match is None or match[1] == "unlimited" else int(match[1])
    return ResourceLimits.model_validate(found)
