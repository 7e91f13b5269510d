"""What hides instructions, and how to compile for what is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hwdiag.host import Root, read_host
from hwdiag.host.compilers import read_build
from hwdiag.host.hiding import hidden_features
from hwdiag.host.model import Hidden, Isa
from hwdiag.parameters.diagnosis import Profile
from hwdiag.process.software import NOT_HERE
from hwdiag.report.host_table import host_table
from hwdiag.tune.evidence import Evidence
from hwdiag.tune.findings import consult

from .conftest import DUMPS, MakeTree, small_machine

TO_V2 = ("SSE4.2", "AVX", "F16C")
ALL_V3 = ("SSE4.2", "AVX", "F16C", "FMA", "AVX2", "BMI2")
ALL_V4 = (*ALL_V3, "AVX512F", "AVX512BW", "AVX512CD", "AVX512DQ", "AVX512VL")


@pytest.mark.parametrize(
    ("vendor", "model", "family", "have", "missing"),
    [
        ("GenuineIntel", "Intel Xeon Processor (Skylake)", "6/85/4", ALL_V3, ALL_V4[6:]),
        ("GenuineIntel", "Intel Core Processor (Haswell)", "6/60/1", TO_V2, ("FMA", "AVX2", "BMI2")),
        ("AuthenticAMD", "AMD EPYC", "23/1/2", TO_V2, ("FMA", "AVX2", "BMI2")),
        ("AuthenticAMD", "AMD EPYC", "25/17/1", ALL_V3, ALL_V4[6:]),
        # Complete, or never had them.
        ("GenuineIntel", "Intel Xeon Processor (Skylake)", "6/85/4", ALL_V4, None),
        ("AuthenticAMD", "AMD EPYC (Zen 3)", "25/1/1", ALL_V3, None),
        ("GenuineIntel", "Intel(R) Xeon(R) CPU E5-2680 v2 @ 2.80GHz", "6/62/4", TO_V2, None),
        ("GenuineIntel", "Intel(R) Pentium(R) CPU G4400", "6/94/3", ("SSE4.2",), None),
        ("HygonGenuine", "Hygon C86", "24/1/1", TO_V2, None),
        (None, None, None, (), None),
    ],
)
def test_a_hypervisor_that_hides_features(
    vendor: str | None, model: str | None, family: str | None, have: tuple[str, ...], missing: tuple[str, ...] | None
) -> None:
    said = hidden_features(None, hypervisor=True, vendor=vendor, model=model, family=family, have=have)
    assert [h.features for h in said] == ([missing] if missing else [])
    assert {h.by for h in said} <= {"hypervisor"}
    alone = hidden_features(None, hypervisor=False, vendor=vendor, model=model, family=family, have=have)
    assert alone == (), "on bare metal nobody is between"


def test_a_cpu_that_qemu_made_up() -> None:
    (said,) = hidden_features(
        None, hypervisor=True, vendor="AuthenticAMD", model="QEMU Virtual CPU version 2.5+", family="15/107/1", have=()
    )
    assert (said.features, said.by) == ((), "hypervisor")


@pytest.mark.parametrize(
    ("cmdline", "features"),
    [
        ("quiet clearcpuid=avx2,bmi2 splash", ("AVX2", "BMI2")),
        ("clearcpuid=293", ("AVX2",)),
        ("clearcpuid=avx512_vnni", ("AVX512-VNNI",)),
        ("clearcpuid=99999999999999999999,smap,,=", None),
        ("arm64.nosve", ("SVE", "SVE2", "SVE-I8MM", "SVE-BF16")),
        ("noxsave=1 noxsavefoo", None),
        ("quiet", None),
    ],
)
def test_a_kernel_that_hides_features(cmdline: str, features: tuple[str, ...] | None) -> None:
    said = hidden_features(cmdline, hypervisor=False, vendor=None, model=None, family=None, have=("AVX",))
    assert [h.features for h in said] == ([features] if features else [])


def test_an_option_that_took_nothing_away_is_not_blamed() -> None:
    said = hidden_features("clearcpuid=avx2", hypervisor=False, vendor=None, model=None, family=None, have=("AVX2",))
    assert said == ()


def test_noxsave_takes_avx_and_all_above(tree: MakeTree) -> None:
    files = small_machine() | {"/proc/cmdline": "quiet noxsave rdinit=/bin/x -- clearcpuid=avx2\n"}
    files["/proc/cpuinfo"] = files["/proc/cpuinfo"].replace(" avx f16c", "")
    host = read_host(tree(files))
    assert host.cpu.isa is not None
    (said,) = host.cpu.isa.hidden
    assert {"AVX", "AVX2", "F16C", "AVX512F", "AMX-BF16"} <= set(said.features)
    assert "SSE4.2" not in said.features
    findings, _ = consult(Evidence(profile=Profile(), host=host, software=NOT_HERE))
    assert next(f.title for f in findings if f.id == "hidden-by-kernel").startswith("The kernel hides AVX, F16C")
    assert "Hidden from programs" in host_table(host).to_text()


# Compiler flags


class Asked(Root):
    """A machine whose compilers say what is given."""

    def __init__(self, **said: str) -> None:
        super().__init__(None)
        self.said = said

    def output(self, *command: str) -> str | None:
        return self.said.get(command[0])


GCC = "  -march=                     \t\tznver3\n  -mtune=                     \t\tznver3\n"
GCC_HELP = "  Known valid arguments for -march= option:\n    i386 i486\n"
CLANG = ' "/usr/lib/llvm-14/bin/clang" "-cc1" "-E" "-target-cpu" "znver4" "-target-feature" "+avx2"\n'


def test_the_installed_compiler_is_asked_first() -> None:
    for root, by, target in (
        (Asked(gcc=GCC + GCC_HELP, clang=CLANG), "gcc", "znver3"),
        (Asked(clang=CLANG), "clang", "znver4"),
    ):
        build = read_build(root, "x86_64", "x86-64-v3", (), "AuthenticAMD", (), mixed=False)
        assert build is not None
        assert (build.flags, build.by, build.target) == ("-march=native", f"{by} on this host", target)


def test_arm_compilers_take_mcpu() -> None:
    root = Asked(gcc="  -march=         \t armv8.4-a\n  -mcpu=       \t neoverse-v1\n")
    build = read_build(root, "aarch64", "armv8.4-a", (), "ARM", (0xD40,), mixed=False)
    assert build is not None
    assert (build.flags, build.target) == ("-mcpu=native", "neoverse-v1")


def test_mixed_cores_get_the_floor_even_where_a_compiler_is() -> None:
    build = read_build(Asked(gcc=GCC), "x86_64", "x86-64-v3", (), "GenuineIntel", (), mixed=True)
    assert build is not None
    assert build.flags == "-march=x86-64-v3"


def test_an_unknown_architecture_has_no_flags() -> None:
    assert read_build(Asked(), "loongarch64", "unknown", ("lsx",), None, (), mixed=False) is None


def test_this_compiler_takes_the_flags(tmp_path: Path) -> None:
    import shutil
    import subprocess

    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    isa = read_host(Root.live()).cpu.isa
    assert isa is not None
    assert isa.build is not None
    (tmp_path / "x.c").write_text("int main(void) { return 0; }\n")
    subprocess.run(["gcc", *isa.build.flags.split(), "-c", "x.c"], cwd=tmp_path, check=True)


MICROARCHITECTURES = {
    "archspec-linux-rhel7-ivybridge": "-march=ivybridge",
    "archspec-linux-rhel7-haswell": "-march=haswell",
    "archspec-linux-rhel7-zen": "-march=znver1",
    "archspec-linux-rocky8.5-zen4": "-march=znver4",
    "archspec-linux-centos7-cascadelake": "-march=cascadelake",
    "archspec-linux-unknown-sapphirerapids": "-march=sapphirerapids",
    "archspec-linux-ubuntu22.04-neoverse_v2": "-mcpu=neoverse-v2",
    "archspec-linux-rocky8-a64fx": "-mcpu=a64fx",
}
"""The names of the files are the answers of their source's own tests."""


