"""From a crash report to words: the instruction, the CPU feature it needs, and the ways out."""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from hwdiag.compat.instructions import decode, title
from hwdiag.compat.model import Compatibility, Culprit, Interpreter, Remedy
from hwdiag.compat.remedies import compile_remedy, known_remedies

NO_REPORT = "the process died without a report: its handler was replaced, or the stack was exhausted"
STUCK = (
    "the thread that raised it could not get the interpreter's lock, which another one held, so nothing could look "
    "inside: only the package and the stage are known"
)


def culprit_of(report: dict[str, Any], interpreter: Interpreter, package: str) -> Culprit:
    """Return the culprit that a probe's ``crash`` event describes. Fields that are missing or odd in it stay None."""
    number = report["signal"]
    name = signal_name(number)
    code = report.get("code")
    if not is_file(report.get("object")):
        report = {**report, "object": None, "offset": None}
    instruction = None
    if code and name in ("SIGILL", "SIGFPE", "SIGSEGV", "SIGBUS"):
        instruction = decode(bytes.fromhex(code), interpreter.machine or "", report.get("pc") or 0)
    needs = has = None
    if instruction and name == "SIGILL" and instruction.needs:
        features = interpreter.features
        lacking = [f for f in instruction.needs if features is not None and f not in features]
        needs = (lacking or instruction.needs)[0]
        has = None if features is None else not lacking
    return Culprit(
        signal=name,
        object=report.get("object"),
        offset=report.get("offset"),
        symbol=report.get("symbol"),
        symbol_offset=report.get("symbol_offset"),
        code=code,
        instruction=instruction and instruction.text,
        needs=needs,
        cpu_has=has,
        deliberate=bool(instruction and instruction.deliberate),
        thread=report.get("thread"),
        stack=tuple(f"{f['function']}, {f['file']}:{f['line']}" for f in report.get("stack", ())),
        limited=report.get("note"),
        remedies=remedies_of(package, report, name, instruction is not None and instruction.deliberate),
    )


def is_file(path: str | None) -> bool:
    """Return whether a mapping's name is a file's, and not that of memory that was made executable."""
    return path is not None and not path.startswith(("/dev/zero", "/memfd:", "/dev/shm", "/SYSV"))


def unseen(name: str, why: str, package: str) -> Culprit:
    """Return the culprit of a crash that nothing could look inside."""
    remedies = tuple(known_remedies(package, None, None)) if name == "SIGILL" else ()
    return Culprit(signal=name, limited=why, remedies=tuple(r for r in remedies if r.kind != "cap"))


def remedies_of(package: str, report: dict[str, Any], name: str, deliberate: bool) -> tuple[Remedy, ...]:
    """Return ways out of an illegal instruction. None are known for other signals."""
    if name != "SIGILL":
        return ()
    path = report.get("object")
    known = tuple(known_remedies(package, path and PurePath(path).name, report.get("symbol")))
    return known if known or deliberate else (compile_remedy(owner(path) or package),)


def owner(path: str | None) -> str | None:
    """Return the distribution that a shared object seems to belong to: the folder in site-packages that it lies in."""
    parts = PurePath(path or "").parts
    after = [i + 1 for i, part in enumerate(parts[:-2]) if part in ("site-packages", "dist-packages")]
    return parts[after[-1]].removesuffix(".libs") if after else None


def signal_name(number: int) -> str:
    """Return a signal's name: ``SIGILL`` of 4."""
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def place(culprit: Culprit) -> str:
    """Return where a crash was, as text: ``_polars_runtime.abi3.so + 0x5d31 (no symbol)``."""
    if culprit.object is None:
        return "code made at run time" if culprit.code else "an address without code"
    where = f"{PurePath(culprit.object).name} + {culprit.offset or 0:#x}"
    if culprit.symbol is None:
        return f"{where} (no symbol: stripped)"
    return f"{where}, in {demangled(culprit.symbol)} + {culprit.symbol_offset or 0:#x}"


def demangled(symbol: str) -> str:
    """Return the readable part of a C++ symbol, its nested name (Itanium C++ ABI, 5.1.3); other symbols as they are."""
    nested = re.match(r"_ZN[VKrRO]*((?:\d+[A-Za-z_]\w*?)+)E?", symbol)
    if nested is None:
        return symbol
    parts, rest = [], symbol[re.match(r"_ZN[VKrRO]*", symbol).end() :]  # type: ignore[union-attr]
    while (length := re.match(r"\d+", rest)) is not None:
        start, size = length.end(), int(length[0])
        parts.append(rest[start : start + size])
        rest = rest[start + size :]
    return "::".join(parts)


def explain(result: Compatibility) -> str:
    """Return one sentence about how a stage ended, of what was seen only."""
    name = f"{result.package} {result.version}" if result.version else result.package
    doing = {"import": "at import", "extensions": "when all its extension modules are loaded"}.get(
        result.stage, f"imports, but dies in {result.stage}"
    )
    culprit = result.culprit
    if culprit is None:
        if result.outcome.ok:
            return f"{name}: {result.stage} is fine."
        return f"{name} fails in {result.stage}: {result.outcome.detail}."
    verb = doing if doing.startswith("imports") else f"dies {doing}"
    what = culprit.signal
    if culprit.instruction:
        what += f" at {culprit.instruction}"
        if culprit.deliberate:
            what += ", which is there to end the program: it gave up on purpose"
        elif culprit.needs and culprit.cpu_has:
            what += (
                f", which needs {title(culprit.needs)}; the CPU reports it, so the system or an emulator withholds it"
            )
        elif culprit.needs:
            lacks = "this CPU lacks" if culprit.cpu_has is False else "this CPU may lack"
            what += f", which needs {title(culprit.needs)} ({lacks} it)"
    parts = [f"{name} {verb}: {what}"]
    if culprit.code or culprit.object:
        parts.append(f"in {place(culprit)}")
    sentence = ", ".join(parts)
    if culprit.variable:
        sentence += f"; without the inherited {culprit.variable} it runs on, so that variable is the cause"
    if culprit.limited:
        sentence += f" ({culprit.limited})"
    return sentence + "."


def advice(culprit: Culprit, limit: int = 2) -> Sequence[Remedy]:
    """Return the remedies worth showing: those that worked first, then the untried, never those that did not work."""
    order = {True: 0, None: 1}
    return sorted((r for r in culprit.remedies if r.works is not False), key=lambda r: order[r.works])[:limit]
