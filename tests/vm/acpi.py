"""An ACPI table that gives a guest's CPUs frequencies (acpi-cpufreq) and idle states (C1 to C3).

qemu has neither. The objects are those of the ACPI specification 6.5, 8.4; the I/O port is an unused one: writing a
frequency has no effect, but everything that Linux offers for real ones is there. All idle states are of type C1, which
Linux enters by HLT on a CPU without MWAIT: an idle CPU of the guest then sleeps here too, where reading a port as for
C2 and C3 would return at once and keep a core of this machine busy.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

FREQUENCIES_MHZ = (2600, 2000, 1200)
IDLE_STATES = (
    # Latency in µs, power in mW
    (1, 1000),
    (60, 500),
    (200, 100),
)
HALT = "ResourceTemplate () { Register (FFixedHW, 1, 2, 0x00, 1) }"
CONTROL = "ResourceTemplate () { Register (SystemIO, 16, 0, 0x0E00) }"


def power_table(folder: Path, cpus: int) -> Path:
    """Compile the table for this many CPUs with iasl; gives its file in ``folder``."""
    names = [f"\\_SB.CPUS.C{cpu:03X}" for cpu in range(cpus)]
    states = [
        f"Package () {{ {mhz}, {mhz * 30}, 10, 10, {mhz // 100 << 8}, {mhz // 100 << 8} }}" for mhz in FREQUENCIES_MHZ
    ]
    idle = [f"Package () {{ {HALT}, 1, {latency}, {power} }}" for latency, power in IDLE_STATES]
    source = folder / "power.asl"
    source.write_text(
        "\n".join(
            [
                'DefinitionBlock ("", "SSDT", 2, "HWDIAG", "POWER", 1) {',
                *(f"External ({name}, DeviceObj)" for name in names),
                *(
                    f"Scope ({name}) {{\n"
                    f"  Name (_PCT, Package () {{ {CONTROL}, {CONTROL} }})\n"
                    f"  Name (_PSS, Package () {{ {', '.join(states)} }})\n"
                    "  Name (_PPC, 0)\n"
                    # Each CPU changes its frequency by itself (SW_ANY, a domain of one).
                    f"  Name (_PSD, Package () {{ Package () {{ 5, 0, {cpu}, 0xFD, 1 }} }})\n"
                    f"  Name (_CST, Package () {{ {len(idle)}, {', '.join(idle)} }})\n"
                    "}"
                    for cpu, name in enumerate(names)
                ),
                "}\n",
            ]
        )
    )
    done = subprocess.run(["iasl", "-p", folder / "power", source], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"iasl: {done.stdout}{done.stderr}")
    return source.with_suffix(".aml")