@pytest.mark.parametrize("name", MICROARCHITECTURES)
def test_flags_for_known_processors(tree: MakeTree, name: str) -> None:
    file = DUMPS / "text/cpuinfo" / f"{name}.txt"
    if not file.exists():
        pytest.skip(f"no such cpuinfo here: {file}")
    isa = read_host(tree({"/proc/cpuinfo": file.read_text() + "\n"})).cpu.isa
    assert isa is not None
    assert isa.build is not None
    assert MICROARCHITECTURES[name] in isa.build.flags.split()


@pytest.mark.parametrize(
    ("dump", "flags"), [("dgx-spark-gb10", "-march=armv9.2-a"), ("rpl-i7-1370p-hybrid", "-march=x86-64-v3")]
)
def test_flags_for_mixed_dumps(unpacked: Callable[[str], Path], dump: str, flags: str) -> None:
    isa = read_host(Root.directory(unpacked(dump))).cpu.isa
    assert isa is not None
    assert isa.build is not None
    assert isa.build.flags == flags


def test_sve_width(tree: MakeTree) -> None:
    cpuinfo = "processor\t: 0\nFeatures\t: fp asimd sve\nCPU implementer\t: 0x41\nCPU part\t: 0xd4f\n\n"
    for said, bits in (("16\n", 128), ("64\n", 512), ("x\n", None), ("0\n", None)):
        isa = read_host(tree({"/proc/cpuinfo": cpuinfo, "/proc/sys/abi/sve_default_vector_length": said})).cpu.isa
        assert isa is not None
        assert isa.sve_bits == bits


@pytest.mark.parametrize("name", sorted(p.name.removesuffix(".tar.gz") for p in DUMPS.glob("*.tar.gz")) or [None])
def test_no_dump_is_accused_wrongly(unpacked: Callable[[str], Path], name: str | None) -> None:
    if name is None:
        pytest.skip(f"no dumps of real machines in {DUMPS}")
    isa = read_host(Root.directory(unpacked(name))).cpu.isa
    assert isa is None or isa.hidden == (), "none of these hosts hides anything: their makers' sheets agree"


def test_it_survives_json() -> None:
    isa = Isa(level="x", features=(), missing=(), hidden=(Hidden(features=("AVX",), by="kernel", why="y"),))
    assert Isa.model_validate_json(isa.model_dump_json()) == isa
