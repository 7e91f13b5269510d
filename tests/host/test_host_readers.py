"""Readers on small made-up trees: what the dumps do not show, and files that are damaged."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from hwdiag.host import Root, read_host
from hwdiag.host.isa import isa_of
from hwdiag.host.model import Host

from .conftest import MakeTree, small_machine

CPU = "/sys/devices/system/cpu"


def test_small_machine(tree: MakeTree) -> None:
    host = read_host(tree(small_machine()))
    assert (host.cpu.sockets, host.cpu.cores, host.cpu.smt) == (1, 4, False)
    assert (host.cpu.family, host.cpu.isa and host.cpu.isa.level) == ("6/62/4", "x86-64-v2")
    assert [c.node for c in host.cpu.logical] == [0, 0, 0, 0]
    assert len(host.cpu.llc) == 1
    assert host.cpu.llc_bytes == 25 << 20
    assert host.memory.total_bytes == 16 << 20
    assert host.usable_memory_bytes == 8 << 20
    assert host.gaps == ()


def test_cpuinfo_alone_tells_sockets_and_cores(tree: MakeTree) -> None:
    files = small_machine()
    text = files["/proc/cpuinfo"].replace("physical id\t: 0", "physical id\t: 1", 2)
    host = read_host(tree({"/proc/cpuinfo": text}))
    assert (host.cpu.online, host.cpu.sockets, host.cpu.cores) == ((0, 1, 2, 3), 2, 4)
    assert [c.socket for c in host.cpu.logical] == [0, 0, 1, 1]
    assert host.cpu.caches == ()


def test_nothing_at_all(tmp_path: Path) -> None:
    host = read_host(Root.directory(tmp_path))
    assert (host.cpu.sockets, host.cpu.cores, host.cpu.smt, host.cpu.online) == (None, None, None, ())
    assert (host.system.hostname, host.system.arch) == ("unknown", "unknown")
    assert host.gaps == ()


def test_hybrid_by_the_kernels_own_sorting(tree: MakeTree) -> None:
    """Core Ultra: three kinds, of which one is not told apart by a maximum frequency."""
    pmus = {"/sys/devices/cpu_core/cpus": "0-1\n", "/sys/devices/cpu_atom/cpus": "2\n"}
    host = read_host(tree(small_machine() | pmus | {"/sys/devices/cpu_lowpower/cpus": "3\n"}))
    assert {k.name: k.cpus for k in host.cpu.kinds} == {"P-core": (0, 1), "E-core": (2,), "LP E-core": (3,)}


def test_favoured_cores_are_no_kind(tree: MakeTree) -> None:
    files = small_machine() | {f"{CPU}/cpu0/cpufreq/cpuinfo_max_freq": "3900000\n"}
    (kind,) = read_host(tree(files)).cpu.kinds
    assert kind.max_mhz == 3900


def test_kinds_by_capacity_go_before_frequency(tree: MakeTree) -> None:
    files = small_machine()
    for i, capacity in enumerate([1024, 1000, 600, 580]):
        files[f"{CPU}/cpu{i}/cpu_capacity"] = f"{capacity}\n"
    kinds = read_host(tree(files)).cpu.kinds
    assert [(k.name, k.cpus, k.capacity) for k in kinds] == [("P-core", (0, 1), 1024), ("E-core", (2, 3), 600)]


def test_arm_part_number_from_the_id_register(tree: MakeTree) -> None:
    files = small_machine()
    files["/proc/cpuinfo"] = "".join(f"processor\t: {i}\nFeatures\t: fp asimd\n\n" for i in range(4))
    for i in range(4):
        files[f"{CPU}/cpu{i}/regs/identification/midr_el1"] = "0x00000000410fd0c1\n" if i else "0x00000000410fd991\n"
    kinds = {k.name: k.cpus for k in read_host(tree(files)).cpu.kinds}
    assert kinds == {"Neoverse-N1": (1, 2, 3), "ARM 0xd99": (0,)}


def test_old_arm_cpuinfo_says_features_once(tree: MakeTree) -> None:
    text = (
        "processor\t: 0\n\nprocessor\t: 1\n\n"
        "Features\t: fp asimd aes\nCPU implementer\t: 0x50\nCPU architecture: 8\nCPU part\t: 0x000\n"
    )
    host = read_host(tree({"/proc/cpuinfo": text}))
    assert host.cpu.flags == ("aes", "asimd", "fp")
    assert (host.cpu.vendor, host.cpu.model, host.system.arch) == ("APM", "X-Gene", "aarch64")


def test_flags_are_those_of_all_cpus(tree: MakeTree) -> None:
    files = small_machine()
    head, tail = files["/proc/cpuinfo"].rsplit("f16c", 1)
    files["/proc/cpuinfo"] = head + "epb" + tail
    flags = read_host(tree(files)).cpu.flags
    assert "avx" in flags
    assert not {"f16c", "epb"} & set(flags)


def test_memory_only_node_and_gaps_in_ids(tree: MakeTree) -> None:
    node = "/sys/devices/system/node"
    files = small_machine() | {
        f"{node}/node0/distance": "10 40\n",
        f"{node}/node250/cpulist": "\n",
        f"{node}/node250/meminfo": "Node 250 MemTotal:       1024 kB\n",
        f"{node}/node250/distance": "40 10\n",
    }
    host = read_host(tree(files))
    assert [(n.id, n.cpus, n.memory_bytes, n.distances) for n in host.numa][1] == (250, (), 1 << 20, (40, 10))
    assert host.gaps == ()


def test_disks(tree: MakeTree, tmp_path: Path) -> None:
    block = "/sys/block"
    files = {
        f"{block}/{n}/size": "2048\n" for n in ("vda", "loop0", "zram0", "ram1", "dm-0", "md127", "sr0", "nvme0c0n1")
    }
    files |= {
        f"{block}/vda/queue/rotational": "1\n",
        f"{block}/vda/queue/scheduler": "none [mq-deadline] kyber\n",
        f"{block}/sdb/size": "0\n",
        "/sys/devices/pci0/ata1/block/sda/size": "4096\n",
        "/sys/devices/pci0/ata1/block/sda/device/model": "KINGSTON SH103S3 \n",
        "/sys/devices/pci0/usb2/block/sdc/size": "4096\n",
    }
    root = tree(files)
    (tmp_path / "sys/block/sda").symlink_to("../devices/pci0/ata1/block/sda")
    (tmp_path / "sys/block/sdc").symlink_to("../devices/pci0/usb2/block/sdc")
    disks = read_host(root).disks
    assert [(d.name, d.kind, d.size_bytes) for d in disks] == [
        ("sda", "sata", 2 << 20),
        ("sdc", "other", 2 << 20),
        ("vda", "virtio", 1 << 20),
    ]
    assert (disks[0].model, disks[2].scheduler, disks[2].rotational) == ("KINGSTON SH103S3", "mq-deadline", True)


def test_system_of_a_guest(tree: MakeTree) -> None:
    files = small_machine() | {
        "/sys/class/dmi/id/sys_vendor": "QEMU\n",
        "/sys/class/dmi/id/product_name": "Standard PC (Q35 + ICH9, 2009)\n",
        "/etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
        "/proc/self/cgroup": "0::/kubepods.slice/pod1/cri-containerd-1f.scope\n",
        "/proc/version": "Linux version 6.1.0-13-amd64 (x@y) #1 SMP\n",
    }
    host = read_host(tree(files | {"/proc/cpuinfo": files["/proc/cpuinfo"].replace("fpu", "fpu hypervisor")}))
    assert host.system.hypervisor == "QEMU"
    assert host.system.container == "kubernetes"
    assert host.system.product == "QEMU Standard PC (Q35 + ICH9, 2009)"
    assert host.system.distribution == "Debian GNU/Linux 12 (bookworm)"
    assert host.system.kernel == "6.1.0-13-amd64"


def test_board_where_the_maker_left_the_product_empty(tree: MakeTree) -> None:
    dmi = "/sys/class/dmi/id"
    files = {
        f"{dmi}/sys_vendor": "To Be Filled By O.E.M.\n",
        f"{dmi}/product_name": "System Product Name\n",
        f"{dmi}/board_vendor": "ASUSTeK COMPUTER INC.\n",
        f"{dmi}/board_name": "ROG ZENITH II EXTREME\n",
    }
    assert read_host(tree(files)).system.product == "ASUSTeK COMPUTER INC. ROG ZENITH II EXTREME"


@pytest.mark.parametrize(
    ("arch", "flags", "level"),
    [
        ("x86_64", "fpu", "unknown"),
        ("aarch64", "fp asimd", "armv8-a"),
        ("aarch64", "fp asimd atomics asimdrdm crc32 dcpop sve2", "armv8.2-a"),
        ("s390x", "vx dfp", "unknown"),
    ],
)
def test_isa_levels(arch: str, flags: str, level: str) -> None:
    isa = isa_of(arch, tuple(flags.split()))
    assert isa is not None
    assert isa.level == level
    assert not set(isa.features) & set(isa.missing)


# Damage


def facts(host: Host) -> tuple[object, ...]:
    return host.cpu.online, host.cpu.cores, host.memory.total_bytes, len(host.cpu.caches)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\0\0\0",
        "processor",
        "processor\t: 99999999999999999999\n",
        "processor\t: -1\nmodel name\t: x\n",
        "flags\t\t:\n" * 100,
        ":::::\n\n:\n",
        "processor\t: 0\ncpu family\t: six\nphysical id\t: \nflags\t\t: fpu",
        "CPU implementer\t: 0xzz\nprocessor\t: 0\nCPU part\t: 0x\n",
    ],
)
def test_damaged_cpuinfo(tree: MakeTree, text: str) -> None:
    whole = read_host(tree(small_machine()))
    host = read_host(tree(small_machine() | {"/proc/cpuinfo": text}))
    assert facts(host) == facts(whole), "sysfs still tells these"
    assert host.cpu.flags in ((), ("fpu",))


def test_contradicting_files_are_told(tree: MakeTree) -> None:
    files = small_machine() | {f"{CPU}/online": "0-2\n", f"{CPU}/cpu0/topology/thread_siblings_list": "7\n"}
    host = read_host(tree(files))
    assert host.cpu.online == (0, 1, 2)
    assert host.cpu.offline == (3,)
    assert {g.what for g in host.gaps} == {"/proc/cpuinfo", f"{CPU}/cpu0/topology/thread_siblings_list"}


def test_cut_off_cpuinfo_does_not_lose_flags(tree: MakeTree) -> None:
    text = small_machine()["/proc/cpuinfo"]
    host = read_host(tree(small_machine() | {"/proc/cpuinfo": text[: text.rindex("avx")]}))
    assert "avx" in host.cpu.flags
    assert [(g.what, g.why) for g in host.gaps] == [
        ("/proc/cpuinfo", "ends in the middle of a line, which is left out")
    ]


def test_a_mistake_of_ours_costs_one_section(tree: MakeTree, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: Root) -> None:
        raise ZeroDivisionError("ours")

    monkeypatch.setattr("hwdiag.host.read.read_disks", broken)
    host = read_host(tree(small_machine()))
    assert host.disks == ()
    assert host.cpu.cores == 4
    assert [(g.what, g.why) for g in host.gaps] == [("disks", "ZeroDivisionError: ours")]


def test_random_damage_never_reaches_a_section(tmp_path: Path) -> None:
    """Each file empty, cut, binary, huge numbers or another's content: facts may go, a reader may not fail."""
    files = small_machine()
    chance = random.Random(7)
    for path, text in files.items():
        (tmp_path / path.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path.lstrip("/")).write_text(text)
    sections = {"CPU topology", "NUMA nodes", "system", "CPU", "memory", "GPUs", "disks", "limits"}
    for path, text in files.items():
        place = tmp_path / path.lstrip("/")
        for damage in (
            b"",
            text.encode()[: chance.randrange(len(text))],
            chance.randbytes(50),
            b"99999999999999999999\n",
            b"9" * 5000,
            b"0x" + b"f" * 5000,
            b"0-65535",
            b"-3\n",
            chance.choice(list(files.values())).encode(),
        ):
            place.write_bytes(damage)
            host = read_host(Root.directory(tmp_path))
            assert not sections & {g.what for g in host.gaps}, (path, damage, host.gaps)
            assert Host.model_validate_json(host.model_dump_json()) == host
        place.write_text(text)


def test_4096_cpus(tree: MakeTree) -> None:
    """More than any dump has; cpuinfo alone, as 60,000 files would take the test machine too long to write."""
    text = "".join(f"processor\t: {i}\nphysical id\t: {i // 512}\ncore id\t\t: {i % 512}\n\n" for i in range(4096))
    host = read_host(tree({"/proc/cpuinfo": text, f"{CPU}/online": "0-4095\n"}))
    assert (host.cpu.sockets, host.cpu.cores) == (8, 4096)
