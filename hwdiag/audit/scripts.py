"""Scripts that set host settings, check them and take them back, rendered from the audit's rows."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

from hwdiag.audit.kind import Place, part
from hwdiag.audit.kinds import kinds
from hwdiag.audit.kinds.file import Files
from hwdiag.audit.knobs import BY_ID, KNOBS
from hwdiag.audit.knobs.model import Knob
from hwdiag.audit.model import Row
from hwdiag.core.value import Value
from hwdiag.host.model import Host
from hwdiag.host.script import render

GPU, SYSTEM, PERSIST = "gpu_optimize", "system_optimize", "make_persistent"

FEW = 4
"""So many files are named; of more, all that match the entry's path are taken."""


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
    condition: str | None = None
    """A command that tells which files of the pattern are meant."""
    disturbs: tuple[str, ...] = ()
    lasts: bool = False
    kind: str
    """Whose part of the scripts sets it."""

    @property
    def function(self) -> str:
        return f"knob_{self.knob.replace('.', '_')}"


def steps(rows: Iterable[Row], host: Host, *, persistent: bool = False) -> tuple[Step, ...]:
    """Return the steps of a script, each after those that it depends on; with ``persistent``, also those that can only
    be kept for later."""
    by_knob: dict[str, list[Row]] = {}
    for row in rows:
        if row.chosen and row.wanted is not None and row.knob in BY_ID:
            by_knob.setdefault(row.knob, []).append(row)
    found = (step(BY_ID[id_], by_knob[id_], host) for id_ in ordered(by_knob))
    return tuple(s for s in found if (s.glob or s.places) and (persistent or part(s.kind)))


def ordered(chosen: Iterable[str]) -> list[str]:
    """Return entries in the order in which they are set."""
    left = [k.id for k in KNOBS if k.id in set(chosen)]
    done: list[str] = []
    while left:
        ready = next((i for i in left if not any(a in left for a in BY_ID[i].after)), left[0])
        done.append(ready)
        left.remove(ready)
    return done


def step(knob: Knob, rows: list[Row], host: Host) -> Step:
    """Return one entry's part of a script."""
    source, values, where = knob.source, {r.wanted for r in rows}, [w for r in rows for w in r.where]
    glob = source.glob(where) if len(values) == 1 and len(where) > FEW else None
    named = (p for r in rows for w in r.where for p in source.places(w, r.wanted or "", host, knob.disturbs))
    return Step(
        knob=knob.id,
        what=knob.what,
        why=rows[0].why,
        known=knob.known,
        risk=knob.risk or "none known",
        link=knob.link,
        places=() if glob else tuple(named),
        glob=glob,
        wanted=rows[0].wanted or "",
        condition=source.condition(rows[0].asked) if glob and rows[0].asked else None,
        disturbs=knob.disturbs,
        lasts=knob.lasts,
        kind=source.name,
    )


def render_settings(rows: Iterable[Row], host: Host, *, made_at: str) -> dict[str, str]:
    """Return ``gpu_optimize.sh`` and ``system_optimize.sh``, as far as something is chosen for them, by their names.

    Each has the parts of all kinds that it may set: an earlier choice may have to be undone.
    """
    found = steps(rows, host)
    texts = {}
    for name, script in ((GPU, "gpu"), (SYSTEM, "system")):
        mine = [s for s in found if BY_ID[s.knob].script == script]
        if mine:
            of_script = {BY_ID[k.id].source.name for k in KNOBS if k.script == script and k.wanted}
            names = (kind.name for kind in kinds() if kind is Files or kind.name in of_script)
            parts = [text for text in map(part, names) if text]
            needs = [kind.needs for kind in kinds() if kind.needs and any(s.kind == kind.name for s in mine)]
            values = {"name": name, "steps": mine, "parts": parts, "needs": needs, "known": known_places(script)}
            texts[f"{name}.sh"] = render("hwdiag.audit", "optimize.sh.j2", host, made_at, **values)
    return texts


def known_places(script: str) -> list[str]:
    """Return the shell's patterns of all places that this script ever sets, with the kind's word in front."""
    mine = (k for k in KNOBS if k.script == script and k.wanted and part(k.source.name))
    pairs = (pair for k in mine for pair in k.source.known(k.disturbs))
    return list(dict.fromkeys(shell_pattern(f"{kind} {place}") for kind, place in pairs))


def shell_pattern(text: str) -> str:
    """Return the text as a pattern of ``case`` in which ``*`` and ``[...]`` alone mean something."""
    parts = re.split(r"(\*|\[[^\]]*\])", text)
    return "".join(p if i % 2 else shlex.quote(p) for i, p in enumerate(parts) if p)
