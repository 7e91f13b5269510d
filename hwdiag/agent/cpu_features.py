"""Instruction sets that the CPU tells this process. Standard library only."""

import ctypes
import platform

from .machine_code import executable

CPUID_BITS = {  # (leaf, register): {bit: feature as /proc/cpuinfo names it}; Intel SDM 2A, CPUID; AMD APM 3, appendix E
    (1, "c"): {0: "pni", 9: "ssse3", 12: "fma", 19: "sse4_1", 20: "sse4_2", 22: "movbe", 23: "popcnt", 25: "aes",
               28: "avx", 29: "f16c", 30: "rdrand"},
    (7, "b"): {3: "bmi1", 5: "avx2", 8: "bmi2", 16: "avx512f", 17: "avx512dq", 18: "rdseed", 19: "adx",
               21: "avx512ifma", 28: "avx512cd", 29: "sha_ni", 30: "avx512bw", 31: "avx512vl"},
    (7, "c"): {1: "avx512vbmi", 6: "avx512_vbmi2", 8: "gfni", 9: "vaes", 10: "vpclmulqdq", 11: "avx512_vnni",
               12: "avx512_bitalg", 14: "avx512_vpopcntdq"},
    (7, "d"): {22: "amx_bf16", 23: "avx512_fp16", 24: "amx_tile", 25: "amx_int8"},
    (7.1, "a"): {4: "avx_vnni", 5: "avx512_bf16", 23: "avx_ifma"},
    (0x80000001, "c"): {5: "abm", 6: "sse4a", 11: "xop", 16: "fma4", 21: "tbm"},
}  # fmt: skip
CPUID_CODE = bytes.fromhex("534989d089f889f10fa241890041895804418948084189500c5bc3")
"""``void cpuid(uint32 leaf, uint32 subleaf, uint32 out[4])``: push rbx; mov r8,rdx; mov eax,edi; mov ecx,esi; cpuid;
mov [r8],eax; mov [r8+4],ebx; mov [r8+8],ecx; mov [r8+12],edx; pop rbx; ret."""

HWCAP_ARM = {
    16: {1: "asimd", 3: "aes", 7: "crc32", 8: "atomics", 9: "fphp", 10: "asimdhp", 20: "asimddp", 22: "sve"},
    26: {1: "sve2", 13: "i8mm", 14: "bf16", 23: "sme"},
}
"""getauxval's AT_HWCAP and AT_HWCAP2 of AArch64 (Linux, arch/arm64/include/uapi/asm/hwcap.h)."""


def cpu_features():
    """Return the features that the CPU tells *this process*: under user-mode emulation /proc/cpuinfo shows the real
    host's flags.

    None where it cannot be asked, such as where memory cannot be made executable.
    """
    machine = platform.machine()
    try:
        if machine == "x86_64":
            return features_x86()
        if machine == "aarch64":
            getauxval = ctypes.CDLL(None).getauxval
            getauxval.restype, getauxval.argtypes = ctypes.c_ulong, [ctypes.c_ulong]
            return sorted(n for kind, bits in HWCAP_ARM.items() for b, n in bits.items() if getauxval(kind) >> b & 1)
    except (OSError, ValueError, AttributeError):
        pass
    return None


def cpu_name():
    """Return what the CPU calls itself to this process (CPUID, 0x80000002 to 4); None where it does not say."""
    if platform.machine() != "x86_64":
        return None
    try:
        cpuid = cpuid_function()
        if cpuid(0x80000000)["a"] < 0x80000004:
            return None
        leaves = [cpuid(0x80000002 + n) for n in range(3)]
    except (OSError, ValueError, AttributeError):
        return None
    raw = b"".join(leaf[r].to_bytes(4, "little") for leaf in leaves for r in "abcd")
    return " ".join(raw.split(b"\0")[0].decode("ascii", "replace").split()) or None


def cpuid_function():
    """Return a function that gives the registers a to d of a leaf."""
    call = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p)(executable(CPUID_CODE))

    def cpuid(leaf, subleaf=0):
        out = (ctypes.c_uint32 * 4)()
        call(leaf, subleaf, ctypes.addressof(out))
        return dict(zip("abcd", out))

    return cpuid


def features_x86():
    cpuid = cpuid_function()
    highest, extended = cpuid(0)["a"], cpuid(0x80000000)["a"]
    leaves = {1: cpuid(1)}
    if highest >= 7:
        leaves[7] = cpuid(7)
        leaves[7.1] = cpuid(7, 1) if leaves[7]["a"] >= 1 else {}
    if extended >= 0x80000001:
        leaves[0x80000001] = cpuid(0x80000001)
    bits = [(leaves.get(leaf, {}).get(register, 0), names) for (leaf, register), names in CPUID_BITS.items()]
    return sorted(name for value, names in bits for bit, name in names.items() if value >> bit & 1)
