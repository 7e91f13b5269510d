"""Records side by side as a person sees them: what differs, how fast, and what became slower."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from hwdiag.catalogue.parts import Part, catalogue
from hwdiag.compare.compare import History, WorkloadSpeeds, by_host
from hwdiag.core.text import listed
from hwdiag.record.differences import Difference, Group
from hwdiag.record.row import RecordRow, RefusedRecord, Speed
from hwdiag.report.format import UNKNOWN, plural, significant, size, speedup, utc
from hwdiag.report.section import Section
from hwdiag.report.table import Cell, Table, join_few

SHOWN = 8
"""Records that stand side by side in one table."""
MANY = 40
"""Lines of a table before the rest is only counted."""
NOUNS: tuple[tuple[Group, tuple[str, str]], ...] = (
    ("setting", ("setting", "settings")),
    ("software", ("fact of software", "facts of software")),
    ("fact", ("fact of the machine", "facts of the machine")),
)
LABEL = 24
"""Characters of a record's name in the heading of a column."""
PLACES = {
    "system": "", "cpu": "CPU", "kinds": "kind", "isa": "instructions", "numa": "NUMA node", "disks": "disk",
    "gpus": "GPU", "limits": "limit", "measured": "while measuring",
}  # fmt: skip
FACTS = {
    "memory_bytes": "memory", "total_bytes": "total", "swap_total_bytes": "swap", "page_bytes": "page size",
    "cmdline": "kernel command line", "isa": "instructions", "smt": "two threads a core", "nofile": "open files",
    "memlock_bytes": "locked memory", "mems": "NUMA nodes allowed", "allowed": "CPUs allowed", "cpus": "CPUs",
    "mhz": "clock, MHz", "other_cpu": "CPUs that others kept busy", "steal": "time that the hypervisor took",
    "read_ahead_kb": "read ahead, KiB", "transparent_hugepages": "transparent huge pages", "arch": "architecture",
}  # fmt: skip
WORDS = {"worse": "slower", "better": "faster", "same": "the same", "undecided": "undecided"}


def overview(records: Sequence[RecordRow], refused: Sequence[RefusedRecord]) -> Section:
    """Return the section on the records that there are to compare."""
    hosts = by_host(records)
    lost = f"; {plural(len(refused), 'file')} refused" if refused else ""
    verdict = f"{plural(len(records), 'record')} of {plural(len(hosts), 'host')}{lost}."
    rows = [
        (r.name, r.cpu, str(r.cores or UNKNOWN), utc(r.started_at), ", ".join(r.topics), by_text(r))
        for r in records[:MANY]
    ]
    caption = "Records" + (f", the first {MANY} of {len(records)}" if len(records) > MANY else "")
    table = Table(caption, ("Name", "CPU", "Cores", "Measured", "Holds", "By"), rows, frozenset({2}))
    return Section(verdict, (table, refused_table(refused) if refused else None))


def by_text(record: RecordRow) -> str:
    """Return which hwdiag made it."""
    version = record.versions.get("hwdiag")
    return f"hwdiag {version}" if version else UNKNOWN


def refused_table(refused: Sequence[RefusedRecord]) -> Table:
    """Return a table of the files that are not compared, and why."""
    rows = [(r.location, r.why) for r in refused[:MANY]]
    more = f", the first {MANY} of {len(refused)}" if len(refused) > MANY else ""
    return Table(f"Refused{more}", ("File", "Why"), rows)


def labels(records: Sequence[RecordRow]) -> tuple[str, ...]:
    """Return a heading for each record: its name, with the time where names repeat, and a number where that does.

    A long name of somebody else's record is cut: the section on the records has it in full.
    """
    cut = [r.name if len(r.name) <= LABEL else f"{r.name[: LABEL - 1]}…" for r in records]
    names = Counter(cut)
    timed = [name if names[name] == 1 else f"{name} {utc(r.started_at)}" for name, r in zip(cut, records, strict=True)]
    times = Counter(timed)
    return tuple(text if times[text] == 1 else f"{i + 1}: {text}" for i, text in enumerate(timed))


