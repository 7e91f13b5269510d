"""Facts that one machine or another tells in its own way, each of which was once read wrongly."""

from __future__ import annotations

from typing import Any

import pytest

from hwdiag.host.model import Host
from hwdiag.host.read import read_host

from .conftest import MakeTree

CPU, NODE = "/sys/devices/system/cpu", "/sys/devices/system/node"
ICELAKE = (
    "fpu lm cmov cx8 fxsr mmx sse sse2 syscall cx16 lahf_lm pni popcnt sse4_1 sse4_2 ssse3 abm avx avx2 bmi1 bmi2 "
    "f16c fma movbe xsave xsavec xsaveopt aes pclmulqdq rdrand rdseed adx clflushopt clwb fsgsbase avx512f "
    "avx512bw avx512cd "
    "avx512dq avx512vl avx512ifma avx512vbmi avx512_vbmi2 avx512_vnni avx512_bitalg avx512_vpopcntdq sha_ni gfni vaes "
    "vpclmulqdq rdpid sse3 rdtscp"
)
SAPPHIRE = ICELAKE + (
    " amx_tile amx_int8 amx_bf16 avx512_bf16 avx512_fp16 avx_vnni cldemote movdiri movdir64b serialize waitpkg"
)
ARROWLAKE = (
    "fpu lm cmov cx8 fxsr mmx sse sse2 syscall cx16 lahf_lm pni popcnt sse4_1 sse4_2 ssse3 abm avx avx2 bmi1 bmi2 "
    "f16c fma movbe xsave xsavec xsaveopt aes pclmulqdq rdrand rdseed adx clflushopt clwb fsgsbase sha_ni "
    "gfni vaes vpclmulqdq "
    "rdpid movdiri movdir64b serialize waitpkg avx_vnni avx_ifma avx_ne_convert avx_vnni_int8 cmpccxadd uintr"
)


def x86(family: int, model: int, name: str, flags: str) -> dict[str, str]:
    return {
        "/proc/cpuinfo": f"processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: {family}\nmodel\t\t: {model}\n"
        f"model name\t: {name}\nstepping\t: 6\nflags\t\t: {flags}\n\n",
        f"{CPU}/online": "0\n",
    }


@pytest.mark.parametrize(
    ("model", "name", "flags", "target"),
    [
        (106, "Intel(R) Xeon(R) Platinum 8358 CPU @ 2.60GHz", ICELAKE, "icelake-server"),
        (134, "Intel Xeon Processor (Icelake)", f"{ICELAKE} hypervisor", "icelake-server"),
        (126, "Intel(R) Core(TM) i7-1065G7 CPU @ 1.30GHz", ICELAKE, "icelake"),
        (143, "Intel(R) Xeon(R) Platinum 8480+", SAPPHIRE, "sapphirerapids"),
        (173, "Intel(R) Xeon(R) 6980P", f"{SAPPHIRE} amx_fp16", "graniterapids"),
        (175, "Intel(R) Xeon(R) 6780E", ARROWLAKE, "sierraforest"),
        (197, "Intel(R) Core(TM) Ultra 7 265K", ARROWLAKE, "arrowlake"),
    ],
)
def test_servers_of_intel_are_compiled_for_as_such(
    tree: MakeTree, model: int, name: str, flags: str, target: str
) -> None:
    isa = read_host(tree(x86(6, model, name, flags))).cpu.isa
    assert isa is not None
    assert isa.build is not None
    assert isa.build.target == target
    assert isa.build.flags.startswith(f"-march={'icelake-client' if target == 'icelake' else target}")


def lakefield() -> dict[str, str]:
    """One large core of 3.0 GHz and 48 KiB beside four of 2.8 GHz and 32 KiB, on a kernel that names no kinds."""
    one = "processor\t: {}\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Core(TM) i5-L16G7\nflags\t\t: lm fpu\n\n"
    files = {"/proc/cpuinfo": "".join(one.format(cpu) for cpu in range(5)), f"{CPU}/online": "0-4\n"}
    for cpu in range(5):
        large = cpu == 4
        files |= {
            f"{CPU}/cpu{cpu}/cpufreq/cpuinfo_max_freq": f"{3000000 if large else 2800000}\n",
            f"{CPU}/cpu{cpu}/cache/index0/level": "1\n",
            f"{CPU}/cpu{cpu}/cache/index0/type": "Data\n",
            f"{CPU}/cpu{cpu}/cache/index0/size": f"{48 if large else 32}K\n",
            f"{CPU}/cpu{cpu}/cache/index0/shared_cpu_list": f"{cpu}\n",
            f"{CPU}/cpu{cpu}/topology/core_cpus_list": f"{cpu}\n",
            f"{CPU}/cpu{cpu}/topology/physical_package_id": "0\n",
        }
    return files


