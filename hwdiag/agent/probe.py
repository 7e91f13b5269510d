"""The probe: one child process that imports one package, tries its operations, and tells what killed it.

This file is run by path under *any* interpreter, where hwdiag is not installed: it may use the standard library only
(and, in an operation, the package that it probes), and must run on Python 3.8. The parent writes one JSON task to its
standard input::

    {"parent": 4711, "list": true}
    {"parent": 4711, "imports": ["torch"], "extensions": ["torch._C"], "operations": ["torch-matmul"]}

and reads one JSON object a line. A listing gives one ``environment``. A probe gives ``begin`` and ``done`` or
``failed`` per stage (``import torch``, ``extensions``, ``torch-matmul``), and ``end``; in between it may give one
``crash``: what a handler for SIGILL, SIGSEGV, SIGBUS and SIGFPE saw *inside the dying process*, before the signal is
raised again with its default action. That needs no ptrace and no core file, and works under user-mode emulation, as
the emulator answers for /proc/self/maps.

The handler is Python, called through ctypes, so it needs the interpreter's lock. A crash in a thread that cannot have
it, because another thread holds it and waits, leaves that thread stuck in the handler with the signal blocked; the
parent sees this in /proc, ends the child, and the verdict degrades to the package and its stage.
"""

import ctypes
import importlib
import importlib.machinery
import json
import mmap
import os
import platform
import re
import signal
import sys
import threading
import time

CODE_BYTES = 16
"""Bytes reported at the instruction: x86's longest has 15."""
FRAMES = 12

# --- What kills this process ----------------------------------------------------------------------------------------

SA_SIGINFO = 4
SIGNALS = (signal.SIGILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE)
PC_OFFSET = {"x86_64": 168, "aarch64": 440}
"""Where ucontext_t keeps the program counter: REG_RIP in gregs, and mcontext.pc (glibc, sys/ucontext.h)."""


class Sigaction(ctypes.Structure):
    """struct sigaction of glibc and musl on x86-64 and AArch64."""

    _fields_ = [
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_ulong * 16),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    ]


class DlInfo(ctypes.Structure):
    """Dl_info, dladdr(3)."""

    _fields_ = [
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    ]


def mapping_of(address):
    """The mapping that holds an address: ``(path or None, offset into the file, readable)``; None if there is none."""
    with open("/proc/self/maps", errors="replace") as maps:
        for line in maps:
            fields = line.split(None, 5)
            low, high = (int(x, 16) for x in fields[0].split("-"))
            if low <= address < high:
                path = fields[5].strip() if len(fields) == 6 else ""
                return path if path.startswith("/") else None, address - low + int(fields[2], 16), "r" in fields[1]
    return None


def python_stack(frame):
    """The innermost Python frames, the probe's own and the import system's left out."""
    frames = []
    while frame is not None and len(frames) < FRAMES:
        code = frame.f_code
        if not code.co_filename.startswith("<frozen importlib") and code.co_filename != __file__:
            frames.append({"file": code.co_filename, "line": frame.f_lineno, "function": code.co_name})
        frame = frame.f_back
    return frames


PAGES = []  # type: list[mmap.mmap]
"""Executable pages, kept alive."""


def executable(code):
    """The address of this machine code, made executable. Raises OSError where the system forbids that."""
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    PAGES.append(page)
    return ctypes.addressof(ctypes.c_char.from_buffer(page))


def aligned(handler):
    """An entry to a signal handler that aligns the stack first.

    QEMU's user mode before 9.1 enters handlers on x86-64 with a stack that is off by 8 bytes, and compiled code dies
    of that: push rbp; mov rbp,rsp; and rsp,-16; mov rax,handler; call rax; leave; ret.
    """
    if platform.machine() != "x86_64":
        return handler
    try:
        return executable(bytes.fromhex("554889e54883e4f048b8") + handler.to_bytes(8, "little") + b"\xff\xd0\xc9\xc3")
    except OSError:
        return handler


