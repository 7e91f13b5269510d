"""What simulated GPUs do: rates in FLOP/s and bytes/s, times in seconds. From the makers' data sheets, rounded."""

from __future__ import annotations

from dataclasses import dataclass, replace

TERA, GIGA = 1e12, 1e9
SMALLEST_L2 = 64
"""By what the L2 shrinks at most: an operation's time falls with the operands, their bytes with the square root."""


@dataclass(frozen=True)
class Profile:
    """One kind of GPU."""

    name: str
    capability: tuple[int, int]
    memory_bytes: int
    bandwidth: float
    l2_bytes: int
    flops: dict[str, float]
    """By precision. What is missing is not there: fp8 before Ada, TF32 before Ampere."""
    pinned: float = 25 * GIGA
    pageable: float = 10 * GIGA
    unified: bool = False
    """GPU and CPU share one memory; a copy reads and writes it."""
    launch_s: float = 4e-6
    """The host's time for starting a kernel."""
    shortest_s: float = 2e-6
    """No kernel is shorter."""
    synchronise_s: float = 8e-6
    far: float = 0.6
    """Share of these rates where a process may use CPUs of another node than the GPU's."""
    copy_s: float = 6e-6
    """Before the first byte of a copy moves."""
    queue: int = 1024
    """Kernels that may wait; whoever starts one more waits."""
    boost_s: float = 2.0
    """Seconds of work until the clock falls."""
    sustained: float = 0.8
    """What it falls to."""
    throttled_by: int = 0x4
    """NVML's bit for it: the software power cap."""
    mhz: float = 1800.0
    watts: float = 170.0
    constant_gain: float = 1.1
    """How much faster the memory is where all values are alike, as data sets of tests often are."""
    row_major_int8: float = 0.125
    """Share of the int8 rate where the second operand is not column-major, so that tensor cores are not used."""

    def slowed(self, by: float) -> Profile:
        """Return the same card with work that takes so many times longer, so that small operands keep it busy."""
        return replace(
            self,
            flops={name: rate / by for name, rate in self.flops.items()},
            bandwidth=self.bandwidth / by,
            pinned=self.pinned / by,
            pageable=self.pageable / by,
            l2_bytes=int(self.l2_bytes / min(by, SMALLEST_L2)),
        )


def flops(fp64: float, fp32: float, **more: float) -> dict[str, float]:
    return {name: rate * TERA for name, rate in {"fp64": fp64, "fp32": fp32, **more}.items()}


PROFILES = {
    "gb10": Profile(
        "NVIDIA GB10", (12, 1), 120 << 30, 273 * GIGA, 24 << 20,
        flops(0.48, 31, tf32=53, bf16=106, fp16=106, int8=212, fp8=212),
        pinned=60 * GIGA, pageable=60 * GIGA, unified=True, mhz=2418, watts=100,
    ),
    "rtx3060": Profile(
        "NVIDIA GeForce RTX 3060", (8, 6), 12 << 30, 360 * GIGA, 3 << 20,
        flops(0.2, 12.7, tf32=25, bf16=51, fp16=51, int8=102),
        pinned=24 * GIGA, pageable=8 * GIGA, mhz=1777, watts=170,
    ),
    "p100": Profile(
        "Tesla P100-PCIE-16GB", (6, 0), 16 << 30, 732 * GIGA, 4 << 20, flops(4.7, 9.3, fp16=18.7, bf16=9.3),
        pinned=12 * GIGA, pageable=5 * GIGA, mhz=1303, watts=250,
    ),
    "a100-mig": Profile(
        "NVIDIA A100-SXM4-40GB MIG 1g.5gb", (8, 0), 5 << 30, 194 * GIGA, 5 << 20,
        flops(1.4, 2.8, tf32=22, bf16=44, fp16=44, int8=89), mhz=1410, watts=400, boost_s=1e9, sustained=1.0,
        throttled_by=0,
    ),
    "h200": Profile(
        "NVIDIA H200", (9, 0), 141 << 30, 4800 * GIGA, 50 << 20,
        flops(67, 67, tf32=494, bf16=989, fp16=989, int8=1979, fp8=1979),
        pinned=55 * GIGA, pageable=15 * GIGA, mhz=1980, watts=700, boost_s=5.0, sustained=0.85,
    ),
}  # fmt: skip
"""By the name that a test gives."""
