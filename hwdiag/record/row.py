"""The part of a record that comparisons use, of any schema so far: its host, its facts as lines, its topics and speeds.

A record is data: its text is parsed as JSON, checked and cut to length, and nothing in it is run, opened or written to.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import PurePath
from statistics import median
from typing import Annotated, Any, get_args

from pydantic import Field, ValidationError
from pydantic.dataclasses import dataclass

from hwdiag.core.interval import Interval
from hwdiag.core.outside import OutsideError, parse_json
from hwdiag.core.value import Value
from hwdiag.experiment.lever import BASELINE
from hwdiag.host.cpulist import bounded_lists
from hwdiag.host.identity import Identity, identity_of
from hwdiag.record.convert import SCHEMA, NotARecordError, upgraded
from hwdiag.record.lean import KnownPart, lean_record
from hwdiag.record.loose import MAX_TEXT, Family, LooseRecord, Seconds, Text
from hwdiag.record.model import Topic, first_error

MAX_FACTS = 400
MOST_PARTS = 100
"""Of one object, of which the facts are told."""
SKIPPED = frozenset(
    {"logical", "caches", "flags", "gaps", "distances", "build", "environment", "hidden", "missing", "pools"}
)
"""Facts that are too many to compare one by one."""
CHANGING = {
    "read_at", "source", "boot_id", "available_bytes", "free_bytes", "swap_free_bytes", "power_w", "temperature_c",
    "sm_mhz", "memory_mhz", "uuid", "bus_id", "machine_hash", "hostname", "detail", "path", "index",
}  # fmt: skip
"""Facts that differ from one minute or one box to the next without meaning anything."""

Count = Annotated[int, Field(ge=0, lt=2**63)]
"""As large as a table holds."""
UNITS: dict[Family, str] = {"memory": "GB/s", "transfer": "GB/s", "compute": "GFLOP/s"}
"""Of families that have a rate; of the others runs a second are compared."""


@dataclass(frozen=True, slots=True)
class Speed:
    """The time of one workload under today's default on one device: the median of processes, in seconds.

    Of these a fleet has half a million: as models they take more than half of its memory.
    """

    workload: Text
    version: Text
    """What the workload is: two records compare only where it is the same."""
    family: Family
    device: Text
    work: Annotated[float, Field(ge=0, lt=1e18)]
    """FLOP of one iteration, for memory and transfers its bytes."""
    seconds: Seconds
    low: Seconds
    high: Seconds
    processes: Count

    def value(self, seconds: float) -> float:
        """Return the speed in the workload's unit: GB/s, GFLOP/s or runs a second. More is faster."""
        return self.work / seconds / 1e9 if self.family in UNITS else 1 / seconds

    @property
    def rate(self) -> Interval:
        """Return the speed in the workload's unit, with its interval."""
        low, middle, high = (self.value(seconds) for seconds in (self.high, self.seconds, self.low))
        return Interval(median=middle, low=low, high=high, processes=self.processes)

    @property
    def unit(self) -> str:
        return UNITS.get(self.family, "runs/s")


class RecordRow(Value):
    """The part of one record that comparisons use."""

    location: str
    name: Text
    host_key: str
    """Tells hosts apart, together with ``memory_bytes``."""
    memory_bytes: Count | None = None
    started_at: Text
    topics: tuple[Topic, ...] = ()
    """Of which it has a study."""
    schema_version: Count
    versions: dict[str, Text]
    cpu: Text
    cores: int | None = None
    identity: Identity = Identity()
    gpus: tuple[Text, ...] = ()
    """Names of those that programs compute on."""
    facts: dict[str, str]
    """Host and software, one line each: ``cpu.governor``."""
    speeds: tuple[Speed, ...] = ()


class RefusedRecord(Value):
    """A file that is not compared, and why."""

    location: str
    why: str


def row_of(data: bytes, location: str) -> RecordRow | RefusedRecord:
    """Return one record's row, or in one line why it is refused."""
    try:
        version: int | None = SCHEMA
        record = lean_record(data, SKIPPED)
        if record is None:
            values = parse_json(data)
            version = values.get("schema_version") if isinstance(values, dict) else None
            record = LooseRecord.model_validate(upgraded(values, PurePath(location).parts[:-1]))
        if not record.complete:
            return RefusedRecord(location=location, why="not written to its end")
        with bounded_lists():
            identity = identity_of(record.host)
        if any(isinstance(value, int) and not 0 <= value < 2**63 for _, value in identity):
            return RefusedRecord(location=location, why="host: a size in it is negative or too large")
        return RecordRow(
            location=location,
            name=record.name,
            host_key=host_key(identity, record.name, location),
            memory_bytes=identity.memory_bytes,
            started_at=record.started_at,
            topics=tuple(t for t in get_args(Topic) if t in record.studies),
            schema_version=version or 0,
            versions=record.versions,
            cpu=str(record.host.get("cpu", {}).get("model") or "unknown")[:MAX_TEXT],
            cores=whole(record.host.get("cpu", {}).get("cores")),
            identity=identity,
            gpus=tuple(gpus_of(record.host)),
            facts=dict(facts_of(record)),
            speeds=tuple(speeds_of(record)),
        )
    except ValidationError as error:
        return RefusedRecord(location=location, why=first_error(error))
    except NotARecordError as error:
        return RefusedRecord(location=location, why=str(error))
    except OutsideError as error:
        return RefusedRecord(location=location, why=f"not a record: {error}")