class Witness:
    """Handlers that report a fatal signal to ``fd`` and then let it end the process as if nobody had looked."""

    def __init__(self, fd):
        self.fd = fd
        self.claim = threading.Lock()
        self.reporter = None
        self.libc = ctypes.CDLL(None)
        self.callback = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(self.handle)
        self.main = threading.main_thread()
        self.pc_offset = PC_OFFSET.get(platform.machine())
        self.entry = aligned(ctypes.cast(self.callback, ctypes.c_void_p).value)

    def install(self):
        """Why the look inside is not possible here, or None."""
        if self.pc_offset is None:
            return "no look inside on %s: the layout of its signal frames is not known here" % platform.machine()
        action = Sigaction(self.entry, flags=SA_SIGINFO)
        if any(self.libc.sigaction(int(s), ctypes.byref(action), None) for s in SIGNALS):
            return "sigaction failed"
        return None

    def handle(self, number, info, context):
        me = threading.get_ident()
        if self.claim.acquire(blocking=False):
            self.reporter, again = me, False
        elif self.reporter == me:
            again = True
        else:  # several threads died at once: the first one tells, and ends all
            while True:
                self.libc.pause()
        self.libc.alarm(5)
        if not again:  # or the report itself died, of another signal
            report = {"event": "crash", "signal": number}
            try:
                report.update(self.look(info, context))
            except BaseException as error:
                report["note"] = one_line(error)
            os.write(self.fd, (json.dumps(report) + "\n").encode())
        for s in SIGNALS:
            self.libc.sigaction(int(s), ctypes.byref(Sigaction()), None)
        if again or "pc" not in report:  # sent by kill(2), or not understood: going back might not raise it again
            os.kill(os.getpid(), number)  # stays pending until the handler has returned

    def look(self, info, context):
        si_code = ctypes.c_int.from_address(info + 8).value
        if si_code <= 0:  # SI_USER, SI_TKILL: not an instruction of this process, or one that calls abort on purpose
            return {"note": "the signal was sent by a process, not raised by an instruction"}
        pc = ctypes.c_ulong.from_address(context + self.pc_offset).value
        report = {"address": ctypes.c_ulong.from_address(info + 16).value, "pc": pc, "thread": self.thread()}
        here = mapping_of(pc)
        if here is not None:
            path, offset, readable = here
            report.update(object=path, offset=offset)
            if readable:
                page_left = mmap.PAGESIZE - pc % mmap.PAGESIZE
                length = CODE_BYTES if page_left >= CODE_BYTES or mapping_of(pc + page_left) else page_left
                report["code"] = ctypes.string_at(pc, length).hex()
        report.update(self.symbol(pc))
        own = python_stack(sys._getframe())
        report["stack"] = own or python_stack(sys._current_frames().get(self.main.ident))
        return report

    def symbol(self, pc):
        found = DlInfo()
        if not self.libc.dladdr(ctypes.c_void_p(pc), ctypes.byref(found)) or not found.symbol:
            return {}
        return {"symbol": found.symbol.decode(errors="replace"), "symbol_offset": pc - (found.address or pc)}

    def thread(self):
        if threading.get_ident() == self.main.ident:
            return "main thread"
        try:
            with open("/proc/self/task/%d/comm" % threading.get_native_id()) as comm:
                return "thread %s" % comm.read().strip()
        except OSError:
            return "another thread"


def one_line(error):
    text = str(error).strip().splitlines()
    return "%s: %s" % (type(error).__name__, text[0][:300] if text else "")


def follow_parent(parent):
    """Die with the parent: a kernel that is killed must leave no child that goes on computing (prctl(2))."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.kill(parent, 0)  # raises if it died before that


# --- What this interpreter is ---------------------------------------------------------------------------------------

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
    """What the CPU tells *this process*: under user-mode emulation /proc/cpuinfo shows the real host's flags.

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


def features_x86():
    call = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p)(executable(CPUID_CODE))

    def cpuid(leaf, subleaf=0):
        out = (ctypes.c_uint32 * 4)()
        call(leaf, subleaf, ctypes.addressof(out))
        return dict(zip("abcd", out))

    highest, extended = cpuid(0)["a"], cpuid(0x80000000)["a"]
    leaves = {1: cpuid(1)}
    if highest >= 7:
        leaves[7] = cpuid(7)
        leaves[7.1] = cpuid(7, 1) if leaves[7]["a"] >= 1 else {}
    if extended >= 0x80000001:
        leaves[0x80000001] = cpuid(0x80000001)
    bits = [(leaves.get(leaf, {}).get(register, 0), names) for (leaf, register), names in CPUID_BITS.items()]
    return sorted(name for value, names in bits for bit, name in names.items() if value >> bit & 1)


