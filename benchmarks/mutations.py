"""What comes from outside is data: ``python -m benchmarks.mutations [--each N] [--seed N] [--only INPUT] [--show]``.

Dumps, archives, records, profiles, traces, parameters and metrics are damaged, N of each, and read as the verbs read
them. Each mutation has 5 s of CPU and 512 MiB in a forked child; what raises anything but an error in one line, or
does not end within that, is a fault. Exit status 1 where there is one.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import os
import random
import resource
import signal
import sys
import tarfile
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from hwdiag.core.errors import HwdiagError
from hwdiag.report.table import Table

Case = Callable[[random.Random, Path], None]
"""Makes one mutation and reads it; the folder is its own."""

CPU_S, MEMORY_BYTES = 5, 512 << 20
BATCH = 25
TOP = Path(__file__).parents[1]
DUMPS = TOP.parent / "shared" / "hosts"
NUMBERS = ("-1", "0", "1e400", "-1e308", "NaN", "9" * 25, "9" * 400, "9" * 5000, "0x10", "1e-320", "65536", "2e9")
TEXTS = (
    *("", "\0", "\x1b]0;x\x07\x1b[2J", "\u009b2J", "\udcff", "\u202e", "é" * 300, "a\nb", "<script>", "x" * 5000),
    *("../../etc/passwd", "/dev/zero", "0-65535", "5-1", "true", "{{7*7}}", "%s%n", "%d", "{}", "[[[", "~nobody/x"),
)
NESTED = tuple(o * depth + c * depth for o, c in (("[", "]"), ('{"a":', "}")) for depth in (90, 300))
PIECES = tuple(text.encode(errors="surrogatepass") for text in (*NUMBERS, *NESTED, *TEXTS))
EXPRESSIONS = (r"(a+)+$", r".*.*.*=([0-9]+)x", r"([0-9.]+) it/s", "(", r"(a|a)*b", "(x{65536})", "((a{900}){900})")
PATHS = ("speed.value.1", "n", "", ".", "speed..", "speed.value.99999999999999999999", "speed." * 300)
"""Of a field in JSON."""


# Damage


def hostile(random: random.Random) -> Any:
    """Return a value that no place expects."""
    return random.choice(
        [
            *(None, True, False, [], {}, [None], {"": None}, -1, 0, 1e308, -1e-308, 2**63, 10**29, 10**400),
            *TEXTS,
            ["0-65535"] * 50,
            [{}] * 50,
            {str(i): i for i in range(50)},
            [[[[[[[[[[]]]]]]]]]],
        ]
    )


def changed_bytes(random: random.Random, data: bytes) -> bytes:
    """Return a file with some of its bytes damaged."""
    for _ in range(random.choice((1, 1, 2, 5))):
        at, to = sorted((random.randint(0, len(data)), random.randint(0, len(data))))
        to = min(to, at + random.choice((1, 8, 100, len(data))))
        piece = random.choice(PIECES)
        data = random.choice(
            [
                data[:at],
                data[:at] + data[to:],
                data[:at] + piece + data[at:],
                data[:at] + piece + data[to:],
                data[:to] + data[at:],
                data[:at] + bytes(random.randrange(256) for _ in range(4)) + data[at + 4 :],
                data[:at] + b"\xff\xfe" + data[at:],
                b"" if random.random() < 0.1 else data[at:],
            ]
        )
    return data


def changed_json(random: random.Random, value: Any) -> Any:
    """Return a JSON value with something in it replaced, lost, doubled or renamed."""
    if isinstance(value, (dict, list)) and value and random.random() < 0.93:
        inner = dict(value) if isinstance(value, dict) else list(value)
        key = random.choice([*inner] if isinstance(inner, dict) else range(len(inner)))
        chance = random.random()
        if chance < 0.8:
            inner[key] = changed_json(random, inner[key])
        elif chance < 0.87:
            del inner[key]
        elif isinstance(inner, dict):
            inner[random.choice([*TEXTS, *value])] = inner.pop(key)
        else:
            inner += inner[: max(1, 20000 // (1 + len(json.dumps(inner))))] * random.choice((1, 30))
        return inner
    if isinstance(value, (int, float)) and random.random() < 0.6:
        return value * random.choice((-1, 0, 7) if abs(value) > 1e9 else (-1, 0, 1e30, 1e-30, 1e290))
    if isinstance(value, str) and random.random() < 0.7:
        return random.choice((value + random.choice(TEXTS), value[: len(value) // 2], value * 50))
    return hostile(random)


def changed_record(random: random.Random, data: bytes) -> bytes:
    """Return a JSON file that is damaged in its bytes, or in what they say."""
    if random.random() < 0.25:
        return changed_bytes(random, data)
    value = json.loads(data)
    for _ in range(random.choice((1, 1, 2, 4))):
        value = changed_json(random, value)
    return json.dumps(value).encode()


# Inputs


def once(read: Callable[[], Any]) -> Callable[[], Any]:
    """Return a function that reads what it gives once."""
    known: list[Any] = []

    def get() -> Any:
        if not known:
            known.append(read())
        return known[0]

    return get


@once
def archives() -> list[bytes]:
    """Return dumps and snapshots, small enough that reading them takes no second."""
    found = [*sorted(DUMPS.glob("*.tar.gz")), *sorted((TOP / "tests/host/snapshots").glob("*.tar.gz"))]
    return [path.read_bytes() for path in found if path.stat().st_size < 100_000]


@once
def dumps() -> list[dict[str, bytes]]:
    """Return the files of each archive by their names."""
    found = []
    for data in archives():
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            files = {entry.name: archive.extractfile(entry) for entry in archive if entry.isreg()}
            found.append({name: file.read() for name, file in files.items() if file is not None})
    return found


@once
def records() -> list[bytes]:
    """Return the example's records, and one of each older format."""
    found = [*sorted((TOP / "outputs/example").rglob("*.json")), *sorted((TOP / "tests/record/old").glob("*.json"))]
    return [path.read_bytes() for path in found if path.stat().st_size < 600_000]