def host_key(identity: Identity, name: str, location: str) -> str:
    """Return a hash of what tells the host of a record from others.

    Where no machine id is known that is its name, too; and of what knows nothing of its machine, where it lies.
    """
    known = identity.memory_bytes is not None and name != "unknown"
    beside = "" if identity.machine is not None else name if known else location
    return sha256(f"{identity.key}|{beside}".encode(errors="backslashreplace")).hexdigest()


def gpus_of(host: dict[str, Any]) -> Iterator[str]:
    """Yield the names of a host's GPUs that programs compute on, at most 64."""
    told = host.get("gpus")
    for gpu in told[:64] if isinstance(told, list) else ():
        if isinstance(gpu, dict) and not gpu.get("integrated"):
            yield str(gpu.get("name"))[:MAX_TEXT]


def whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**6 else None


def facts_of(record: LooseRecord) -> Iterator[tuple[str, str]]:
    """Yield the facts of host and software as lines, at most ``MAX_FACTS``."""
    asked = record.software if record.software.get("python") else {}  # or else it was not asked what it is
    lines = [line for name, part in [*record.host.items()][:MOST_PARTS] for line in part_lines(part, name, 1)]
    lines += part_lines(asked, "software", 0)
    meanwhile = [d for study in record.measured for d in study.disturbances if isinstance(d, dict)]
    for name, limit, step in (("mhz", 1e5, -2), ("other_cpu", 1e4, 1), ("steal", 1.0, 2)):
        told = [d[name] for d in meanwhile if isinstance(d.get(name), (int, float)) and 0 <= d[name] <= limit]
        lines += [(f"measured.{name}", f"{round(median(told), step):g}")] if told else []
    yield from lines[:MAX_FACTS]


def part_lines(part: object, name: str, depth: int) -> tuple[tuple[str, str], ...]:
    """Return the facts of one part of a host; of one that many hosts have they are made once."""
    if name in SKIPPED or name in CHANGING:
        return ()
    known = part.lines if isinstance(part, KnownPart) else None
    if known is None:
        known = tuple(flattened(part, name[:60].lstrip("."), depth))
        if isinstance(part, KnownPart):
            part.lines = known
    return known


def flattened(value: object, where: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Yield every value below this one that is worth comparing, with its dotted path."""
    if isinstance(value, dict) and depth < 5:
        for key, inner in list(value.items())[:MOST_PARTS]:
            if key not in SKIPPED and key not in CHANGING:
                yield from flattened(inner, f"{where}.{str(key)[:60]}".lstrip("."), depth + 1)
    elif isinstance(value, list) and any(isinstance(v, (dict, list)) for v in value):
        for i, inner in enumerate(value[:8]):
            yield from flattened(inner, f"{where}.{i}", depth + 1)
    elif value not in (None, [], ""):
        yield where, (", ".join(map(str, value)) if isinstance(value, list) else str(value))[:MAX_TEXT]


def speeds_of(record: LooseRecord) -> Iterator[Speed]:
    """Yield the speeds under today's default, one for each workload on each device."""
    told: set[tuple[str, str]] = set()
    for study in record.measured:
        by_name = {w.name: w for w in study.workloads}
        for estimate in study.estimates:
            workload, place = by_name.get(estimate.workload), (estimate.workload, estimate.device)
            if workload is not None and estimate.plan == BASELINE and place not in told:
                told.add(place)
                work = workload.bytes if workload.family in ("memory", "transfer") else workload.flops
                if workload.family in UNITS and work < 1:  # of no work there is no rate
                    continue
                yield Speed(
                    workload=workload.name,
                    version=workload.told_version,
                    family=workload.family,
                    device=estimate.device,
                    work=work,
                    seconds=estimate.seconds.median,
                    low=estimate.seconds.low,
                    high=estimate.seconds.high,
                    processes=estimate.seconds.processes,
                )