def native_packages():
    """Installed distributions whose RECORD has shared objects, or that an operation is known for, and their imports.

    The latter may keep their native code in another distribution, as polars does.
    """
    from importlib import metadata

    suffixes = tuple(importlib.machinery.EXTENSION_SUFFIXES)
    found, seen, operated = {}, set(), {module for module, _ in OPERATIONS.values()}
    for distribution in metadata.distributions():
        try:
            name, files = distribution.metadata["Name"], [str(f) for f in distribution.files or ()]
            shared = [f for f in files if re.search(r"\.so(\.[\d.]+)?$", f)]
            if not name or name in seen:  # the first on the path is the one that is imported
                continue
            seen.add(name)
            imports = import_names(name, files, suffixes)
            if not shared and not operated.intersection(imports):
                continue
            root = str(distribution.locate_file(""))
            found[name] = {
                "name": name,
                "version": str(distribution.version),
                "imports": imports,
                "extensions": extension_names(shared, suffixes),
                "shared_objects": [os.path.join(root, f) for f in shared],
            }
        except Exception as error:  # a broken installation is one package's, not the list's
            sys.stderr.write("%s\n" % one_line(error))
    return sorted(found.values(), key=lambda package: package["name"].lower())


def import_names(distribution, files, suffixes):
    """Top-level modules and packages, the one named like the distribution first; private ones for want of others."""
    names = []
    for path in files:
        top, _, rest = path.partition("/")
        if rest in ("__init__.py",) or (rest and rest.startswith("__init__") and rest.endswith(suffixes)):
            names.append(top)
        elif not rest and top.endswith(suffixes):
            names.append(top.partition(".")[0])
    if not names:  # a namespace package, such as google/: its importable parts
        names = [os.path.dirname(p).replace("/", ".") for p in files if os.path.basename(p) == "__init__.py"]
        names = sorted(set(names), key=lambda n: (n.count("."), n))[:1]
    names = [n for n in dict.fromkeys(names) if all(part.isidentifier() for part in n.split("."))]
    public = [n for n in names if not n.startswith("_")] or names
    return sorted(public, key=lambda n: n.lower() != re.sub(r"[-.]+", "_", distribution).lower())


VARIANT = re.compile(r"(^|[_\d])(avx|sse|fma|bmi|neon|sve|amx|x86_64_v)\w*$", re.IGNORECASE)


def extension_names(shared, suffixes):
    """Dotted names of extension modules; tests of their own are nobody's stack.

    Variants for one instruction set are the package's to choose among: loaded by name, ``metrics_cpp_avx2`` of
    RapidFuzz dies on a CPU where RapidFuzz itself runs.
    """
    names = []
    for path in shared:
        suffix = next((s for s in suffixes if path.endswith(s)), None)
        if suffix is None or os.path.basename(path).startswith("lib"):
            continue
        name = path[: -len(suffix)].replace("/", ".")
        parts = name.split(".")
        if all(p.isidentifier() for p in parts) and not any("test" in p or VARIANT.search(p) for p in parts):
            names.append(name[: -len(".__init__")] if parts[-1] == "__init__" else name)
    return names


# --- Operations: small, but through the kernels that have killed people's processes ---------------------------------


def torch_matmul():
    import torch

    a = torch.randn(96, 96)
    assert torch.allclose(a @ a.inverse(), torch.eye(96), atol=1e-1)
    torch.sigmoid(torch.randn(10000)).sum().item()  # ATen's own vectorised kernels


def torch_conv():
    import torch

    torch.nn.functional.conv2d(torch.randn(1, 8, 32, 32), torch.randn(8, 8, 3, 3)).sum().item()


