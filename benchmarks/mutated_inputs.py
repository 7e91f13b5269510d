"""Inputs from outside, each damaged and read as the verbs read it: the folder that is given is the mutation's own."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import tarfile
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.damage import NESTED, NUMBERS, TEXTS, changed_bytes, changed_json, changed_record, hostile
from hwdiag.core.errors import HwdiagError

Case = Callable[[random.Random, Path], None]
"""Makes one mutation and reads it."""

TOP = Path(__file__).parents[1]
DUMPS = TOP.parent / "shared" / "hosts"
EXPRESSIONS = (r"(a+)+$", r".*.*.*=([0-9]+)x", r"([0-9.]+) it/s", "(", r"(a|a)*b", "(x{65536})", "((a{900}){900})")
PATHS = ("speed.value.1", "n", "", ".", "speed..", "speed.value.99999999999999999999", "speed." * 300)
"""Of a field in JSON."""
INTERVAL = {"median": 1.0, "low": 0.9, "high": 1.1, "processes": 10, "samples": 0}
VERIFICATION: dict[str, Any] = {
    "kind": "verification",
    "schema_version": 1,
    "status": "CRITICAL",
    "host": "node7",
    "hostname": "node7",
    "started_at": "2026-12-01T08:00:00Z",
    "seconds": 4.5,
    "version": "0.1.0",
    "record": "/srv/hwdiag/node7/record.json",
    "record_started_at": "2026-11-01T08:00:00Z",
    "causes": [{"id": "slower.triad", "status": "CRITICAL", "title": "triad is slower", "remedy": "look"}],
    "changed": [{"what": "system.kernel", "then": "6.1", "now": "6.2"}],
    "speeds": [
        {
            "workload": "triad",
            "unit": "GB/s",
            "then": INTERVAL,
            "now": INTERVAL,
            "speedup": INTERVAL,
            "verdict": "slower",
        }
    ],
    "checks": [{"id": "facts", "state": "fine", "title": "as recorded"}],
}


@cache
def archives() -> list[bytes]:
    """Return dumps and snapshots, small enough that reading them takes no second."""
    found = [*sorted(DUMPS.glob("*.tar.gz")), *sorted((TOP / "tests/host/snapshots").glob("*.tar.gz"))]
    return [path.read_bytes() for path in found if path.stat().st_size < 100_000]


@cache
def dumps() -> list[dict[str, bytes]]:
    """Return the files of each archive by their names."""
    found = []
    for data in archives():
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            files = {entry.name: archive.extractfile(entry) for entry in archive if entry.isreg()}
            found.append({name: file.read() for name, file in files.items() if file is not None})
    return found


@cache
def records() -> list[bytes]:
    """Return the example's records, and one of each older format."""
    found = [*sorted((TOP / "outputs/example").rglob("*.json")), *sorted((TOP / "tests/record/old").glob("*.json"))]
    return [path.read_bytes() for path in found if path.stat().st_size < 600_000]


@cache
def trace() -> Any:
    """Return a trace of torch.profiler."""
    return json.loads(gzip.decompress((TOP / "tests/process/traces/two-layers-cpu.pt.trace.json.gz").read_bytes()))


def look_at_host(root: Any) -> None:
    """Read a host and show it, as ``hwdiag host`` does."""
    from hwdiag.host.model import Host
    from hwdiag.host.read import read_host
    from hwdiag.report.host_table import host_table
    from hwdiag.report.topology import draw_topology

    host = read_host(root)
    assert Host.model_validate_json(host.model_dump_json()).cpu == host.cpu, "it is not read back as it was"
    wrong = [g for g in host.gaps if g.why.partition(":")[0].endswith("Error")]
    assert not wrong, wrong
    host_table(host).to_text(80)
    draw_topology(host)


def a_dump(random: random.Random, folder: Path) -> None:
    """Damage some files of a dump, and their names."""
    from hwdiag.host.root import Root

    files = dict(random.choice(dumps()))
    names = sorted(files)
    few = [name for name in names if "/cpu" not in name] or names
    for _ in range(random.choice((1, 3, 10))):
        name = random.choice(random.choice((few, names)))
        if name not in files:
            continue
        chance = random.random()
        if chance < 0.15:
            files[f"{name}/inner"] = files.pop(name)
        elif chance < 0.3:
            strange = random.choice(("70000", "\udcff", "9" * 30, "\x1b[2J"))
            other = name.replace(random.choice("0123456789abcdef"), strange)
            files[other] = files[name]
        elif chance < 0.5:
            files[name] = random.choice((*NUMBERS, *TEXTS)).encode(errors="surrogateescape") + b"\n"
        else:
            files[name] = changed_bytes(random, files[name])
    for name, data in files.items():
        with suppress(OSError, ValueError):  # names that this file system doesn't take
            place = folder / "dump" / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
    look_at_host(Root.directory(folder / "dump"))


