"""Data of the compatibility check. Times in seconds, offsets in bytes."""

from __future__ import annotations

from typing import Literal

from hwdiag.core.finding import Check, Finding
from hwdiag.core.value import TopicStudy, Value
from hwdiag.process.model import Outcome


class Package(Value):
    """An installed distribution with native code, its own or that of another one which it is made for."""

    name: str
    version: str | None = None
    imports: tuple[str, ...] = ()
    """Top-level modules that it lets one import: ``cv2`` of ``opencv-python``."""
    extensions: tuple[str, ...] = ()
    """Dotted names of its extension modules; importing the package alone seldom loads all of them."""
    shared_objects: tuple[str, ...] = ()
    built_for: str | None = None
    """The version of torch that it was built for, where its requirements pin one."""


class Interpreter(Value):
    """The interpreter whose packages are checked, as a child of it saw itself."""

    python: str
    outcome: Outcome
    version: str | None = None
    prefix: str | None = None
    machine: str | None = None
    """``x86_64`` or ``aarch64``."""
    features: tuple[str, ...] | None = None
    """What CPUID (AT_HWCAP on Arm) tells *that process*, in /proc/cpuinfo's words; None if it could not be asked."""
    cpu: str | None = None
    """What CPUID calls the CPU there: under an emulator another one than the host's."""
    packages: tuple[Package, ...] = ()
    operations: dict[str, str] = {}
    """Operations that the probe knows, with the module that each needs."""


class Remedy(Value):
    """One way out."""

    kind: Literal["unset", "cap", "version", "build", "compile"]
    """``unset``: an inherited variable; ``cap``: a variable that keeps a library from those instructions;
    ``version``, ``build``: another one of the package; ``compile``: from source, for this CPU."""
    text: str
    source: str
    env: dict[str, str] = {}
    """What a cap sets."""
    unset: tuple[str, ...] = ()
    """Inherited variables that it takes away."""
    works: bool | None = None
    """Whether the stage ran to its end with it, in a child of its own; None where that was not tried."""


class Culprit(Value):
    """The code that raised the signal, as a handler in the dying process saw it. Fields that it could not see are
    None."""

    signal: str
    """``SIGILL``."""
    object: str | None = None
    """File whose mapping holds the instruction; None for code made at run time."""
    offset: int | None = None
    """Of the instruction in that file."""
    symbol: str | None = None
    """Exported function that holds it, as dladdr(3) says; most wheels are stripped of the others."""
    symbol_offset: int | None = None
    code: str | None = None
    """Up to 16 bytes at the instruction, in hexadecimal."""
    instruction: str | None = None
    """``shlx eax, eax, edx``."""
    needs: str | None = None
    """CPU feature of the instruction, in /proc/cpuinfo's words: ``bmi2``."""
    cpu_has: bool | None = None
    """Whether the CPU tells the process that it has that feature."""
    deliberate: bool = False
    """The instruction is there to end the program (``ud2``, ``udf``): an abort, not a wrong build."""
    thread: str | None = None
    stack: tuple[str, ...] = ()
    """Innermost Python frames first: ``function, file:line``."""
    variable: str | None = None
    """``OPENBLAS_CORETYPE=Haswell``: without this inherited one the stage ran to its end, or past this crash."""
    limited: str | None = None
    """Why there is no more to tell."""
    remedies: tuple[Remedy, ...] = ()


class Compatibility(Value):
    """The end of one stage of one package."""

    package: str
    version: str | None = None
    stage: str
    """``import``, ``extensions`` (those that the import left out), or the name of an operation."""
    outcome: Outcome
    seconds: float | None = None
    """Of the stage alone."""
    culprit: Culprit | None = None
    skipped: tuple[str, ...] = ()
    """Its further modules that raised an exception when imported by themselves: often optional ones."""
    libraries: int | None = None
    """Of the stage ``libraries``: shared objects that are in memory or could be loaded."""
    unloaded: tuple[str, ...] = ()
    """Those that could not, with the loader's reason: ``_C.so: undefined symbol: ...``."""
    untried: int = 0
    """Those that were not tried."""
    mismatch: str | None = None
    """``built for torch 2.10.0, and torch 2.13.0 is installed``."""


class Cure(Value):
    """Environment variables that packages need here: with all of them together, in children of their own, the stages
    that died ran to their end, and those that ran before still did."""

    env: dict[str, str] = {}
    unset: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    """What they cure: ``numpy: import``."""


class Survey(TopicStudy):
    """One compatibility check of one interpreter."""

    seconds: float
    """Wall time of the whole check."""
    interpreter: Interpreter
    cpu: str | None = None
    """Model name of the host's CPU."""
    environment: dict[str, str] = {}
    """Inherited variables that numeric libraries and loaders read."""
    results: tuple[Compatibility, ...] = ()
    cure: Cure | None = None
    findings: tuple[Finding, ...] = ()
    """What this shell and this host hand to what is started here, and what holds it back."""
    checks: tuple[Check, ...] = ()

    @property
    def failed(self) -> tuple[Compatibility, ...]:
        """Return the stages that did not end well."""
        return tuple(r for r in self.results if not r.outcome.ok)

    @property
    def unloadable(self) -> tuple[Compatibility, ...]:
        """Return the stages in which a shared object lacked a symbol: it does not fit what is installed beside it."""
        return tuple(r for r in self.results if any("undefined symbol" in text for text in r.unloaded))

    @property
    def crashed(self) -> tuple[Compatibility, ...]:
        """Return the stages that a signal ended."""
        return tuple(r for r in self.results if r.outcome.kind == "signal")