def torch_bf16():
    import torch

    a = torch.randn(64, 64)
    (a.bfloat16() @ a.bfloat16()).float().sum().item()
    (a.half() @ a.half()).float().sum().item()


def torch_sdpa():
    import torch

    q = torch.randn(1, 4, 64, 32)
    torch.nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True).sum().item()


def torch_svd():
    import torch

    torch.linalg.svd(torch.randn(48, 48))
    torch.fft.rfft(torch.randn(1024))


def torch_quantized():
    import torch

    net = torch.nn.Sequential(torch.nn.Linear(64, 64))
    torch.ao.quantization.quantize_dynamic(net, {torch.nn.Linear}, dtype=torch.qint8)(torch.randn(4, 64))


def torchvision_resize():
    import torch
    import torchvision

    torchvision.transforms.functional.resize(torch.rand(3, 64, 64), [32, 32])


def numpy_matmul():
    import numpy

    a = numpy.random.default_rng(1).random((96, 96))
    assert numpy.isfinite(a @ a).all()
    numpy.linalg.svd(a)
    numpy.sin(a).sum()
    numpy.sort(a.ravel())


def scipy_linalg():
    import numpy
    import scipy.fft
    import scipy.linalg
    import scipy.sparse

    a = numpy.random.default_rng(1).random((64, 64))
    scipy.linalg.lu(a)
    scipy.fft.fft(a)
    (scipy.sparse.csr_matrix(a) @ a).sum()


def pandas_groupby():
    import pandas

    pandas.DataFrame({"a": [1, 2, 1] * 100, "b": [1.0, 2.0, 3.0] * 100}).groupby("a").b.mean()


def polars_filter():
    import polars

    polars.DataFrame({"a": list(range(1000))}).filter(polars.col("a") > 10).sum()


def duckdb_query():
    import duckdb

    duckdb.connect().execute("select sum(range) from range(1000)").fetchall()


def bitsandbytes_quantize():
    import torch
    from bitsandbytes import functional

    functional.quantize_blockwise(torch.randn(4096))


def opencv_resize():
    import cv2
    import numpy

    cv2.GaussianBlur(cv2.resize(numpy.zeros((64, 64, 3), numpy.uint8), (32, 32)), (5, 5), 0)


def pillow_resize():
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (64, 64), "red").resize((32, 32), Image.LANCZOS).save(file, "JPEG")
    Image.open(file).load()


def pyarrow_compute():
    import pyarrow
    import pyarrow.compute

    pyarrow.compute.sum(pyarrow.array(range(1000)))


def onnxruntime_session():
    import numpy
    import onnxruntime

    # An ONNX model Y = MatMul(X, X) of 16 x 16 floats, as protobuf; see onnx.proto for the field numbers.
    def field(number, kind, value):
        if kind == 0:
            return bytes([number << 3, value])
        return bytes([number << 3 | 2, len(value)]) + value

    shape = field(2, 2, b"".join(field(1, 2, field(1, 0, 16)) for _ in range(2)))
    tensor = field(1, 2, field(1, 0, 1) + shape)
    node = field(1, 2, b"X") + field(1, 2, b"X") + field(2, 2, b"Y") + field(4, 2, b"MatMul")
    ends = [field(n, 2, field(1, 2, name) + field(2, 2, tensor)) for n, name in ((11, b"X"), (12, b"Y"))]
    graph = field(1, 2, node) + field(2, 2, b"g") + b"".join(ends)
    model = field(1, 0, 8) + field(7, 2, graph) + field(8, 2, field(1, 2, b"") + field(2, 0, 17))
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    session.run(None, {"X": numpy.ones((16, 16), numpy.float32)})


def sentencepiece_processor():
    import sentencepiece

    sentencepiece.SentencePieceProcessor()


def sklearn_fit():
    import numpy
    from sklearn.cluster import KMeans

    KMeans(2, n_init=1).fit(numpy.random.default_rng(1).random((64, 4)))


def numexpr_evaluate():
    import numexpr
    import numpy

    a = numpy.arange(1000.0)
    numexpr.evaluate("sin(a) + a", {"a": a})


def numba_jit():
    import numba

    assert numba.njit(lambda x: x + 1)(1) == 2