@once
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
    "profile": a_profile,
    "trace": a_trace,
    "parameters": a_parameter,
    "metric": a_metric,
}


# Running them


@dataclass
class Result:
    """Came out of all mutations of one input."""

    ends: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    """Each with the seed that makes it again."""
    cpu_s: float = 0.0
    """Of the longest."""


def one(case: Case, seed: str) -> str:
    """Do one mutation; return ``read``, ``refused``, or what went wrong."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            case(random.Random(seed), Path(folder))
        except HwdiagError as error:
            return "refused" if "\n" not in str(error) and len(str(error)) < 2000 else f"no line: {str(error)[:200]!r}"
        except MemoryError:
            return f"needs more than {MEMORY_BYTES >> 20} MiB"
        except BaseException as error:
            frames = traceback.extract_tb(error.__traceback__)
            where = [f"{Path(f.filename).name}:{f.lineno}" for f in frames if "hwdiag" in f.filename][-3:]
            return f"{type(error).__name__} at {' > '.join(where)}: {str(error)[:150]}"
    return "read"


def bounded() -> None:
    """Bound this process: each mutation its CPU time, and all of them the memory beyond what there is."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, resource.RLIM_INFINITY))
    signal.signal(signal.SIGPROF, signal.SIG_DFL)


def child(name: str, seeds: Sequence[str], out: int) -> None:
    """Do these mutations, and say a line before and after each."""
    bounded()
    environment = dict(os.environ)
    with os.fdopen(out, "w") as told:
        for seed in seeds:
            told.write(json.dumps(["begin", seed]) + "\n")
            told.flush()
            os.environ.clear()
            os.environ.update(environment)
            signal.setitimer(signal.ITIMER_PROF, CPU_S)
            start = time.process_time()
            end = one(INPUTS[name], seed)
            signal.setitimer(signal.ITIMER_PROF, 0)
            told.write(json.dumps(["end", end, time.process_time() - start]) + "\n")
            told.flush()


def batch(name: str, seeds: Sequence[str], result: Result) -> Sequence[str]:
    """Do mutations in a forked child; return those that are left where one ended it."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.close(read_end)
            child(name, seeds, write_end)
            status = 0
        finally:
            os._exit(status)
    os.close(write_end)
    with os.fdopen(read_end) as file:
        said = [json.loads(line) for line in file if line.endswith("\n")]
    _, status = os.waitpid(pid, 0)
    ended = [line for line in said if line[0] == "end"]
    for (_, end, cpu_s), seed in zip(ended, seeds, strict=False):
        result.ends[end if end in ("read", "refused") else "fault"] += 1
        result.cpu_s = max(result.cpu_s, cpu_s)
        if end not in ("read", "refused"):
            result.faults.append(f"{seed}: {end}")
    if len(ended) == len(seeds):
        return ()
    number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
    why = f"no end within {CPU_S} s of CPU" if number == signal.SIGPROF else f"ended the process, wait status {status}"
    result.ends["fault"] += 1
    result.faults.append(f"{seeds[len(ended)]}: {why}")
    return seeds[len(ended) + 1 :]


def mutate(name: str, each: int, seed: int) -> Result:
    """Return what came of so many mutations of one input."""
    result = Result()
    seeds: Sequence[str] = [f"{seed}-{name}-{number}" for number in range(each)]
    with suppress(HwdiagError):  # all modules are loaded before the first fork
        INPUTS[name](random.Random("load"), Path(tempfile.mkdtemp()))
    while seeds:
        left = batch(name, seeds[:BATCH], result)
        seeds = [*left, *seeds[BATCH:]]
    return result


def main() -> int:
    """Damage all inputs, and tell what came of it."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--each", type=int, default=300, help="mutations of each input")
    words.add_argument("--seed", type=int, default=0)
    words.add_argument("--only", choices=[*INPUTS], action="append")
    words.add_argument("--again", metavar="SEED", help="do one mutation here, with its traceback")
    args = words.parse_args()
    if args.again:
        INPUTS[args.again.split("-")[1]](random.Random(args.again), Path(tempfile.mkdtemp()))
        return 0
    results = {name: mutate(name, args.each, args.seed) for name in args.only or INPUTS}
    rows = [
        (name, str(r.ends.total()), *(str(r.ends[k]) for k in ("read", "refused", "fault")), f"{r.cpu_s:.2f}")
        for name, r in results.items()
    ]
    print(Table("Mutations", ("input", "mutations", "read", "refused", "faults", "longest, CPU s"), rows).to_text(None))
    for result in results.values():
        for fault in result.faults:
            print(fault)
    return int(any(r.faults for r in results.values()))


if __name__ == "__main__":
    sys.exit(main())
