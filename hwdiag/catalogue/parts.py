"""The catalogue: one YAML file a part, every value with its source, checked against itself when it is read."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Annotated, Generic, Literal, TypeVar

import yaml
from pydantic import Field, ValidationError, model_validator

from hwdiag.core.errors import UsageError
from hwdiag.core.outside import OutsideError, read_file
from hwdiag.core.params import suggestion
from hwdiag.core.value import Value
from hwdiag.experiment.ceilings import Ceiling
from hwdiag.host.model import Host

FOLDER = Path(__file__).parent
MAX_BYTES = 64 * 2**10
ROUNDING = 0.02
"""Data sheets round: a figure may differ from what follows from the others by this share."""

T = TypeVar("T")
Positive = Annotated[float, Field(gt=0, le=1e6)]
Whole = Annotated[int, Field(gt=0, le=10**6)]
Clock = Literal["base", "sustained", "max"]
"""``base``: promised under any load; ``sustained``: what all cores keep up, the base clock under a matrix unit's heat;
``max``: one core's, which no result exceeds."""
Precision = Literal["float64", "float32", "float16", "bfloat16", "float8", "int8"]
DeviceClass = Literal[
    "server CPU with AMX", "CPU with AVX-512", "CPU with AVX2", "CPU of Arm", "CPU without AVX2", "datacenter GPU",
    "consumer GPU", "unified-memory SoC",
]  # fmt: skip
"""Kinds of devices whose libraries and memories behave alike."""


class Sourced(Value, Generic[T]):
    """A value and where it comes from: ``{is: 96, by: amd}``."""

    value: T = Field(alias="is")
    source: str = Field(alias="by")
    """A name among the part's ``sources``."""
    confirmed: bool = True
    """False where nobody has compared it with the source yet."""
    as_of: str | None = Field(None, max_length=20)
    """When it held: of a price the year."""


class Operations(Sourced[Positive]):
    """Operations of one core (of a GPU: one multiprocessor) in one cycle, a multiply-add counted as two."""

    ghz: Positive | None = None
    """The clock that this unit keeps up, where it is another than the core's."""
    unit: str | None = None
    """What does it: ``AMX``, ``VNNI``, ``SVE2``, ``tensor cores``."""
    vector: Sourced[Positive] | None = None
    """What the vector units do in one cycle without that matrix unit, such as VNNI beside AMX."""


class Cores(Value):
    """Cores of one kind; of a GPU its multiprocessors."""

    name: str
    count: Sourced[Whole]
    threads: Sourced[Whole] | None = None
    base_ghz: Sourced[Positive] | None = None
    """What is kept up under any load, by the data sheet."""
    all_core_ghz: Sourced[Positive] | None = None
    """What all cores reach together under usual loads."""
    max_ghz: Sourced[Positive]
    operations: dict[Precision, Operations] = Field(min_length=1)

    def ghz(self, clock: Clock, with_matrix_unit: bool) -> float:
        """Return the clock of this name, or the next higher one where the data sheet does not tell it."""
        base, usual = self.base_ghz or self.all_core_ghz or self.max_ghz, self.all_core_ghz or self.base_ghz
        if clock == "max":
            return self.max_ghz.value
        return base.value if clock == "base" or with_matrix_unit else (usual or self.max_ghz).value


class MainMemory(Value):
    """The memory that holds the weights."""

    bandwidth_gbs: Sourced[Positive]
    """10^9 bytes a second, of one socket."""
    channels: Sourced[Whole] | None = None
    """Of 64 bits."""
    mts: Sourced[Positive] | None = None
    """Million transfers a second of one channel."""
    size_gb: Sourced[Positive] | None = None
    shared: bool = False
    """Whether a GPU beside it draws on it too."""


class Result(Value):
    """A published or measured result on this part."""

    what: Literal["hpl", "gemm", "copy"]
    dtype: Precision
    value: Sourced[Positive]
    """GFLOP/s; for ``copy`` GB/s."""