def in_words(what: str) -> str:
    """Return a fact's dotted path as a person would call it: ``numa.0.memory_bytes`` is "NUMA node 0: memory"."""
    *places, last = what.split(".")
    said: list[str] = []
    for place in places:
        if place.isdigit() and said:
            said[-1] += f" {place}"
        else:
            said.append(PLACES.get(place, place.replace("_", " ")))
    end = FACTS.get(last, last.removesuffix("_bytes").replace("_", " "))
    return ": ".join([*filter(None, said), end])


def value_in_words(what: str, value: str) -> str:
    """Return a fact's value with its unit."""
    if what.endswith("_bytes") and value.isdigit():
        return size(int(value))
    return value or UNKNOWN


def differing(records: Sequence[RecordRow], found: Sequence[Difference]) -> Section:
    """Return the section on facts and settings that differ."""
    if len(records) < 2:
        return Section("There is only one record, so nothing differs.", ())
    groups = Counter(d.group for d in found)
    told = listed(plural(groups[group], *nouns) for group, nouns in NOUNS if groups[group])
    verdict = f"They differ in {told}." if found else "They do not differ in any fact that is compared."
    rows: list[tuple[Cell, ...]] = [
        (in_words(d.what), d.group, *(value_in_words(d.what, v) for v in d.values[:SHOWN])) for d in found[: 3 * MANY]
    ]
    caption = f"What differs, settings first{'' if len(records) <= SHOWN else f'; the first {SHOWN} records'}"
    return Section(verdict, (Table(caption, ("What", "Kind", *labels(records)[:SHOWN]), rows),))


def matched(record: RecordRow, parts: Sequence[Part]) -> Part | None:
    """Return the part that this CPU's name means, for its power and price: a chosen one, or else the catalogue's."""
    name = plain(record.cpu)
    return next((p for p in (*parts, *catalogue().values()) if p.kind == "cpu" and plain(p.name) in name), None)


def plain(name: str) -> str:
    return " ".join(re.sub(r"\((r|tm)\)|\bcpu\b|@.*", " ", name.lower()).split())


def speeds(records: Sequence[RecordRow], found: Sequence[WorkloadSpeeds], parts: Sequence[Part]) -> Section:
    """Return the section on the speed of each workload on each record."""
    if not found:
        return Section("Nothing was measured.", ())
    refusals = [line for line in found if line.refusal]
    rows: list[tuple[Cell, ...]] = []
    for line in found:
        name = f"{line.workload} on {line.device}, {line.unit}"
        if line.refusal:
            rows.append((name, *["not compared"] * min(len(records), SHOWN), *["-"] * len(parts)))
            continue
        some = next(s for s in line.speeds if s is not None)
        cells = [against(s, line.speeds[0]) for s in line.speeds[:SHOWN]]
        rows.append((name, *cells, *(ceiling(p, some) for p in parts)))
    verdict = fastest(records, [line for line in found if not line.refusal])
    if refusals:
        verdict += f" {listed(line.workload for line in refusals)}: {refusals[0].refusal}."
    header = ("Workload", *labels(records)[:SHOWN], *(p.name for p in parts))
    caption = "Speed under today's default, in brackets against the first record; of catalogued parts the peak"
    columns = frozenset(range(1, len(header)))
    return Section(verdict, (Table(caption, header, rows, columns), per_unit(records, found, parts)))


def against(speed: Speed | None, first: Speed | None) -> str:
    """Return a speed, and its ratio to the first record's."""
    if speed is None:
        return UNKNOWN
    value = speed.value(speed.seconds)
    if first is None or first is speed:
        return significant(value)
    return f"{significant(value)} ({value / first.value(first.seconds):.2f}x)"


def ceiling(part: Part, speed: Speed) -> str:
    """Return as text the speed that this part cannot exceed."""
    most = limit(part, speed)
    return f"at most {significant(most)}" if most else "-"


def limit(part: Part, speed: Speed) -> float | None:
    """Return the speed that this part cannot exceed by its data sheet, in the workload's unit; a net has no such
    figure."""
    if speed.device != "cpu":
        return None
    if speed.family == "memory":
        return part.bandwidth / 1e9
    dtype = next((d for d in ("float32", "bfloat16") if d in speed.version), "")
    peak = part.peak(dtype, "max") if speed.family == "compute" and dtype else None
    return peak / 1e9 if peak else None


