"""Counts of nets with a name, kept: those that come with hwdiag, and those that were counted here before.

A count depends on the net's configuration alone, so torch need not be started for it again. The ones that come with
hwdiag are written by ``python -m hwdiag.estimate.fit --count``; those counted here are kept in the cache folder.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hwdiag.core.outside import parse_json, read_file
from hwdiag.experiment.net_count import Count, NetSpec, count_nets

SHIPPED = Path(__file__).parent / "counts.json.gz"
AGENT = Path(__file__).parents[1] / "agent"
COUNTING = ("counting.py", "nets.py", "net_building.py", "written_nets.py")
"""The agent's modules by which a count comes out."""
MAX_BYTES = 2**20
MAX_UNPACKED = 2**26


def counts_of(python: str, specs: Sequence[NetSpec], *, fresh: bool = False) -> tuple[Count, ...]:
    """Return the count of each net, counting those that are not known yet in a child of ``python``.

    ``fresh`` counts all of them anew.

    Raises:
        UsageError, HwdiagError: as ``count_nets`` does.
    """
    found: dict[str, Count] = {}
    for spec in [] if fresh else specs:
        known = kept(spec)
        if known is not None:
            found[key_of(spec)] = known
    missing = {key_of(s): s for s in specs if key_of(s) not in found}
    for count in count_nets(python, list(missing.values())) if missing else ():
        found[key_of(count.spec)] = count
        if not fresh:
            keep(count)
    return tuple(found[key_of(s)] for s in specs)


def key_of(spec: NetSpec) -> str:
    """Return what tells one count from another."""
    return spec.model_dump_json(exclude_defaults=True)


def has_name(spec: NetSpec) -> bool:
    """Return whether it is a net of hwdiag's: a file of the person's own may change between two calls."""
    return ":" not in spec.net


def kept(spec: NetSpec) -> Count | None:
    """Return a count that is known already."""
    if not has_name(spec):
        return None
    values = shipped().get(key_of(spec))
    if values is None:
        try:
            path = place(spec)
            values = parse_json(read_file(path, MAX_BYTES))
        except (OSError, ValueError):
            return None
    try:
        return Count.model_validate({**values, "spec": spec}) if isinstance(values, dict) else None
    except ValidationError:
        return None


@cache
def shipped() -> dict[str, dict[str, Any]]:
    """Return the counts that come with hwdiag, not validated yet."""
    try:
        with gzip.open(SHIPPED) as file:
            counts = json.loads(file.read(MAX_UNPACKED))["counts"]
    except (OSError, ValueError, KeyError):
        return {}
    return counts if isinstance(counts, dict) else {}


@cache
def counting_version() -> str:
    """Return what changes with the code that counts, so that an old count is not taken for a new one."""
    texts = [(AGENT / name).read_bytes() for name in COUNTING]
    return hashlib.sha256(b"".join(texts)).hexdigest()[:12]


def place(spec: NetSpec) -> Path:
    """Return where this host keeps a count."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = hashlib.sha256(key_of(spec).encode()).hexdigest()[:16]
    return base / "hwdiag" / "counts" / counting_version() / f"{name}.json"


def keep(count: Count) -> None:
    """Keep a count for the next time; without a place to write to, it is counted again then."""
    if not has_name(count.spec):
        return
    path = place(count.spec)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, suffix=".new") as file:
            file.write(packed(count))
        Path(file.name).replace(path)
    except OSError:
        return


def packed(count: Count) -> str:
    """Return a count as JSON, without what only its counting took."""
    about = {"took_s", "cpu_s", "peak_rss_bytes", "spec"}
    return count.model_dump_json(exclude=about, exclude_defaults=True)


def ship(counts: Sequence[Count], with_versions: str) -> None:
    """Write the counts that come with hwdiag; the same counts give the same bytes."""
    values = {key_of(c.spec): json.loads(packed(c)) for c in counts}
    text = json.dumps({"with": with_versions, "counts": dict(sorted(values.items()))}, separators=(",", ":"))
    SHIPPED.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