class Part(Value):
    """One processor or GPU, as its data sheet has it, or as it was measured."""

    name: str = Field(min_length=1, max_length=80)
    kind: Literal["cpu", "gpu"]
    segment: Literal["datacenter", "consumer", "soc"] | None = None
    """Of a GPU, what it is sold for; ``soc`` shares its memory with the CPU."""
    vendor: str
    architecture: str
    year: Sourced[Whole] | None = None
    sources: dict[str, str] = Field(min_length=1)
    isa: Sourced[tuple[str, ...]] | None = None
    cores: tuple[Cores, ...] = Field(min_length=1)
    memory: MainMemory
    llc_mib: Sourced[Positive] | None = None
    """The last-level cache, all instances together."""
    numa_per_socket: Sourced[tuple[Whole, ...]] | None = None
    """NUMA nodes that the firmware can make of one socket."""
    tdp_w: Sourced[Positive] | None = None
    power_w: Sourced[Positive] | None = None
    """Measured under load, where known."""
    price_usd: Sourced[Positive] | None = None
    """List price of one, in US dollars, in the year ``as_of``."""
    results: tuple[Result, ...] = ()
    note: str | None = None
    measured: bool = False
    """Whether it stands for a host whose ceilings were measured, in place of a data sheet's."""

    @property
    def core_count(self) -> int:
        """Return the number of cores of all kinds."""
        return sum(kind.count.value for kind in self.cores)

    @property
    def bandwidth(self) -> float:
        """Return the bandwidth in bytes a second."""
        return self.memory.bandwidth_gbs.value * 1e9

    @property
    def device_class(self) -> DeviceClass:
        """Return the class of devices by which the constants of an estimate are chosen."""
        if self.kind == "gpu":
            segments: dict[str | None, DeviceClass] = {"soc": "unified-memory SoC", "consumer": "consumer GPU"}
            return segments.get(self.segment, "datacenter GPU")
        features = set(self.isa.value) if self.isa else set()
        if "amx_int8" in features:
            return "server CPU with AMX"
        if "avx512f" in features:
            return "CPU with AVX-512"
        if "avx2" in features:
            return "CPU with AVX2"
        return "CPU of Arm" if features & {"neon", "sve", "sve2", "asimd"} else "CPU without AVX2"

    def peak(
        self, dtype: str, clock: Clock = "base", *, matrix: bool = True, equal_shares: bool = False
    ) -> float | None:
        """Return the operations a second that follow from cores, clock and operations a cycle; None where it lacks the
        type.

        Without ``matrix``, what the vector units do where a matrix unit stands beside them. With ``equal_shares``,
        what is left where software deals out the same to every core, so that all wait for the slowest kind.
        """
        total, slowest = 0.0, float("inf")
        for kind in self.cores:
            operations = kind.operations.get(dtype)  # type: ignore[call-overload]
            if operations is None:
                return None
            with_matrix_unit = matrix and operations.vector is not None
            a_cycle = operations.vector.value if operations.vector and not matrix else operations.value
            ghz = operations.ghz or kind.ghz(clock, with_matrix_unit)
            total += kind.count.value * ghz * 1e9 * a_cycle
            slowest = min(slowest, ghz * 1e9 * a_cycle)
        return slowest * self.core_count if equal_shares else total

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Part:
        for problem in self._contradictions():
            raise ValueError(problem)
        return self

    def _contradictions(self) -> Iterator[str]:
        if (self.kind == "gpu") != (self.segment is not None):
            yield "a GPU, and only a GPU, has a segment: datacenter, consumer or soc"
        if self.price_usd and self.price_usd.as_of is None:
            yield "price_usd lacks as_of, the year in which it held"
        for where, sourced in sourced_values(self):
            if sourced.source not in self.sources:
                yield f"{where} names the source {sourced.source!r}, which is not among its sources"
        for kind in self.cores:
            clocks = [c.value for c in (kind.base_ghz, kind.all_core_ghz, kind.max_ghz) if c is not None]
            if clocks != sorted(clocks):
                yield f"{kind.name}: the base, all-core and highest clock are {clocks} GHz, which should not fall"
            if kind.threads and kind.threads.value % kind.count.value:
                yield f"{kind.name}: {kind.threads.value} threads on {kind.count.value} cores is no whole number each"
        memory = self.memory
        if memory.channels and memory.mts:
            follows = memory.channels.value * memory.mts.value * 8 / 1e3
            if differs(follows, memory.bandwidth_gbs.value):
                yield (
                    f"{memory.channels.value} channels at {memory.mts.value:g} MT/s give {follows:.1f} GB/s, "
                    f"not {memory.bandwidth_gbs.value:g}"
                )
        for result in self.results:
            yield from self._impossible(result)

    def _impossible(self, result: Result) -> Iterator[str]:
        reached = result.value.value
        if result.what == "copy":
            peak: float | None = self.memory.bandwidth_gbs.value
        else:
            peak = self.peak(result.dtype, "max")
            peak = None if peak is None else peak / 1e9
        if peak is None:
            yield f"a result of {result.what} is in {result.dtype}, for which it has no operations a cycle"
        elif reached > peak * (1 + ROUNDING):
            yield f"{result.what} measured {reached:,.0f}, which exceeds the peak of {peak:,.0f}"


