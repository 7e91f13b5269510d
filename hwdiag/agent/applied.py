"""Settings of a Launch as the process sees them of itself. Standard library only."""

from __future__ import annotations

import os


def mapped_files() -> list[str]:
    """Return the files in this process's memory, in the order of the memory map."""
    with open("/proc/self/maps", errors="replace") as maps:
        fields = [line.split(None, 5) for line in maps]
    return list(dict.fromkeys(f[5].strip() for f in fields if len(f) == 6 and f[5].startswith("/")))


def memory_policy() -> str | None:
    """Return the NUMA policy in numa_maps' words (``default``, ``interleave:0-1``), None if the kernel has none."""
    try:
        with open("/proc/self/numa_maps") as lines:
            policies = [line.split()[1] for line in lines]
    except OSError:
        return None
    # Shared-library pages may carry their own policy: the most frequent one is the process's.
    return max(set(policies), key=policies.count) if policies else None


def applied() -> dict[str, list[int] | list[str] | str | None]:
    """Return the CPUs that this process may use, its memory policy, and what was preloaded into it."""
    preloads = {os.path.realpath(p) for p in os.environ.get("LD_PRELOAD", "").replace(":", " ").split()}
    return {
        "cpus": sorted(os.sched_getaffinity(0)),
        "memory_policy": memory_policy(),
        "preloaded": [path for path in mapped_files() if path in preloads],
    }
