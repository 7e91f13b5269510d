"""What comes from outside is data: ``python -m benchmarks.mutations [--each N] [--seed N] [--only INPUT] [--show]``.

Dumps, archives, records, profiles, traces, parameters and metrics are damaged, N of each, and read as the verbs read
them. Each mutation has 5 s of CPU and 512 MiB in a forked child; what raises anything but an error in one line, or
does not end within that, is a fault. Exit status 1 where there is one.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.mutated_inputs import INPUTS, Case
from hwdiag.core.errors import HwdiagError
from hwdiag.report.table import Table

CPU_S, MEMORY_BYTES = 5, 512 << 20
BATCH = 25


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
