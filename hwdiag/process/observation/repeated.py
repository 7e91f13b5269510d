"""Operations of a recording that are suspected to be slow by their data or type: timed again, with other data."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from math import prod

from hwdiag.core.outside import parse_json
from hwdiag.process.agent import MAIN
from hwdiag.process.heavy_operations import HeavyOperation
from hwdiag.process.observation.inside_model import InsideReport, RepeatedOperation, Subnormal

REPEAT = MAIN.with_name("witness") / "repeat.py"
TIME_LIMIT_S = 40.0
MOST_SAID = 1 << 20
MOST = 3
HALVES = ("c10::BFloat16", "c10::Half")
MOST_ELEMENTS = 1 << 26
"""Larger inputs are not made again."""
TYPES = frozenset({"float", "double", *HALVES})
NUMBERS = re.compile(r"\d+")
VERBOSE = re.compile(r"^(?:onednn|dnnl)_verbose,(.*)$")


def repeated(report: InsideReport, is_over: Callable[[], bool]) -> tuple[RepeatedOperation, ...]:
    """Return what came of timing a process's suspicious operations again; nothing where none is.

    The program has ended then, and is not run again: its interpreter is, with tensors of the same sizes and types.
    ``is_over``: whether the person has asked for the end.
    """
    chosen = suspicious(report)
    if not chosen or not report.python:
        return ()
    small = shapes(report.subnormal)
    told = report.facts.get("environment")
    env = {**os.environ, **(told if isinstance(told, dict) else {})}
    return read(run_again(report.python, {"operations": [task_of(o, small) for o in chosen]}, env, is_over), chosen)


def task_of(operation: HeavyOperation, small: Mapping[str, float]) -> dict[str, object]:
    """Return what ``repeat.py`` is told of an operation; ``small``: the share of subnormal values by sizes."""
    return {
        "name": operation.name,
        "dims": [list(d) for d in operation.dims],
        "types": list(operation.types),
        "concrete": list(operation.concrete),
        "subnormal": {k: v for k, v in small.items() if k in {str(sorted(d)) for d in operation.dims}},
    }


def run_again(python: str, task: object, env: Mapping[str, object], is_over: Callable[[], bool]) -> str:
    """Return what ``repeat.py`` prints; what it printed until then where it takes too long, or the person asks for the
    end."""
    ends = time.monotonic() + TIME_LIMIT_S
    try:
        child = subprocess.Popen(
            [python, str(REPEAT), json.dumps(task)],
            env={k: str(v) for k, v in env.items()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError:
        return ""
    with child:
        while True:
            try:
                said, _ = child.communicate(timeout=0.2)
                return said[:MOST_SAID]
            except subprocess.TimeoutExpired:
                if is_over() or time.monotonic() > ends:
                    child.kill()


def suspicious(report: InsideReport) -> tuple[HeavyOperation, ...]:
    """Return the heavy operations with subnormal data, or of 16-bit types on the CPU, the longest first."""
    if report.traced is None or report.traced.gpus:
        return ()
    small = shapes(report.subnormal)
    found = [
        o
        for o in report.traced.heavy
        if (any(t in HALVES for t in o.types) or any(str(sorted(d)) in small for d in o.dims)) and fits(o)
    ]
    return tuple(sorted(found, key=lambda o: -o.seconds)[:MOST])


def fits(operation: HeavyOperation) -> bool:
    """Return whether its inputs are small enough to be made again."""
    return all(prod(max(1, n) for n in dims) <= MOST_ELEMENTS for dims in operation.dims)


def shapes(subnormal: Subnormal | None) -> dict[str, float]:
    """Return the share of subnormal values by sizes in ascending order: a product may have its matrix transposed."""
    found: dict[str, float] = {}
    for name, share in (subnormal.examples if subnormal else {}).items():
        dims = sorted(int(n) for n in NUMBERS.findall(name.partition("(")[2]))
        if dims:
            found[str(dims)] = max(share, found.get(str(dims), 0.0))
    return found


def read(said: str, chosen: Sequence[HeavyOperation]) -> tuple[RepeatedOperation, ...]:
    """Return the answers in what was printed."""
    kernels: dict[str, list[str]] = {}
    mark, found = "", []
    for line in said.splitlines():
        if line.startswith(("kernels ", "float32 kernels ")):
            mark = "" if line.endswith(" end") else line
        elif mark and (verbose := VERBOSE.match(line)):
            kernels.setdefault(mark, []).extend(implementation(verbose[1]))
        elif line.startswith("{"):
            try:
                told = parse_json(line, infinite=True)
                o = chosen[told["number"]]
                found.append(
                    RepeatedOperation(
                        name=o.name,
                        dims=", ".join("x".join(map(str, d)) for d in o.dims if d),
                        dtype=o.types[0] if o.types else "",
                        seconds=told["seconds"],
                        flushed_s=told.get("flushed_s"),
                        float32_s=told.get("float32_s"),
                        kernels=tuple(dict.fromkeys(kernels.get(f"kernels {told['number']}", ())))[:4],
                        float32_kernels=tuple(dict.fromkeys(kernels.get(f"float32 kernels {told['number']}", ())))[:4],
                    )
                )
            except (ValueError, KeyError, IndexError, TypeError):
                continue
    return tuple(found)


def implementation(line: str) -> list[str]:
    """Return oneDNN's name of what computed, of a line that tells of a computation: ``brg_matmul:avx2``.

    Its fields are ``v1,primitive,exec,cpu,matmul,brg:avx512_core,...`` since version 3, without the first two before.
    """
    fields = line.split(",")
    if "exec" not in fields:
        return []
    at = fields.index("exec")
    kind, name = (fields[at + 2], fields[at + 3]) if len(fields) > at + 3 else ("", "")
    return [name[:60]] if kind in ("matmul", "convolution", "inner_product", "rnn") else []