def an_archive(random: random.Random, folder: Path) -> None:
    """Damage an archive, packed or unpacked, or put into it what does not belong there."""
    from hwdiag.host.archive import open_root

    data = random.choice(archives())
    chance = random.random()
    if chance < 0.3:
        data = changed_bytes(random, data)
    elif chance < 0.5:
        data = gzip.compress(changed_bytes(random, gzip.decompress(data)), 1)
    else:
        packed = io.BytesIO()
        with tarfile.open(fileobj=io.BytesIO(data)) as old, tarfile.open(fileobj=packed, mode="w:gz") as new:
            for entry in old:
                file = old.extractfile(entry) if entry.isreg() else None
                content = file.read() if file is not None else b""
                if entry.name == "hwdiag-snapshot.json" and random.random() < 0.9:
                    content = changed_record(random, content)
                elif random.random() < 0.02:
                    content = changed_bytes(random, content)
                    entry.type = random.choice(
                        (entry.type, entry.type, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE)
                    )
                    entry.linkname = random.choice(("..", "/", "/etc/passwd", entry.name, "../" * 40, ""))
                    entry.name = random.choice((entry.name, entry.name, "../x", "/x", "./x", "x//y"))
                entry.size = len(content) if entry.isreg() else 0
                new.addfile(entry, io.BytesIO(content) if entry.isreg() else None)
        data = packed.getvalue()
    (folder / "host.tar.gz").write_bytes(data)
    look_at_host(open_root(folder / "host.tar.gz"))


def a_record(random: random.Random, folder: Path) -> None:
    """Damage a record; draw its report, compare it, and show its studies."""
    from hwdiag.diagnose.report_steps import of_record
    from hwdiag.record.row import row_of

    data = changed_record(random, random.choice(records()))
    (folder / "record.json").write_bytes(data)
    row_of(data, str(folder / "record.json"))
    report = of_record(folder)
    report.html()
    for table in report.tables():
        table.to_text(80)
    "".join(report.lines())
    report.record.model_dump_json()


def an_expectation(random: random.Random, folder: Path) -> None:
    """Damage a record; hold this host against it, and write its recommendation for all ways to start a program."""
    from hwdiag.diagnose.emit_steps import emitted, starting
    from hwdiag.host.identity import identity_of
    from hwdiag.host.read import read_host
    from hwdiag.host.root import Root
    from hwdiag.record.store import load
    from hwdiag.verify.facts import another_machine
    from hwdiag.verify.look import compared
    from hwdiag.verify.speeds import comparable

    (folder / "record.json").write_bytes(changed_record(random, random.choice(records())))
    record = load(folder)
    host = read_host(Root.directory(folder)) if random.random() < 0.5 else record.host
    another_machine(record.identity, identity_of(host))
    compared(record, host)
    comparable(record)
    for recommendation in record.recommendations[:3]:
        if recommendation.topic in ("tune", ""):
            emitted(starting(record, folder, recommendation.id, ()), "all")


def a_verification(random: random.Random, folder: Path) -> None:
    """Damage a verification, and tell what it says."""
    from hwdiag.record.verification import load_verification

    (folder / "verification.json").write_bytes(changed_record(random, json.dumps(VERIFICATION).encode()))
    found = load_verification(folder)
    found.model_dump_json()
    assert "\n" not in found.line
    assert 0 <= found.exit_status <= 3


def a_fleet(random: random.Random, folder: Path) -> None:
    """Damage records and verifications of some hosts; look at the fleet, as lines, page, table and JSON."""
    from hwdiag.compare.fleet import show
    from hwdiag.compare.fleet.steps import load, read_fleet
    from hwdiag.compare.fleet.table import fleet_table

    verdict = {
        "kind": "verification", "schema_version": 1, "status": "CRITICAL", "host": "box", "hostname": "box",
        "identity": {"machine": "f" * 64, "memory_bytes": 2**34}, "started_at": "2026-12-01T00:00:00Z", "seconds": 9.5,
        "version": "0.1.0", "causes": [{"id": "gpu", "status": "CRITICAL", "title": "gone", "remedy": "look"}],
    }  # fmt: skip
    for i in range(4):
        (folder / str(i)).mkdir()
        (folder / str(i) / "record.json").write_bytes(changed_record(random, random.choice(records())))
        told = changed_record(random, json.dumps(verdict).encode())
        (folder / str(i) / "verification.json").write_bytes(told)
    found = read_fleet(load({"records": [str(folder)]}), keep=folder / "index.parquet")
    "".join(show.lines(found, 10))
    show.page(found)
    fleet_table(found)
    found.model_dump_json()