def test_lakefield_has_two_kinds_of_core(tree: MakeTree) -> None:
    kinds = read_host(tree(lakefield())).cpu.kinds
    assert [(k.name, k.cpus, k.max_mhz) for k in kinds] == [("P-core", (4,), 3000), ("E-core", (0, 1, 2, 3), 2800)]


def test_a_map_of_who_shares_a_cache_goes_before_a_list_that_contradicts_it(tree: MakeTree) -> None:
    files = lakefield() | {f"{CPU}/cpu{cpu}/cache/index0/shared_cpu_map": "0f\n" for cpu in range(4)}
    assert [c.cpus for c in read_host(tree(files)).cpu.caches] == [(0, 1, 2, 3), (4,)]


RISCV = "processor\t: {}\nhart\t\t: {}\nisa\t\t: {}\nmmu\t\t: sv39\nuarch\t\t: sifive,x280\nmvendorid\t: 0x489\n\n"


@pytest.mark.parametrize(
    ("isas", "level", "has", "lacks"),
    [
        (("rv64imafdcv_zicsr_zba_zbb_zfh",) * 2, "rv64gcv", {"V", "Zba", "Zbb", "Zfh"}, {"Zvfh"}),
        (("rv64imafdcv_zba", "rv64imafdc_zba"), "rv64gc", {"Zba"}, {"V"}),
        (("rv64ima", "rv64ima"), "unknown", set(), {"V"}),
    ],
)
def test_riscv_tells_its_maker_and_its_instructions(
    tree: MakeTree, isas: tuple[str, str], level: str, has: set[str], lacks: set[str]
) -> None:
    text = "".join(RISCV.format(cpu, cpu, isa) for cpu, isa in enumerate(isas))
    host = read_host(tree({"/proc/cpuinfo": text, f"{CPU}/online": "0-1\n"}))
    assert (host.system.arch, host.cpu.vendor, host.cpu.model) == ("riscv64", "0x489", "sifive,x280")
    assert host.cpu.isa is not None
    assert (host.cpu.isa.level, set(host.cpu.isa.features) >= has) == (level, True)
    assert lacks <= set(host.cpu.isa.missing)
    assert (host.cpu.isa.build and host.cpu.isa.build.flags) == (None if level == "unknown" else f"-march={level}")


S390 = "vendor_id       : IBM/S390\n# processors    : 1\nprocessor 0: version = FF,  ident = 0123,  machine = 8561\n"
FLAGS = "processor\t: 0\nflags\t\t: lm fpu\n\n"
VIRTUALBOX = {"/sys/class/dmi/id/sys_vendor": "innotek GmbH\n", "/sys/class/dmi/id/product_name": "VirtualBox\n"}
POWERVM = {"/proc/cpuinfo": "processor\t: 0\ncpu\t\t: POWER9\n\n", "/proc/device-tree/ibm,partition-name": "lpar7\0"}


@pytest.mark.parametrize(
    ("files", "hypervisor"),
    [
        ({"/proc/cpuinfo": S390, "/proc/sysinfo": "Manufacturer: IBM\nLPAR Number:  7\nLPAR Name: A\n"}, "PR/SM"),
        ({"/proc/cpuinfo": S390, "/proc/sysinfo": "LPAR Number: 7\nVM00 Control Program: z/VM    7.2\n"}, "z/VM"),
        ({"/proc/cpuinfo": S390, "/proc/sysinfo": "Manufacturer: IBM\n"}, None),
        (POWERVM, "PowerVM"),
        ({**POWERVM, "/proc/device-tree/hypervisor/compatible": "linux,kvm\0"}, "KVM"),
        ({**POWERVM, "/proc/device-tree/chosen/qemu,graphic-width": "1"}, None),
        ({"/proc/cpuinfo": FLAGS, **VIRTUALBOX}, "VirtualBox"),
        ({"/proc/cpuinfo": FLAGS.replace("fpu", "hypervisor"), **VIRTUALBOX}, "VirtualBox"),
        ({"/proc/cpuinfo": FLAGS, "/sys/class/dmi/id/sys_vendor": "Amazon EC2\n"}, None),
    ],
)
def test_hypervisors(tree: MakeTree, files: dict[str, str], hypervisor: str | None) -> None:
    assert read_host(tree(files)).system.hypervisor == hypervisor


