"""Variables: a complete and unambiguous registry, each judged by its value, the others, the host, and what was seen."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from hwdiag.agent.software import ENVIRONMENT
from hwdiag.core.finding import Check, Finding
from hwdiag.host.model import Gpu
from hwdiag.process.environment.elf import why_not_loaded
from hwdiag.process.environment.judge import about_variables, host_context, judged
from hwdiag.process.environment.model import Effect, ProcessContext
from hwdiag.process.environment.registry import IMAGINED_CAPS, VARIABLES, can_force, caps_of, known_variable
from hwdiag.process.model import Software, ThreadPool
from hwdiag.process.software import probe_software
from tests.conftest import make_host, make_software

READERS = {
    "OMP_NUM_THREADS": "any OpenMP", "OMP_WAIT_POLICY": "any OpenMP", "OMP_PROC_BIND": "any OpenMP",
    "OMP_THREAD_LIMIT": "any OpenMP", "OMP_DYNAMIC": "libgomp",
    "OMP_PLACES": "any OpenMP", "GOMP_CPU_AFFINITY": "any OpenMP", "GOMP_SPINCOUNT": "libgomp",
    "KMP_AFFINITY": "libiomp5 or libomp", "KMP_BLOCKTIME": "libiomp5 or libomp", "KMP_SETTINGS": "libiomp5 or libomp",
    "MKL_NUM_THREADS": "MKL", "MKL_DYNAMIC": "MKL", "MKL_THREADING_LAYER": "libmkl_rt",
    "MKL_ENABLE_INSTRUCTIONS": "MKL", "MKL_CBWR": "MKL", "MKL_VERBOSE": "MKL", "ONEDNN_MAX_CPU_ISA": "oneDNN",
    "DNNL_MAX_CPU_ISA": "oneDNN", "ONEDNN_VERBOSE": "oneDNN", "ATEN_CPU_CAPABILITY": "ATen",
    "OPENBLAS_NUM_THREADS": "OpenBLAS", "GOTO_NUM_THREADS": "OpenBLAS", "OPENBLAS_CORETYPE": "OpenBLAS",
    "BLIS_NUM_THREADS": "BLIS", "NPY_DISABLE_CPU_FEATURES": "NumPy",
    "NUMEXPR_NUM_THREADS": "numexpr", "NUMEXPR_MAX_THREADS": "numexpr", "FAISS_OPT_LEVEL": "faiss",
    "POLARS_SKIP_CPU_CHECK": "polars", "PYTORCH_ALLOC_CONF": "PyTorch's allocators",
    "PYTORCH_CUDA_ALLOC_CONF": "PyTorch's allocators", "THP_MEM_ALLOC_ENABLE": "PyTorch's allocators",
    "PYTORCH_NO_CUDA_MEMORY_CACHING": "PyTorch's allocators",
    "GLIBC_TUNABLES": "glibc", "MALLOC_PERTURB_": "glibc", "MALLOC_CHECK_": "glibc", "MALLOC_ARENA_MAX": "glibc",
    "MALLOC_TRIM_THRESHOLD_": "glibc", "MALLOC_CONF": "jemalloc", "TCMALLOC_MAX_TOTAL_THREAD_CACHE_BYTES": "tcmalloc",
    "LD_PRELOAD": "the dynamic loader", "LD_LIBRARY_PATH": "the dynamic loader",
    "CUDA_LAUNCH_BLOCKING": "CUDA", "CUDA_VISIBLE_DEVICES": "CUDA", "HIP_VISIBLE_DEVICES": "CUDA",
    "NVIDIA_TF32_OVERRIDE": "CUDA", "NCCL_DEBUG": "NCCL", "NCCL_P2P_DISABLE": "NCCL",
    "PYTHONMALLOC": "Python", "PYTHONDEVMODE": "Python", "PYTHONFAULTHANDLER": "Python", "PYTHONTRACEMALLOC": "Python",
    "TORCH_LOGS": "torch.compile", "TORCH_COMPILE_DEBUG": "torch.compile", "TORCHDYNAMO_DISABLE": "torch.compile",
    "TORCH_SHOW_CPP_STACKTRACES": "PyTorch", "PYTORCH_JIT": "PyTorch", "TORCH_DISTRIBUTED_DEBUG": "PyTorch",
    "CXX": "torch.compile", "CC": "torch.compile",
    "TORCH_DISABLE_AVX2": "nothing", "TORCH_DISABLE_AVX512": "nothing",
    "PYTORCH_DISABLE_AVX2": "nothing", "PYTORCH_DISABLE_AVX512": "nothing", "TORCH_NUM_THREADS": "nothing",
    "PYTORCH_CHANNELS_LAST": "nothing", "MKL_DEBUG_CPU_TYPE": "nothing", "CUDA_AUTO_BOOST": "nothing",
    "L2_WRITER_QUEUE_MAX": "nothing",
}  # fmt: skip
GOMP = (ThreadPool(api="openmp", name="libgomp"),)
IOMP = (ThreadPool(api="openmp", name="libiomp5"),)
AVX512 = ("sse4_1", "sse4_2", "ssse3", "pni", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl")
MINE = "/opt/libtcmalloc.so.4"


def context(environment: dict[str, str] | None = None, **more: Any) -> ProcessContext:
    """A process on two cores with AVX-512."""
    values = {"cpus": (0, 1), "cores": 2, "arch": "x86_64", "flags": AVX512, **more}
    return ProcessContext(environment=environment or {}, **values)


def effect(setting: str, *others: str, **more: Any) -> Effect | None:
    """What becomes of a variable beside others."""
    environment = dict(word.split("=", 1) for word in (setting, *others))
    name, value = setting.split("=", 1)
    return judged(name, value, context(environment, **more))


# The registry


@pytest.mark.parametrize(("name", "reader"), READERS.items())
def test_each_variable_has_one_entry_and_is_looked_for(name: str, reader: str) -> None:
    (entry,) = [v for v in VARIABLES if re.fullmatch(v.pattern, name)]
    assert entry.reader == reader
    assert ENVIRONMENT.fullmatch(name), "the worker does not report it"


def test_only_what_can_force_a_dispatch_or_a_library_is_suspected() -> None:
    assert {n for n in READERS if can_force(n)} == {
        "OPENBLAS_CORETYPE", "ATEN_CPU_CAPABILITY", "FAISS_OPT_LEVEL", "LD_PRELOAD",
    }  # fmt: skip


def test_what_nothing_reads_is_never_emitted() -> None:
    assert all(v.emit == "never" for v in VARIABLES if v.reader == "nothing")
    assert known_variable("OPENBLAS_CORETYPE_") is None


def test_what_caps_for_real_is_what_this_software_reads() -> None:
    pool = ThreadPool(api="blas", name="OpenBLAS")
    all_there = make_software(onednn=True, numpy_version="2.4.6", pools=(pool,))
    assert [cap.partition("=")[0] for cap in caps_of(all_there)] == [
        "OPENBLAS_CORETYPE",
        "ATEN_CPU_CAPABILITY",
        "ONEDNN_MAX_CPU_ISA",
        "MKL_ENABLE_INSTRUCTIONS",
        "NPY_DISABLE_CPU_FEATURES",
    ]
    assert caps_of(make_software(mkl=False, onednn=False)) == ("ATEN_CPU_CAPABILITY=default (ATen)",)


@pytest.mark.parametrize("name", IMAGINED_CAPS)
def test_an_imagined_cap_is_in_the_registry_as_read_by_nothing(name: str) -> None:
    known = known_variable(name)
    assert known is not None
    assert (known.reader, known.cap) == ("nothing", None)


# Values


IN_ORDER = (
    ("OMP_NUM_THREADS=2", {}),
    ("OMP_NUM_THREADS=2,1", {}),
    ("OMP_NUM_THREADS= 2", {}),
    ("OMP_NUM_THREADS=1", {"quota": 1.0}),
    ("OMP_NUM_THREADS=1", {"processes": 2}),
    ("OMP_NUM_THREADS=4", {"cpus": tuple(range(8)), "cores": 4}),
    ("OMP_NUM_THREADS=2", {"threads": 1}),  # the program itself set it lower
    ("OMP_NUM_THREADS=1", {"threads": 2}),  # or higher
    ("OMP_THREAD_LIMIT=2", {}),
    ("MKL_NUM_THREADS=0", {}),
    ("OPENBLAS_NUM_THREADS=1", {}),
    ("OMP_DYNAMIC=false", {}),
    ("OMP_PROC_BIND=false", {}),
    ("GOMP_CPU_AFFINITY=0", {"cpus": (0,), "cores": 1}),
    ("OMP_WAIT_POLICY=passive", {}),
    ("KMP_AFFINITY=disabled", {}),
    ("ATEN_CPU_CAPABILITY=avx512", {}),
    ("ONEDNN_MAX_CPU_ISA=ALL", {}),
    ("ONEDNN_MAX_CPU_ISA=AVX512_CORE_AMX", {}),
    ("OPENBLAS_CORETYPE=SkylakeX", {}),
    ("PYTHONFAULTHANDLER=1", {}),
    ("PYTHONDONTWRITEBYTECODE=1", {}),
    ("PYTHONMALLOC=default", {}),
    ("PYTHONTRACEMALLOC=0", {}),
    ("MALLOC_PERTURB_=0", {}),
    ("MALLOC_ARENA_MAX=4", {}),
    ("CUDA_LAUNCH_BLOCKING=0", {}),
    ("ONEDNN_VERBOSE=0", {}),
    ("MKL_VERBOSE=0", {}),
    ("NCCL_DEBUG=WARN", {}),
    ("PYTORCH_JIT=1", {}),
    ("TORCHDYNAMO_DISABLE=0", {}),
    ("CUDA_VISIBLE_DEVICES=", {}),
    ("CUDA_VISIBLE_DEVICES=1,0", {"gpus": 2}),
    ("CUDA_VISIBLE_DEVICES=GPU-1234", {"gpus": 2}),
    ("GLIBC_TUNABLES=glibc.malloc.hugetlb=1", {"tunables": frozenset({"glibc.malloc.hugetlb"})}),
    ("LD_PRELOAD=", {}),
    ("LD_PRELOAD=libtcmalloc.so.4", {"libraries": ("/usr/lib/libtcmalloc.so.4.5.9",)}),
    ("CXX=clang++", {"commands": frozenset({"clang++"})}),
    ("PYTORCH_ALLOC_CONF=expandable_segments:True", {}),
    ("NOT_KNOWN=1", {}),
)


@pytest.mark.parametrize(("setting", "more"), IN_ORDER)
def test_a_value_that_is_in_order_is_not_worth_a_word(setting: str, more: dict[str, Any]) -> None:
    assert effect(setting, **more) is None


MISLEADS = (
    ("OMP_NUM_THREADS=1", {}, "in effect", "1 of 2 CPUs"),
    ("OMP_NUM_THREADS=1", {"threads": 1}, "in effect", "keeps PyTorch to 1 of 2 CPUs"),
    ("OMP_NUM_THREADS=8", {}, "in effect", "8 threads on 2 CPUs"),
    ("OMP_NUM_THREADS=8", {"threads": 8}, "in effect", "8 threads on 2 CPUs"),
    ("OMP_NUM_THREADS=8", {"threads": 2}, "overridden", "torch starts 2 all the same"),
    ("OMP_NUM_THREADS=2", {"quota": 1.0}, "in effect", "the 1 CPU that the quota pays for"),
    ("OMP_NUM_THREADS=2", {"processes": 2}, "in effect", "2 processes share"),
    ("OMP_NUM_THREADS=all", {}, "ignored", "not a valid number"),
    ("OMP_NUM_THREADS=0", {"threads": 2}, "ignored", "torch starts 2 threads"),
    ("OMP_NUM_THREADS=-1", {}, "ignored", "not a valid number"),
    ("OMP_NUM_THREADS=4x", {}, "ignored", "not a valid number"),
    ("OMP_NUM_THREADS=4,x", {}, "ignored", "not a valid number"),
    ("OMP_NUM_THREADS=1.5", {}, "ignored", "not a valid number"),
    ("OMP_NUM_THREADS=", {}, "ignored", "is empty"),
    ("OMP_NUM_THREADS=99999999999999999999", {}, "ignored", "not a valid number"),
    ("OMP_THREAD_LIMIT=1", {"threads": 2}, "in effect", "although torch.get_num_threads() says 2"),
    ("OMP_THREAD_LIMIT=none", {}, "ignored", "not a valid number"),
    ("MKL_NUM_THREADS=all", {"threads": 1}, "in effect", "takes it for 1"),
    ("MKL_NUM_THREADS=1", {"readers": {"MKL": False}}, "ignored", "nothing here reads it"),
    ("OPENBLAS_NUM_THREADS=two", {}, "ignored", "atoi()"),
    ("OMP_DYNAMIC=TRUE", {"loadavg": 5.2}, "in effect", "at the load of 5.2 here, 1 of 2"),
    ("GOMP_CPU_AFFINITY=0-1", {}, "in effect", "DataLoader workers"),
    ("GOMP_CPU_AFFINITY=0-1", {"main_cpus": (0,)}, "in effect", "to CPU 0 of 2 CPUs"),
    ("GOMP_CPU_AFFINITY=6-8:2", {}, "in effect", "none of the CPUs 0-1"),
    ("OMP_PLACES=7", {"main_cpus": (0, 1)}, "ignored", "bound nothing"),
    ("OMP_PROC_BIND=yes", {}, "ignored", "not a valid value"),
    ("OMP_PROC_BIND=close,spread", {}, "in effect", "pins the main thread"),
    ("OMP_WAIT_POLICY=active", {}, "in effect", "spinning"),
    ("OMP_WAIT_POLICY=fast", {}, "ignored", "not a valid policy"),
    ("KMP_AFFINITY=granularity=fine,compact,1,0", {"readers": {"libiomp5 or libomp": True}}, "in effect", "pins"),
    ("KMP_AFFINITY=compact", {"readers": {"libiomp5 or libomp": False}}, "ignored", "nothing here reads it"),
    ("KMP_DUPLICATE_LIB_OK=TRUE", {}, "in effect", "two OpenMP runtimes"),
    ("ATEN_CPU_CAPABILITY=AVX2", {}, "ignored", "in lower case"),
    ("ATEN_CPU_CAPABILITY=avx2", {}, "in effect", "although this CPU has AVX512"),
    ("ATEN_CPU_CAPABILITY=avx512", {"flags": ("avx", "avx2", "fma")}, "in effect", "does not have"),
    ("ONEDNN_MAX_CPU_ISA=AVX2", {}, "in effect", "although this CPU has AVX512_CORE"),
    ("ONEDNN_MAX_CPU_ISA=AVX512", {}, "ignored", "knows no such"),
    ("OPENBLAS_CORETYPE=Haswell", {}, "in effect", "although this CPU has what SKYLAKEX needs"),
    ("OPENBLAS_CORETYPE=Haswell", {"flags": ("avx", "sse4_2")}, "in effect", "does not have"),
    ("OPENBLAS_CORETYPE=Pentium9", {}, "ignored", "no such core"),
    ("MKL_CBWR=COMPATIBLE", {}, "in effect", "half of its speed"),
    ("LD_PRELOAD=/nowhere/libtcmalloc.so.4", {}, "ignored", "does not exist"),
    (f"LD_PRELOAD={__file__}", {}, "ignored", "not a shared library"),
    ("LD_PRELOAD=/dev/null", {}, "ignored", "not a file"),
    ("LD_PRELOAD=libtcmalloc.so.4", {"libraries": ("/usr/lib/libc.so.6",)}, "ignored", "did not find"),
    ("MALLOC_CONF=thp:always", {}, "ignored", "nothing preloads jemalloc"),
    ("MALLOC_CONF=thp:always", {"libraries": ()}, "ignored", "no such library is in this process"),
    ("MALLOC_PERTURB_=165", {}, "in effect", "overwrites every memory block"),
    ("MALLOC_PERTURB_=165", {"libraries": (MINE,)}, "ignored", "tcmalloc takes the place"),
    ("MALLOC_CHECK_=3", {"glibc": (2, 36)}, "ignored", "libc_malloc_debug.so"),
    ("MALLOC_CHECK_=3", {"glibc": (2, 31)}, "in effect", "checks every memory block"),
    ("MALLOC_ARENA_MAX=1", {}, "in effect", "one arena"),
    ("GLIBC_TUNABLES=glibc.malloc.hugetlb", {}, "ignored", "not of the form"),
    ("GLIBC_TUNABLES=glibc.malloc.huge=1", {"tunables": frozenset({"glibc.malloc.check"})}, "ignored", "not known"),
    ("PYTHONMALLOC=debug", {}, "in effect", "checks every memory block"),
    ("PYTHONMALLOC=foo", {}, "in effect", "not a valid allocator"),
    ("PYTHONDEVMODE=0", {}, "in effect", "makes it slower"),
    ("PYTHONTRACEMALLOC=25", {}, "in effect", "records where"),
    ("CUDA_LAUNCH_BLOCKING=1", {}, "in effect", "waits for every GPU kernel"),
    ("ONEDNN_VERBOSE=1", {}, "in effect", "prints a line"),
    ("TORCH_LOGS=recompiles", {}, "in effect", "prints"),
    ("TORCH_COMPILE_DEBUG=1", {}, "in effect", "torch_compile_debug/"),
    ("PYTORCH_JIT=0", {}, "in effect", "plain Python"),
    ("TORCHDYNAMO_DISABLE=1", {}, "in effect", "torch.compile does nothing"),
    ("TORCH_DISTRIBUTED_DEBUG=DETAIL", {}, "in effect", "every collective"),
    ("NCCL_DEBUG=INFO", {}, "in effect", "prints"),
    ("NVIDIA_TF32_OVERRIDE=0", {}, "in effect", "never use TF32"),
    ("PYTORCH_NO_CUDA_MEMORY_CACHING=1", {}, "in effect", "goes to the driver"),
    ("CUDA_VISIBLE_DEVICES=", {"gpus": 2}, "in effect", "hides all GPUs"),
    ("CUDA_VISIBLE_DEVICES=-1", {"gpus": 2}, "in effect", "none of the 2 GPUs"),
    ("CUDA_VISIBLE_DEVICES=0,2", {"gpus": 2}, "in effect", "1 GPU of 2 are left"),
    ("HIP_VISIBLE_DEVICES=5", {"gpus": 1}, "in effect", "none is left"),
    ("MKL_THREADING_LAYER=INTEL", {"readers": {"libmkl_rt": False}}, "ignored", "no libmkl_rt"),
    (
        "MKL_THREADING_LAYER=INTEL",
        {"readers": {"libmkl_rt": True, "libgomp": True}},
        "in effect",
        "libgomp is loaded as well",
    ),
    ("MKL_THREADING_LAYER=OPENMP", {}, "ignored", "MKL knows"),
    ("CXX=/opt/gone/g++ -O2", {"commands": frozenset()}, "in effect", "not there"),
    ("TORCH_NUM_THREADS=8", {}, "ignored", "nothing reads it"),
)


@pytest.mark.parametrize(("setting", "more", "state", "words"), MISLEADS)
def test_a_value_that_misleads_is_named_with_its_effect(
    setting: str, more: dict[str, Any], state: str, words: str
) -> None:
    found = effect(setting, **more)
    assert found is not None
    assert found.state == state
    assert words in found.title + found.why
    assert setting.partition("=")[0] in found.title


@pytest.mark.parametrize(
    ("setting", "other", "words"),
    [
        ("OMP_NUM_THREADS=1", "MKL_NUM_THREADS=2", "overridden by MKL_NUM_THREADS=2"),
        ("GOMP_CPU_AFFINITY=0", "OMP_PROC_BIND=false", "overridden by OMP_PROC_BIND=false"),
        ("GOMP_CPU_AFFINITY=0", "OMP_PLACES=cores", "overridden by OMP_PLACES=cores"),
        ("GOTO_NUM_THREADS=1", "OPENBLAS_NUM_THREADS=2", "overridden by OPENBLAS_NUM_THREADS"),
    ],
)
def test_a_variable_that_another_one_overrides_says_by_which(setting: str, other: str, words: str) -> None:
    found = effect(setting, other)
    assert found is not None
    assert (found.state, words in found.title) == ("overridden", True)


def test_openblas_reads_the_digits_that_openmp_refuses() -> None:
    found = effect("OMP_NUM_THREADS=1.5", readers={"OpenBLAS": True})
    assert found is not None
    assert "takes 1" in found.why


def test_of_two_allocators_the_first_is_used(tmp_path: Path) -> None:
    library = Path(sys.executable).resolve()
    head = bytearray(library.read_bytes()[:64])
    head[16:18] = (3).to_bytes(2, "little")
    both = [tmp_path / "libtcmalloc.so.4", tmp_path / "libjemalloc.so.2"]
    for file in both:
        file.write_bytes(bytes(head))
    found = effect(f"LD_PRELOAD={both[0]} {both[1]}", arch="")
    assert found is not None
    assert found.title.startswith("LD_PRELOAD names 2 allocators: libtcmalloc.so.4 is used")


def test_a_path_with_a_space_falls_apart(tmp_path: Path) -> None:
    found = effect(f"LD_PRELOAD={tmp_path}/my libs/libfast.so")
    assert found is not None
    assert "splits the value at spaces and colons" in found.why


def test_a_library_of_another_machine_is_told(tmp_path: Path) -> None:
    file = tmp_path / "lib.so"
    file.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + (3).to_bytes(2, "little") + (183).to_bytes(2, "little"))
    assert why_not_loaded(str(file), "x86_64") == "which is built for 64-bit Arm, not for x86_64"
    assert why_not_loaded(str(file), "aarch64") is None


def test_a_library_in_place_of_torchs_own_is_seen(tmp_path: Path) -> None:
    torch, other = tmp_path / "torch" / "lib", tmp_path / "cuda"
    for folder in (torch, other):
        folder.mkdir(parents=True)
        (folder / "libcudnn.so.9").touch()
    mapped = (f"{torch}/libtorch_cpu.so", f"{other}/libcudnn.so.9")
    found = effect(f"LD_LIBRARY_PATH={other}", libraries=mapped)
    assert found is not None
    assert f"instead of the libcudnn.so.9 that PyTorch brings" in found.title  # noqa: F541
    assert effect(f"LD_LIBRARY_PATH={other}", libraries=(f"{torch}/libtorch_cpu.so",)) is None
    assert effect(f"LD_LIBRARY_PATH={other}") is None, "nobody looked"


# Findings and the check


def test_fine_is_said_of_what_was_judged_only() -> None:
    (check,) = about_variables(context({"OMP_NUM_THREADS": "2", "SHELL": "/bin/sh"}))
    assert isinstance(check, Check)
    assert (check.state, check.detail) == ("fine", "In order: OMP_NUM_THREADS=2.")
    assert check.title.startswith("1 inherited variable")
    (alone,) = about_variables(context({"SHELL": "/bin/sh"}))
    assert alone.title == "No variable that numeric libraries read is set"


def test_where_one_misleads_none_is_called_fine() -> None:
    said = list(about_variables(context({"OMP_NUM_THREADS": "1", "MKL_DYNAMIC": "TRUE"})))
    assert [type(s) for s in said] == [Finding]
    assert "`unset OMP_NUM_THREADS`" in said[0].detail


def test_software_tells_readers_and_gpus_come_from_the_host() -> None:
    host = make_host().model_copy(update={"gpus": (Gpu(index=0, name="A100"),)})
    found = host_context(host, {}, software=make_software(pools=IOMP, mkl=False))
    assert (found.has("libiomp5 or libomp"), found.has("libgomp"), found.has("MKL")) == (True, False, False)
    assert (found.gpus, found.fair_threads) == (1, 4)


# What a real child shows


def seen(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Software:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    software = probe_software(sys.executable)
    assert software.outcome.ok, software.outcome
    return software


def test_a_limit_that_torch_does_not_show_is_seen_in_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    assert seen(monkeypatch, OMP_THREAD_LIMIT="1").thread_limit == 1


def test_what_binds_the_main_thread_is_seen_in_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    software = seen(monkeypatch, OMP_PROC_BIND="true")
    if len(software.libraries or ()) == 0 or not any("libgomp" in p for p in software.libraries or ()):
        pytest.skip("this torch has no libgomp")
    assert software.main_cpus is not None
    assert len(software.main_cpus) == 1


def test_what_is_preloaded_is_seen_in_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    software = seen(monkeypatch, LD_PRELOAD="libm.so.6:/nowhere/libgone.so")
    assert software.libraries is not None
    assert any(Path(p).name.startswith("libm") for p in software.libraries)
    assert not any("libgone" in p for p in software.libraries)