def a_profile(random: random.Random, folder: Path) -> None:
    """Damage a profile, and read it for a topic."""
    from hwdiag.parameters.diagnosis import load

    data = random.choice(sorted((TOP / "params").glob("*.yaml"))).read_bytes()
    lines = data.splitlines()
    if random.random() < 0.6:
        at = random.randrange(len(lines))
        name = lines[at].partition(b":")[0]
        value = random.choice(
            (*NUMBERS, *TEXTS, *NESTED, "&a [*a]", "!!python/object:os.system x", "2026-13-45", "1:2:3")
        )
        lines[at] = name + b": " + value.encode(errors="surrogatepass")
        data = b"\n".join(lines)
    else:
        data = changed_bytes(random, data)
    (folder / "params").mkdir()
    (folder / "params/mine.yaml").write_bytes(data)
    os.environ["HWDIAG_HOME"] = str(folder)
    load({"host": "mine"})


def a_trace(random: random.Random, folder: Path) -> None:
    """Damage a trace, above all its events, and analyse it."""
    from hwdiag.process.trace import analyse, cut_trace, read_trace

    if random.random() < 0.15:
        data = changed_record(random, json.dumps(trace()).encode())
    else:
        events = list(trace()["traceEvents"])
        for _ in range(random.choice((1, 5, 50))):
            at = random.randrange(len(events))
            events[at] = changed_json(random, events[at])
        data = json.dumps({**trace(), "traceEvents": events}).encode()
    path = folder / "x.pt.trace.json"
    path.write_bytes(data)
    for from_first in (False, True):
        analyse(cut_trace(read_trace(path), random.choice((10, 10**6)))[0], from_first).model_dump_json()


def a_parameter(random: random.Random, _: Path) -> None:
    """Give a topic some parameters that are wrong, as options or as variables."""
    from hwdiag.parameters.diagnosis import TOPICS, load, load_topic

    verb = random.choice(sorted(TOPICS))
    model = TOPICS[verb]
    given: dict[str, Any] = {}
    variables: dict[str, str] = {}
    for _number in range(random.choice((1, 2, 4))):
        name = random.choice([*model.model_fields])
        value = random.choice((*NUMBERS, *TEXTS, *NESTED, hostile(random)))
        if random.random() < 0.5 and isinstance(value, str) and "\0" not in value:
            variables[f"HWDIAG_{name.upper()}"] = value
        else:
            given[random.choice((name, name, name, random.choice(TEXTS)))] = value
    with mock.patch.dict(os.environ, variables):
        load(given) if verb == "run" else load_topic(model, given)


def a_metric(random: random.Random, _: Path) -> None:
    """Take a number from what a command printed, by a hostile expression or of damaged JSON."""
    from hwdiag.core.text import one_group
    from hwdiag.process.command import MetricError, metric
    from hwdiag.process.model import Command

    output = changed_record(random, b'{"speed": {"value": [1.5, 2.5]}, "n": 3}').decode(errors="replace")
    output = random.choice((output, output + "\n" + "speed: 12.5 it/s\n" * 3, "a" * 100_000, "=" * 50_000 + "x"))
    path, expression = random.choice(PATHS), random.choice(EXPRESSIONS)
    try:
        if random.random() < 0.5:
            metric(Command(argv=("x",), metric_json=path), output, "", 1.0)
        else:
            metric(Command(argv=("x",), metric=one_group(expression)), output, "", 1.0)
    except (MetricError, ValueError) as error:
        raise HwdiagError(str(error)) from None


INPUTS: dict[str, Case] = {
    "dump": a_dump,
    "archive": an_archive,
    "record": a_record,
    "fleet": a_fleet,
    "expectation": an_expectation,
    "verification": a_verification,
    "profile": a_profile,
    "trace": a_trace,
    "parameters": a_parameter,
    "metric": a_metric,
}
