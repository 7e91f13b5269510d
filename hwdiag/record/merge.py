"""Many records of one host as one: the newest study of each topic, with what was said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from hwdiag.core.files import EmittedFile
from hwdiag.host.identity import same_memory
from hwdiag.record.model import NOT_PROBED, Record, Topic


def same_machine(first: Record, second: Record) -> bool:
    """Return whether two records are surely of one machine."""
    if first.identity.key != second.identity.key:
        return False
    if first.identity.machine is None and first.name != second.name:
        return False
    return same_memory(first.identity.memory_bytes, second.identity.memory_bytes)


def merged(records: Mapping[str, Record]) -> Record:
    """Return one record with the newest study of each topic.

    Its facts, name and versions are those of the newest record; its sentence is that of the newest search for a launch,
    or else of the newest record. Files are told by the folder that they are in.

    Args:
        records: of one machine, at least one, by their folders.
    """
    by_age = sorted(records.items(), key=lambda item: (item[1].started_at, item[0]))
    of_topic = {topic: item for item in by_age for topic in item[1].studies}
    chosen = {topic: of_topic[topic] for topic in get_args(Topic) if topic in of_topic}
    newest = by_age[-1][1]
    told = chosen["tune"][1] if "tune" in chosen else newest
    probed = [r.software for _, r in by_age if r.software != NOT_PROBED]
    return newest.model_copy(
        update={
            "verdict": told.verdict,
            "software": told.software if told.software != NOT_PROBED or not probed else probed[-1],
            "params": {topic: r.params[topic] for topic, (_, r) in chosen.items() if topic in r.params},
            "studies": {topic: r.studies[topic] for topic, (_, r) in chosen.items()},
            "findings": tuple(f for t, (_, r) in chosen.items() for f in r.findings if f.topic == t),
            "recommendations": tuple(x for t, (_, r) in chosen.items() for x in r.recommendations if x.topic == t),
            "checks": tuple(c for t, (_, r) in chosen.items() for c in r.checks if c.topic == t),
            "files": files_of(list(dict(chosen.values()).items())),
        }
    )


def files_of(records: Sequence[tuple[str, Record]]) -> tuple[EmittedFile, ...]:
    """Return the files of these records, each below its record's folder."""
    return tuple(
        f.model_copy(update={"path": f"{folder}/{f.path}" if folder else f.path})
        for folder, record in records
        for f in record.files
    )