def differs(a: float, b: float) -> bool:
    """Return whether two figures are further apart than rounding explains."""
    return abs(a - b) > ROUNDING * max(a, b)


def sourced_values(value: object, where: str = "") -> Iterator[tuple[str, Sourced[object]]]:
    """Yield all values with a source below this one, and their places."""
    if isinstance(value, Sourced):
        yield where, value
    elif isinstance(value, Value):
        for name in type(value).model_fields:
            yield from sourced_values(getattr(value, name), f"{where}.{name}".lstrip("."))
    elif isinstance(value, tuple):
        for i, inner in enumerate(value):
            yield from sourced_values(inner, f"{where}[{i}]")
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from sourced_values(inner, f"{where}.{key}")


QUICK: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""For hwdiag's own files: eight times as fast, where PyYAML was built with it."""


def read_part(path: Path, loader: type[yaml.SafeLoader] = yaml.SafeLoader) -> Part:
    """Return one file of the catalogue.

    Raises:
        UsageError: it cannot be read, lacks a value, has an unknown one, or contradicts itself; in one line.
    """
    try:
        values = yaml.load(read_file(path, MAX_BYTES).decode(), loader)
        return Part.model_validate(values)
    except OSError as error:
        raise UsageError(f"no part at {path}: {error.strerror}") from None
    except OutsideError as error:
        raise UsageError(f"{path} is not a part: {error}") from None
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise UsageError(f"{path} is not YAML: {' '.join(str(error).split())[:200]}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise UsageError(f"{path.name}: {where + ': ' if where else ''}{message}") from None


@cache
def catalogue() -> dict[str, Part]:
    """Return all parts by their file's name. Raises ``UsageError`` for the first file that is wrong."""
    return {path.stem: read_part(path, QUICK) for path in sorted(FOLDER.glob("*.yaml"))}


def find_part(name: str) -> Part:
    """Return a part of the catalogue by its file's name, or from a file of the person's own.

    Raises:
        UsageError: there is none, or it is refused.
    """
    if name.endswith(".yaml"):
        return read_part(Path(name))
    parts = catalogue()
    if name not in parts:
        raise UsageError(f"no part {name!r} in the catalogue{suggestion(name, parts)}")
    return parts[name]


def part_of(host: Host, ceilings: tuple[Ceiling, ...], label: str | None = None) -> Part:
    """Return a Host that was read as an entry, with measured ceilings in place of a data sheet's.

    Raises:
        UsageError: no ceilings were measured.
    """
    best = {(c.kind, c.dtype): c for c in ceilings if c.device == "cpu"}
    memory = max((c.value for c in best.values() if c.kind == "memory"), default=None)
    compute = {d: c.value for (kind, d), c in best.items() if kind == "compute" and d in ("float32", "bfloat16")}
    if memory is None or not compute:
        raise UsageError(f"{label or host.label} has no measured ceilings for compute and memory, so nothing follows")
    cores = max(1, len(host.usable_cores))
    by = "measured"
    # One cycle of a clock of 1 GHz: what was measured is a rate, and which clock it ran at is not known.
    operations = {d: {"is": v / cores / 1e9, "by": by} for d, v in compute.items()}
    cpu = host.cpu
    return Part.model_validate(
        {
            "name": (label or host.label)[:80],
            "kind": "cpu",
            "vendor": cpu.vendor or "unknown",
            "architecture": (cpu.isa.level if cpu.isa else None) or host.system.arch,
            "sources": {by: f"measured by hwdiag on this host, read {host.read_at}"},
            "isa": {"is": cpu.isa.features, "by": by} if cpu.isa else None,
            "cores": [
                {
                    "name": (cpu.model or "core")[:80],
                    "count": {"is": cores, "by": by},
                    "max_ghz": {"is": 1.0, "by": by},
                    "operations": operations,
                }
            ],
            "memory": {"bandwidth_gbs": {"is": memory / 1e9, "by": by}},
            "llc_mib": {"is": cpu.llc_bytes / 2**20, "by": by} if cpu.llc_bytes else None,
            "numa_per_socket": None,
            "measured": True,
        }
    )