def fastest(records: Sequence[RecordRow], found: Sequence[WorkloadSpeeds]) -> str:
    """Return one sentence on which record is fastest in how many workloads."""
    if len(records) < 2:
        return "There is only one record to show."
    names = labels(records)
    wins: Counter[str] = Counter()
    for line in found:
        values = {n: s.value(s.seconds) for n, s in zip(names, line.speeds, strict=True) if s is not None}
        if len(values) > 1:
            wins[max(values, key=lambda n: values[n])] += 1
    said = listed(f"{name} in {plural(count, 'workload')}" for name, count in wins.most_common(3))
    return f"Fastest: {said}." if wins else "No workload was measured in more than one of them."


def per_unit(records: Sequence[RecordRow], found: Sequence[WorkloadSpeeds], parts: Sequence[Part]) -> Table | None:
    """Return the speeds for each core, watt and unit of money; of parts the speeds that they cannot exceed."""
    rows: list[tuple[Cell, ...]] = []
    for i, (record, label) in enumerate(zip(records[:SHOWN], labels(records), strict=False)):
        part = matched(record, parts)
        told = record.facts.get("cpu.sockets", "")
        sockets = int(told) if told.isdigit() and told != "0" else 1
        for line in found:
            speed = line.speeds[i]
            if speed is not None and speed.device == "cpu" and not line.refusal:
                each = normalised(speed.value(speed.seconds), record.cores, part, sockets)
                rows.append((label, f"{line.workload}, {line.unit}", *each))
    for part in parts:
        for line in found:
            most = limit(part, next(s for s in line.speeds if s is not None))
            if most and not line.refusal:
                each = normalised(most, part.core_count, part, 1)
                rows.append((f"{part.name}, at most", f"{line.workload}, {line.unit}", *each))
    header = ("Record", "Workload", "A core", "A watt (TDP)", "A thousand of the list price (USD)")
    return Table(
        "Normalised; power and price are the catalogue's, where it has the CPU", header, rows, frozenset({2, 3, 4})
    )


def normalised(value: float, cores: int | None, part: Part | None, sockets: int) -> tuple[str, str, str]:
    """Return a speed for each core, watt and thousand of the price, of so many sockets."""
    watts = (part.power_w or part.tdp_w) if part else None
    price = part.price_usd if part else None
    return (
        significant(value / cores) if cores else UNKNOWN,
        significant(value / watts.value / sockets) if watts else UNKNOWN,
        significant(1000 * value / price.value / sockets) if price else UNKNOWN,
    )


def histories(found: Sequence[History]) -> Section:
    """Return the section on hosts that became slower or faster."""
    if not found:
        return Section("No host has more than one record, so nothing is said about change.", ())
    counts = Counter(h.verdict for h in found)
    said = listed(
        f"{plural(counts[v], 'host')} {WORDS[v]}" for v in ("worse", "undecided", "better", "same") if counts[v]
    )
    rows: list[tuple[Cell, ...]] = []
    for h in found[:MANY]:
        changed = join_few(
            [
                f"{in_words(d.what)}: {value_in_words(d.what, d.values[0])} -> {value_in_words(d.what, d.values[1])}"
                for d in h.differences
            ],
            6,
        )
        for c in sorted(h.changes, key=lambda c: c.speedup.median):
            rows.append(
                (
                    h.name,
                    f"{c.workload} on {c.device}",
                    f"{utc(h.before)} to {utc(h.after)}",
                    speedup(c.speedup),
                    WORDS[c.verdict],
                    changed or "nothing that is compared",
                )
            )
    header = ("Host", "Workload", "Between", "Speed now over then", "Verdict", "What changed")
    caption = "Each host's last record against its fastest before, per workload"
    verdict = f"Against each host's fastest earlier record: {said}."
    return Section(verdict, (Table(caption, header, rows[: 3 * MANY], frozenset({3})),))