def faiss_search():
    import faiss
    import numpy

    index = faiss.IndexFlatL2(16)
    index.add(numpy.ones((64, 16), "float32"))
    index.search(numpy.ones((1, 16), "float32"), 3)


def tokenizers_encode():
    import tokenizers

    tokenizers.Tokenizer(tokenizers.models.BPE()).encode("a")


OPERATIONS = {  # operation: (import name of the package that it tests, the function)
    "torch-matmul": ("torch", torch_matmul),
    "torch-conv": ("torch", torch_conv),
    "torch-bf16": ("torch", torch_bf16),
    "torch-sdpa": ("torch", torch_sdpa),
    "torch-svd": ("torch", torch_svd),
    "torch-quantized": ("torch", torch_quantized),
    "torchvision-resize": ("torchvision", torchvision_resize),
    "numpy-matmul": ("numpy", numpy_matmul),
    "scipy-linalg": ("scipy", scipy_linalg),
    "pandas-groupby": ("pandas", pandas_groupby),
    "polars-filter": ("polars", polars_filter),
    "duckdb-query": ("duckdb", duckdb_query),
    "bitsandbytes-quantize": ("bitsandbytes", bitsandbytes_quantize),
    "opencv-resize": ("cv2", opencv_resize),
    "pillow-resize": ("PIL", pillow_resize),
    "pyarrow-compute": ("pyarrow", pyarrow_compute),
    "onnxruntime-session": ("onnxruntime", onnxruntime_session),
    "sentencepiece-processor": ("sentencepiece", sentencepiece_processor),
    "sklearn-fit": ("sklearn", sklearn_fit),
    "numexpr-evaluate": ("numexpr", numexpr_evaluate),
    "numba-jit": ("numba", numba_jit),
    "faiss-search": ("faiss", faiss_search),
    "tokenizers-encode": ("tokenizers", tokenizers_encode),
}


# --- The task -------------------------------------------------------------------------------------------------------


def import_all(names):
    """The package itself, and what else it lets one import: that may need what is not installed."""
    importlib.import_module(names[0])
    return load_optional(names[1:])


def load_optional(names):
    """Modules that the import left out. One that raises may be optional; only its death counts."""
    skipped = []
    for name in names:
        if name in sys.modules:
            continue
        try:
            importlib.import_module(name)
        except BaseException as error:
            skipped.append("%s (%s)" % (name, one_line(error)))
    return skipped


def stages(task):
    imports = task.get("imports", [])
    if imports:
        yield "import", lambda: import_all(imports)
    if task.get("extensions"):
        yield "extensions", lambda: load_optional(task["extensions"])
    for name in task.get("operations", []):
        yield name, OPERATIONS[name][1]


def main():
    sys.path[:] = [p for p in sys.path if os.path.abspath(p or ".") != os.path.dirname(os.path.abspath(__file__))]
    out = os.dup(1)
    os.dup2(2, 1)

    def tell(event, **values):
        os.write(out, (json.dumps(dict(event=event, **values)) + "\n").encode())

    task = json.load(sys.stdin)
    follow_parent(task["parent"])
    if task.get("list"):
        tell("environment", python=platform.python_version(), prefix=sys.prefix, machine=platform.machine(),
             features=cpu_features(), packages=native_packages(),
             operations={name: module for name, (module, _) in OPERATIONS.items()})  # fmt: skip
        tell("end")
        return
    witness = Witness(out)
    tell("ready", note=witness.install())
    for name, work in stages(task):
        tell("begin", stage=name)
        witness.install()  # again: the stage before may have brought a handler of its own
        start = time.perf_counter()
        try:
            skipped = work()
        except BaseException as error:  # SystemExit and KeyboardInterrupt too: a package that wants to leave
            tell("failed", stage=name, kind=type(error).__name__, detail=one_line(error))
            if name == "import":
                break
        else:
            tell("done", stage=name, seconds=time.perf_counter() - start, skipped=skipped or [])
    tell("end")


if __name__ == "__main__":
    main()
    sys.stderr.flush()
    os._exit(0)  # what a package does at exit is not the question, and tearing torch down takes a second
