"""What is sampled: rates and shares from counters that move, and reasons for what is not there."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from hwdiag.host.archive import open_archive
from hwdiag.host.root import Root
from hwdiag.host.sampling import Sampler
from tests.host.conftest import MakeTree
from tests.host.test_host_gpu import GB10, RTX3060, FakeNvml, NVMLError

STAT = """\
cpu  {0} 0 100 {1} 20 0 0 {2} 50 0
cpu0 {0} 0 100 {1} 20 0 0 {2} 50 0
cpu1 100 0 0 100 0 0 0 0 0 0
intr 1 2 3
procs_running 3
procs_blocked 1
"""
MEMINFO = """\
MemTotal: 1000 kB
MemFree: 10 kB
MemAvailable: 400 kB
Cached: 7 kB
Dirty: 3 kB
SwapTotal: 50 kB
SwapFree: 20 kB
"""
VMSTAT = "nr_free_pages 5\npgmajfault {0}\npswpin {1}\npswpout 0\n"
NUMASTAT = "numa_hit {0}\nnuma_miss {1}\nnuma_foreign 9\ninterleave_hit 9\nlocal_node 9\nother_node 4\n"
DISK = " 259 0 nvme0n1 10 0 {0} 5 20 0 {1} 7 0 {2} 9\n 259 1 nvme0n1p1 1 0 1 1 1 1 1 1 1 1 1\n"
PRESSURE = "some avg10=0.00 avg60=0.00 avg300=0.00 total={0}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
NODE = "/sys/devices/system/node/node{}/numastat"


def files(step: int) -> dict[str, str]:
    """A machine, and the same ``step`` seconds later."""
    return {
        "/proc/stat": STAT.format(1000 + 25 * step, 5000 + 50 * step, 25 * step),
        "/proc/meminfo": MEMINFO,
        "/proc/vmstat": VMSTAT.format(3 * step, 10 * step),
        NODE.format(0): NUMASTAT.format(500 * step, 0),
        NODE.format(2): NUMASTAT.format(100, 20 * step),
        "/proc/diskstats": DISK.format(2000 * step, 8 * step, 250 * step),
        "/sys/block/nvme0n1/size": "1000\n",
        "/sys/block/loop0/size": "0\n",
        "/proc/pressure/cpu": PRESSURE.format(500_000 * step),
        "/proc/pressure/memory": PRESSURE.format(20_000 * step),
        "/proc/pressure/io": PRESSURE.format(2_000_000 * step),
        "/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq": f"{2_000_000 + step}\n",
        "/sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq": "<unknown>\n",
    }


def sampled(sampler: Sampler, elapsed: float) -> dict[str, float]:
    return dict(zip((c.name for c in sampler.columns), sampler.read(elapsed), strict=True))


def test_counters_become_shares_and_rates(tree: MakeTree) -> None:
    root = tree(files(0))
    sampler = Sampler(root)
    tree(files(2))
    now = sampled(sampler, 2.0)
    # 200 ticks went by on CPU 0: 50 of the user, 50 stolen, 100 idle. The guest's are in the user's already.
    assert now["cpu0.use"] == pytest.approx(50)
    assert now["cpu.steal"] == pytest.approx(25)
    assert math.isnan(now["cpu1.use"]), "no tick went by: it is offline"
    assert now["cpu.running"] == 3
    assert now["cpu0.clock"] == pytest.approx(2000.002)
    assert math.isnan(now["cpu1.clock"])
    assert (now["memory.used"], now["swap.used"]) == (600 * 1024, 30 * 1024)
    assert (now["swap.in"], now["memory.major_faults"]) == (10 * 4096, 3)
    assert (now["node0.hits"], now["node2.misses"], now["node2.hits"]) == (500, 20, 0)
    assert (now["nvme0n1.read"], now["nvme0n1.written"]) == (2000 * 512, 8 * 512)
    assert now["nvme0n1.busy"] == pytest.approx(25)
    assert now["pressure.cpu.some"] == pytest.approx(50)
    assert now["pressure.memory.some"] == pytest.approx(2)
    assert now["pressure.io.some"] == 100, "two threads of the kernel count at moments that differ: never above 100"
    assert now["pressure.io.full"] == 0
    assert "loop0.read" not in now
    assert "nvme0n1p1.read" not in now
    assert "pressure.cpu.full" not in now
    assert {g.what for g in sampler.absent} == {"CPU quota"}


def test_a_counter_that_goes_backwards_tells_nothing(tree: MakeTree) -> None:
    sampler = Sampler(tree(files(5)))
    tree(files(1))
    now = sampled(sampler, 1.0)
    assert math.isnan(now["node0.hits"])
    assert math.isnan(now["nvme0n1.read"])


def test_what_is_missing_is_absent_with_its_reason(tree: MakeTree) -> None:
    root = tree({"/proc/stat": files(0)["/proc/stat"]})
    sampler = Sampler(root)
    assert {c.name.partition(".")[0] for c in sampler.columns} == {"cpu", "cpu0", "cpu1"}
    absent = {g.what: g.why for g in sampler.absent}
    assert absent["clock of CPUs"] == "no cpufreq here"
    assert absent["NUMA hits and misses"] == "this kernel has no NUMA"
    assert absent["pressure on memory"] == "/proc/pressure/memory: not there"
    assert absent["disks"] == "/proc/diskstats: not there"


def test_what_may_not_be_read_says_so(tree: MakeTree, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(files(0))

    def refuse(path: str) -> int:
        if path == "/proc/meminfo":
            raise PermissionError(13, "Permission denied")
        return Root._open(root, path)

    monkeypatch.setattr(root, "_open", refuse)
    assert {g.what: g.why for g in Sampler(root).absent}["memory"] == "/proc/meminfo: permission denied"


def test_an_empty_machine_gives_no_column(tmp_path: Path) -> None:
    sampler = Sampler(Root.directory(tmp_path))
    assert sampler.columns == ()
    assert sampler.read(1) == []
    assert [g.what for g in sampler.absent] == [
        "use of CPUs", "clock of CPUs", "memory", "swapping", "NUMA hits and misses", "disks", "pressure on cpu",
        "pressure on memory", "pressure on io", "CPU quota",
    ]  # fmt: skip


def test_a_disk_that_is_pulled_out_is_unknown_from_then_on(tree: MakeTree) -> None:
    root = tree(files(0))
    sampler = Sampler(root)
    tree({"/proc/diskstats": "", "/proc/stat": "what\n"})
    now = sampled(sampler, 1.0)
    assert math.isnan(now["nvme0n1.read"])
    assert math.isnan(now["cpu0.use"])
    assert now["memory.used"] == 600 * 1024


# GPUs


def rates(gpu: int, memory: int) -> Any:
    return type("Rates", (), {"gpu": gpu, "memory": memory})


def test_gpus_and_what_they_do_not_tell(tmp_path: Path) -> None:
    used = type("Memory", (), {"total": 12 << 30, "used": 5 << 30})
    gpus = [RTX3060 | {"nvmlDeviceGetUtilizationRates": rates(93, 40), "nvmlDeviceGetMemoryInfo": used}, GB10]
    nvml = FakeNvml(gpus)
    sampler = Sampler(Root.directory(tmp_path), nvml=nvml)
    now = sampled(sampler, 0.5)
    assert (now["gpu0.use"], now["gpu0.memory_use"], now["gpu0.memory"]) == (93, 40, 5 << 30)
    assert (now["gpu0.power"], now["gpu0.temperature"], now["gpu0.clock"]) == (11.6, 42, 210)
    assert now["gpu0.reasons"] == 0x4 | 0x20 | 0x8000, "under the name that drivers before 535 know"
    assert now["gpu1.reasons"] == 1
    assert "gpu1.use" not in now
    assert "GPU 1: memory in use" in {g.what for g in sampler.absent}
    sampler.close()
    assert nvml.calls[-1] == "nvmlShutdown"


def test_a_gpu_that_disappears_is_unknown_from_then_on_and_named(tmp_path: Path) -> None:
    gpu = dict(RTX3060)
    root = Root.directory(tmp_path)
    sampler = Sampler(root, nvml=FakeNvml([gpu]))
    assert sampled(sampler, 1)["gpu0.temperature"] == 42
    gpu |= dict.fromkeys((k for k in gpu if k.startswith("nvmlDeviceGet")), NVMLError(15))
    assert all(math.isnan(v) for v in sampler.read(1))
    assert [(g.what, g.why) for g in root.gaps] == [("GPU 0", "GPU is lost")], "one line, not one for each question"


def test_of_a_gpu_in_slices_it_says_why_its_use_is_not_told(tmp_path: Path) -> None:
    sliced = RTX3060 | {"nvmlDeviceGetMigMode": (1, 1), "nvmlDeviceGetUtilizationRates": NVMLError(3)}
    sampler = Sampler(Root.directory(tmp_path), nvml=FakeNvml([sliced]))
    (why,) = (g.why for g in sampler.absent if g.what.startswith("GPU 0: had a kernel running"))
    assert why == "it is cut into slices (MIG), of which NVML does not report this"
    assert "gpu0.power" in {c.name for c in sampler.columns}


def test_no_driver_is_one_line(tmp_path: Path) -> None:
    sampler = Sampler(Root.directory(tmp_path), nvml=FakeNvml([], nvmlInit=NVMLError(9)))
    assert sampler.absent[-1].what == "GPUs"
    assert sampler.absent[-1].why == "no NVIDIA driver on this host"


def test_only_what_changes_is_kept_open(tree: MakeTree, tmp_path: Path) -> None:
    root = tree({"/proc/stat": "a\n", "/secret": ""})
    file = root.keep("/proc/stat")
    assert file is not None
    tree({"/proc/stat": "b\n" * 40_000})
    assert (file.word(), len(file.text())) == (b"b\n" * 2048, 80_000)
    file.close()
    (tmp_path / "out").symlink_to("../..")
    assert root.keep("/out/etc") is None
    assert root.why("/out/etc") == "leads out of the dump"
    assert root.why("/proc/none") == "not there"


def test_a_snapshot_is_not_watched() -> None:
    root = open_archive(Path(__file__).parent / "snapshots" / "guest-2-sockets.tar.gz")
    sampler = Sampler(root)
    assert sampler.columns == ()
    assert {g.what: g.why for g in sampler.absent}["memory"] == "/proc/meminfo: a snapshot does not change"