LOONGSON = "system type\t\t: generic-loongson-machine\nprocessor\t\t: 0\ncpu model\t\t: ICT Loongson-3 V0.4  FPU V0.1\n"


@pytest.mark.parametrize(
    ("text", "arch", "model"),
    [
        (f"{LOONGSON}isa\t\t\t: mips1 mips2 mips3 mips4 mips64r2\n\n", "mips64", "ICT Loongson-3 V0.4 FPU V0.1"),
        (f"{LOONGSON}isa\t\t\t: mips1 mips2 mips3 mips4 mips5\n\n", "mips64", "ICT Loongson-3 V0.4 FPU V0.1"),
        ("processor\t: 0\nisa\t\t: rv32imac\n\n", "riscv32", None),
        (
            "processor\t: 0\nCPU Family\t: Loongson-64bit\nModel Name\t: Loongson-3A5000\n\n",
            "loongarch64",
            "Loongson-3A5000",
        ),
        (
            "Processor\t: AArch64 Processor rev 1 (aarch64)\nprocessor\t: 0\nFeatures\t: fp asimd\n"
            "CPU implementer\t: 0x50\nCPU architecture: AArch64\nCPU variant\t: 0x0\nCPU part\t: 0x000\n"
            "Hardware\t: APM X-Gene Mustang board\n\n",
            "aarch64",
            "X-Gene",
        ),
    ],
)
def test_architectures_and_models(tree: MakeTree, text: str, arch: str, model: str | None) -> None:
    host = read_host(tree({"/proc/cpuinfo": text, f"{CPU}/online": "0\n"}))
    assert (host.system.arch, host.cpu.model) == (arch, model)


def test_the_cpuset_file_system_of_old_kernels_bounds_the_cpus(tree: MakeTree) -> None:
    files = {
        "/proc/cpuinfo": "".join(f"processor\t: {cpu}\nflags\t: lm\n\n" for cpu in range(8)),
        f"{CPU}/online": "0-7\n",
        "/proc/mounts": "none /dev/cpuset cpuset rw 0 0\n",
        "/proc/self/cpuset": "/batch\n",
        "/dev/cpuset/cpus": "0-7\n",
        "/dev/cpuset/batch/cpus": "2-3\n",
        "/dev/cpuset/batch/mems": "0\n",
    }
    host = read_host(tree(files))
    assert (host.limits.cpuset, host.limits.allowed, host.usable_cpus, host.limits.mems) == ((2, 3),) * 3 + ((0,),)


def grown(node_kib: int) -> dict[str, str]:
    return {
        "/proc/meminfo": "MemTotal:       24641536 kB\nMemAvailable:   20000000 kB\n",
        f"{NODE}/node0/cpulist": "0\n",
        f"{NODE}/node0/meminfo": f"Node 0 MemTotal:       {node_kib} kB\n",
        f"{CPU}/online": "0\n",
        "/proc/cpuinfo": FLAGS,
    }


@pytest.mark.parametrize(("node_kib", "told"), [(6501171, True), (24641536, False), (24148705, False)])
def test_memory_that_grows_is_said_to(tree: MakeTree, node_kib: int, told: bool) -> None:
    host = read_host(tree(grown(node_kib)))
    said = [g.why for g in host.gaps if g.what == "memory of the NUMA nodes"]
    assert said == (
        ["the nodes have 6.2 GiB together, /proc/meminfo 23.5 GiB: it grows or shrinks as the VM runs"] * told
    )


STRANGE: dict[str, Any] = {
    "cpu70000": {f"{CPU}/cpu70000/topology/core_id": "0\n", "/proc/cpuinfo": "processor\t: 70000\nflags\t: lm\n\n"},
    "node70000": {f"{NODE}/node70000/cpulist": "0-1\n", "/proc/cpuinfo": FLAGS},
}


@pytest.mark.parametrize("name", STRANGE)
def test_what_is_read_can_be_read_back(tree: MakeTree, name: str) -> None:
    host = read_host(tree(STRANGE[name]))
    assert Host.model_validate_json(host.model_dump_json()) == host
    assert host.numa == ()
