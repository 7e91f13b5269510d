"""From bytes to words: what capstone groups, what it does not, and what it does not know."""

from __future__ import annotations

import pytest

from hwdiag.compat.explain import demangled, is_file, owner, unseen
from hwdiag.compat.instructions import decode, title
from hwdiag.compat.remedies import compile_remedy, known_remedies

X86 = [
    ("c4e269f7c0", "shlx eax, eax, edx", ("bmi2",)),
    ("c4e2fbf6c1", "mulx rax, rax, rcx", ("bmi2",)),
    ("c4e27d58c1", "vpbroadcastd ymm0, xmm1", ("avx2",)),
    ("c5fdfec1", "vpaddd ymm0, ymm0, ymm1", ("avx2",)),
    ("c5fc58c1", "vaddps ymm0, ymm0, ymm1", ("avx",)),
    ("c4e271b8c2", "vfmadd231ps xmm0, xmm1, xmm2", ("fma",)),
    ("62f17c4858c1", "vaddps zmm0, zmm0, zmm1", ("avx512f",)),
    ("62f17c2858c1", "vaddps ymm0, ymm0, ymm1", ("avx512vl", "avx512f")),
    ("f30fb8c1", "popcnt eax, ecx", ("popcnt",)),
    ("0f38f001", "movbe eax, dword ptr [rcx]", ("movbe",)),
    ("660f3a0bc100", "roundsd xmm0, xmm1, 0", ("sse4_1",)),
    ("f20f38f1c1", "crc32 eax, ecx", ("sse4_2",)),
    ("c4e27913c0", "vcvtph2ps xmm0, xmm0", ("f16c",)),
    ("c4e37969c120", "vfmaddpd xmm0, xmm0, xmm1, xmm2", ("fma4",)),
    ("8fe97880c1", "vfrczps xmm0, xmm1", ("xop",)),
    ("c4e2725cc3", "tdpbf16ps", ("amx_bf16",)),
    ("c4e27952c1", "vpdpwssd", ("avx_vnni",)),
    ("62f27e4852c1", "an EVEX-encoded instruction (62 f2 7e 48 52 c1)", ("avx512f",)),
    ("4889c8", "mov rax, rcx", ()),
]


@pytest.mark.parametrize(("code", "text", "needs"), X86)
def test_x86(code: str, text: str, needs: tuple[str, ...]) -> None:
    found = decode(bytes.fromhex(code), "x86_64")
    assert found is not None
    assert (found.text, found.needs, found.deliberate) == (text, needs, False)


@pytest.mark.parametrize(
    ("code", "machine", "text", "needs", "deliberate"),
    [
        ("0f0b", "x86_64", "ud2", (), True),
        ("00000000", "aarch64", "udf #0", (), True),
        ("0000c004", "aarch64", "add z0.d, p0/m, z0.d, z0.d", ("sve",), False),
        ("2094824e", "aarch64", "sdot v0.4s, v1.16b, v2.16b", ("asimddp",), False),
    ],
)
def test_arm_and_aborts(code: str, machine: str, text: str, needs: tuple[str, ...], deliberate: bool) -> None:
    found = decode(bytes.fromhex(code), machine)
    assert found is not None
    assert (found.text, found.needs[:1], found.deliberate) == (text, needs, deliberate)


def test_what_is_no_instruction_or_no_known_machine() -> None:
    assert decode(b"", "x86_64") is None
    assert decode(b"\x06" * 16, "x86_64") is None
    assert decode(b"\x0f\x0b", "s390x") is None


def test_names_for_people() -> None:
    assert [title(f) for f in ("bmi2", "avx512_vnni", "avx512f", "fma")] == ["BMI2", "AVX512-VNNI", "AVX512-F", "FMA3"]
    assert demangled("_ZN6fbgemm10FindMinMaxEPKfPfS2_l") == "fbgemm::FindMinMax"
    assert demangled("_ZN2at6native4gemmEv") == "at::native::gemm"
    assert demangled("dgemm_kernel_HASWELL") == "dgemm_kernel_HASWELL"
    assert owner("/v/lib/python3.11/site-packages/numpy.libs/libopenblas.so") == "numpy"
    assert owner("/usr/lib/libc.so.6") is None
    assert [is_file(p) for p in ("/lib/x.so", "/dev/zero (deleted)", "/memfd:jit", None)] == [True, False, False, False]


def test_a_remedy_is_for_the_package_whose_object_died() -> None:
    def kinds(package: str, path: str | None) -> list[str]:
        return [r.kind for r in known_remedies(package, path, None)]

    assert kinds("polars-runtime-32", "_polars_runtime.abi3.so") == ["build"]
    assert kinds("duckdb", "_duckdb.cpython-311-x86_64-linux-gnu.so") == ["version"]
    assert kinds("duckdb", "libscipy_openblas64_-32a4b2a6.so") == ["cap"]
    assert kinds("numpy", "libtorch_cpu.so") == ["cap"]
    fbgemm = [r.kind for r in known_remedies("torch", "libtorch_cpu.so", "_ZN6fbgemm10FindMinMaxEPKfPfS2_l")]
    assert fbgemm == ["build", "cap"]
    assert kinds("bitsandbytes", None) == ["version"]
    assert [r.kind for r in unseen("SIGILL", "why", "Duck.DB").remedies] == []
    assert [r.kind for r in unseen("SIGSEGV", "why", "duckdb").remedies] == []
    assert "--no-binary some-pkg" in compile_remedy("Some_Pkg").text
