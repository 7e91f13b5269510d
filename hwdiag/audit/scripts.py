"""Scripts that set host settings, check them and take them back, rendered from the audit's rows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from hwdiag.audit.knobs import BY_ID, KNOBS
from hwdiag.audit.knobs.model import Knob
from hwdiag.audit.model import Row
from hwdiag.core.value import Value
from hwdiag.host.model import Host
from hwdiag.host.script import render
from hwdiag.host.settings import Files

GPU, SYSTEM, PERSIST = "gpu_optimize", "system_optimize", "make_persistent"

WRITE_ONLY = {"gpu.clock_lock": "lock", "gpu.boost_slider": "vboost"}
"""What nothing tells back: the last word of the place in the script."""
FEW = 4
"""So many files are named; of more, all that match the entry's path are taken."""
DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:!@+-]*")
"""Names of devices, pools and units that a script may hold."""


class Place(Value):
    """One thing to set, in the words of the script: ``file /proc/sys/vm/swappiness 10``."""

    kind: str
    name: str
    wanted: str = ""
    sides: tuple[Place, ...] = ()
    """What the kernel changes along with it."""
    disk: str | None = None
    """The disk that it is about, with what tells it from another of the same name."""
    sectors: int = 0
    model: str = ""


class Step(Value):
    """One setting in a script."""

    knob: str
    what: str
    why: str
    known: str
    risk: str
    link: str
    places: tuple[Place, ...] = ()
    glob: str | None = None
    """A pattern that stands for many files with one wanted value."""
    wanted: str = ""
    latency: str | None = None
    """Only idle states that take longer than so many microseconds to wake up."""
    disturbs: tuple[str, ...] = ()
    lasts: bool = False

    @property
    def function(self) -> str:
        return f"knob_{self.knob.replace('.', '_')}"

    @property
    def kinds(self) -> set[str]:
        """What the script must be able to read and write, and to tell."""
        found = {p.kind for p in self.places} | {s.kind for p in self.places for s in p.sides}
        found |= {"latency"} if self.latency else set()
        return found | ({"disk"} if any(p.disk for p in self.places) else set())


def steps(rows: Iterable[Row], host: Host, *, persistent: bool = False) -> tuple[Step, ...]:
    """What to set, each after those that it depends on; with ``persistent``, also what can only be kept for later."""
    by_knob: dict[str, list[Row]] = {}
    for row in rows:
        if row.chosen and row.wanted is not None and row.knob in BY_ID:
            by_knob.setdefault(row.knob, []).append(row)
    found = (step(BY_ID[id_], by_knob[id_], host) for id_ in ordered(by_knob))
    return tuple(s for s in found if s.glob or any(persistent or p.kind != "limit" for p in s.places))


def ordered(chosen: Iterable[str]) -> list[str]:
    """Entries in the order in which they are set."""
    left = [k.id for k in KNOBS if k.id in set(chosen)]
    done: list[str] = []
    while left:
        ready = next((i for i in left if not any(a in left for a in BY_ID[i].after)), left[0])
        done.append(ready)
        left.remove(ready)
    return done


def step(knob: Knob, rows: list[Row], host: Host) -> Step:
    """One entry's part of a script."""
    values = {r.wanted for r in rows}
    number = sum(len(r.where) for r in rows)
    # Disks are set by name, since not every one was looked at.
    alike = isinstance(knob.source, Files) and not knob.source.of_disks and len(values) == 1 and number > FEW
    glob = knob.source.path if alike and isinstance(knob.source, Files) else None
    latency = rows[0].asked if knob.id == "cpu.idle_latency" else None
    return Step(
        knob=knob.id,
        what=knob.what,
        why=rows[0].why,
        known=knob.known,
        risk=knob.risk or "none known",
        link=knob.link,
        places=() if glob else tuple(p for r in rows for w in r.where for p in places(knob, w, r.wanted or "", host)),
        glob=glob,
        wanted=rows[0].wanted or "",
        latency=latency if glob else None,
        disturbs=knob.disturbs,
        lasts=knob.lasts,
    )


def places(knob: Knob, where: str, wanted: str, host: Host) -> Iterator[Place]:
    """A place of the audit in the words of the script; none where its name is not one that a device can have."""
    kind, _, rest = where.partition(" ")
    if where.startswith("/"):
        if all(part not in ("", ".", "..") for part in where[1:].split("/")) and where.isprintable():
            folder = where.rpartition("/")[0]
            sides = tuple(Place(kind="file", name=f"{folder}/{name}") for name in knob.disturbs)
            yield Place(kind="file", name=where, wanted=wanted, sides=sides, **identity_of_disk(where, host))
    elif kind == "gpu":
        id_, _, field = rest.rpartition(" ")
        if DEVICE.fullmatch(id_):
            yield Place(kind="gpu", name=f"{id_} {WRITE_ONLY.get(knob.id, field)}", wanted=wanted)
    elif kind == "limit":
        yield Place(kind="limit", name=rest, wanted=wanted)
    elif kind == "mount":
        yield Place(kind="mount", name=rest, wanted=wanted)
    elif kind == "unit" and DEVICE.fullmatch(rest):
        yield Place(kind="unit", name=rest, wanted=wanted, sides=(Place(kind="active", name=rest),))
    elif kind == "pool" and DEVICE.fullmatch(rest.rpartition(" ")[0]):
        yield Place(kind="pool", name=rest, wanted=wanted)


def identity_of_disk(where: str, host: Host) -> dict[str, object]:
    """What tells the disk of this file from another that may have its name after the next boot."""
    match = re.match("/sys/block/([^/]+)/", where)
    disk = next((d for d in host.disks if match and d.name == match[1]), None)
    if disk is None:
        return {}
    return {"disk": disk.name, "sectors": (disk.size_bytes or 0) // 512, "model": disk.model or ""}


def render_settings(rows: Iterable[Row], host: Host, *, made_at: str) -> dict[str, str]:
    """``gpu_optimize.sh`` and ``system_optimize.sh``, as far as something is chosen for them, by their names."""
    found = steps(rows, host)
    texts = {}
    for name, script in ((GPU, "gpu"), (SYSTEM, "system")):
        mine = [s for s in found if BY_ID[s.knob].script == script]
        if mine:
            kinds = set().union(*(s.kinds for s in mine))
            texts[f"{name}.sh"] = render(
                "hwdiag.audit", "optimize.sh.j2", host, made_at, name=name, steps=mine, kinds=kinds
            )
    return texts
