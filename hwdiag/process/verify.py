"""Check that a Launch took effect, by what its child saw of itself."""

from __future__ import annotations

from pathlib import Path

from hwdiag.host.cpulist import format_cpulist
from hwdiag.process.launch import Launch, MemoryPolicy
from hwdiag.process.model import Applied

POLICY_WORD = {"bind": "bind", "preferred": "prefer", "interleave": "interleave"}
"""The kernel's words in /proc/PID/numa_maps (mm/mempolicy.c, mpol_to_str)."""


def not_applied(launch: Launch, applied: Applied) -> str | None:
    """Return which part of the Launch did not take effect, in one clause; None if all of it did."""
    if launch.threads not in (None, applied.threads):
        return f"asked for {launch.threads} threads, torch uses {applied.threads}"
    if launch.interop_threads not in (None, applied.interop_threads):
        return f"asked for {launch.interop_threads} inter-op threads, torch uses {applied.interop_threads}"
    if launch.cpus not in (None, applied.cpus):
        return f"asked for CPUs {format_cpulist(launch.cpus or ())}, may use {format_cpulist(applied.cpus)}"
    if launch.memory is not None and not policy_matches(launch.memory, applied.memory_policy):
        nodes = format_cpulist(launch.memory.nodes)
        return f"asked for memory policy {launch.memory.mode} {nodes}, the process has {applied.memory_policy}"
    loaded = resolved(applied.preloaded)
    absent = [path for path in launch.preloaded if Path(path).resolve() not in loaded]
    if absent:
        return f"{absent[0]} was not loaded"
    return None


def policy_matches(wanted: MemoryPolicy, seen: str | None) -> bool:
    """Return whether numa_maps' policy text, such as ``interleave:0-1``, is the wanted one."""
    word, _, nodes = (seen or "").rpartition(":")
    return word.startswith(POLICY_WORD[wanted.mode]) and nodes == format_cpulist(wanted.nodes)


def resolved(paths: tuple[str, ...]) -> set[Path]:
    return {Path(p).resolve() for p in paths}
