"""/proc/cpuinfo, in the dialects of x86, Arm, POWER, s390 and RISC-V."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from hwdiag.host.cpulist import MAX_CPU
from hwdiag.host.root import Root, parse_integer

MAX_CPUINFO_BYTES = 32 << 20
"""4,096 CPUs of today's x86 with 2 kB of flags each are 8 MiB."""

FLAG_KEYS = ("flags", "Features", "features")
"""What x86 (and others), Arm and s390 call the list of instruction set features."""

_S390_CPU = re.compile(r"processor (\d+)")


@dataclass(frozen=True)
class CpuInfo:
    """The file as it is: what it says of each CPU, and what it says of all at once."""

    cpus: dict[int, dict[str, str]] = field(default_factory=dict)
    common: dict[str, str] = field(default_factory=dict)

    def get(self, cpu: int, *keys: str) -> str | None:
        """Return the first of these fields that the CPU, or else the file as a whole, has."""
        for fields in (self.cpus.get(cpu, {}), self.common):
            for key in keys:
                if fields.get(key):
                    return fields[key]
        return None

    def first(self, *keys: str) -> str | None:
        """Return the first of these fields on the first CPU that has one."""
        for cpu in self.cpus:
            if (value := self.get(cpu, *keys)) is not None:
                return value
        return next((self.common[k] for k in keys if self.common.get(k)), None)

    def all(self, key: str) -> set[str]:
        """Return what a field has on the CPUs, and in the file as a whole."""
        return {fields[key] for fields in (*self.cpus.values(), self.common) if fields.get(key)}

    def number(self, cpu: int, *keys: str) -> int | None:
        """Return a field as a number, decimal or with ``0x``; None if it is neither."""
        value = self.get(cpu, *keys)
        try:
            return parse_integer(value, 0) if value is not None else None
        except ValueError:
            return None

    def flags(self) -> tuple[str, ...]:
        """Return the instruction set features that all CPUs share, sorted: CPUs of one machine can differ in some."""
        lists = {fields[k] for fields in self.cpus.values() for k in FLAG_KEYS if fields.get(k)}
        lists |= {self.common[k] for k in FLAG_KEYS if self.common.get(k)}
        shared = [set(text.split()) for text in lists]
        return tuple(sorted(set.intersection(*shared))) if shared else ()


def read_cpuinfo(root: Root) -> CpuInfo:
    """Parse /proc/cpuinfo; what is not understood is left out.

    A blank line ends the CPU that a ``processor`` line began. Fields outside of such a block (older Arm kernels,
    POWER's platform lines, s390) hold for all.
    """
    text = root.text("/proc/cpuinfo", MAX_CPUINFO_BYTES) or ""
    if text and not text.endswith("\n"):
        # Half a list of flags would look like a CPU that lacks the rest.
        root.note("/proc/cpuinfo", "ends in the middle of a line, which is left out")
        text = text.rpartition("\n")[0]
    info = CpuInfo()
    block: dict[str, str] | None = None
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        key, value = key.strip(), value.strip()
        if not colon:
            block = None if not key else block
        elif key == "processor" and value.isdecimal():
            block = _new_cpu(info, value)
        elif (match := _S390_CPU.fullmatch(key)) is not None:
            _new_cpu(info, match[1])
        elif block is None:
            info.common.setdefault(key, value)
        else:
            block.setdefault(key, value)
    if text and not info.cpus:
        root.note("/proc/cpuinfo", "no processor found in it")
    return info


def _new_cpu(info: CpuInfo, digits: str) -> dict[str, str]:
    """Return the fields of a new CPU, which are kept if its number is believable."""
    fields: dict[str, str] = {}
    if len(digits) < 7 and int(digits) <= MAX_CPU:
        info.cpus.setdefault(int(digits), fields)
    return fields
