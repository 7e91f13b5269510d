"""The registry of variables: complete, unambiguous, and silent about readers that are not there."""

from __future__ import annotations

import re

import pytest

from hwdiag.agent.software import ENVIRONMENT
from hwdiag.process.environment import IMAGINED_CAPS, VARIABLES, about_environment, can_force, caps_of, known_variable
from hwdiag.process.model import ThreadPool
from tests.conftest import make_software

READERS = {
    "OMP_NUM_THREADS": "any OpenMP", "OMP_WAIT_POLICY": "any OpenMP", "OMP_PROC_BIND": "any OpenMP",
    "OMP_PLACES": "any OpenMP", "GOMP_CPU_AFFINITY": "any OpenMP", "GOMP_SPINCOUNT": "libgomp",
    "KMP_AFFINITY": "libiomp5 or libomp", "KMP_BLOCKTIME": "libiomp5 or libomp", "KMP_SETTINGS": "libiomp5 or libomp",
    "MKL_NUM_THREADS": "MKL",
    "MKL_ENABLE_INSTRUCTIONS": "MKL", "MKL_CBWR": "MKL", "MKL_VERBOSE": "MKL", "ONEDNN_MAX_CPU_ISA": "oneDNN",
    "DNNL_MAX_CPU_ISA": "oneDNN", "ONEDNN_VERBOSE": "oneDNN", "ATEN_CPU_CAPABILITY": "ATen",
    "OPENBLAS_NUM_THREADS": "OpenBLAS", "OPENBLAS_CORETYPE": "OpenBLAS", "NPY_DISABLE_CPU_FEATURES": "NumPy",
    "NUMEXPR_NUM_THREADS": "numexpr", "NUMEXPR_MAX_THREADS": "numexpr", "FAISS_OPT_LEVEL": "faiss",
    "POLARS_SKIP_CPU_CHECK": "polars", "PYTORCH_ALLOC_CONF": "PyTorch's allocators",
    "PYTORCH_CUDA_ALLOC_CONF": "PyTorch's allocators", "THP_MEM_ALLOC_ENABLE": "PyTorch's allocators",
    "GLIBC_TUNABLES": "glibc", "MALLOC_CONF": "jemalloc", "LD_PRELOAD": "the dynamic loader",
    "CUDA_LAUNCH_BLOCKING": "CUDA", "TORCH_DISABLE_AVX2": "nothing", "TORCH_DISABLE_AVX512": "nothing",
    "PYTORCH_DISABLE_AVX2": "nothing", "PYTORCH_DISABLE_AVX512": "nothing", "TORCH_NUM_THREADS": "nothing",
    "PYTORCH_CHANNELS_LAST": "nothing", "MKL_DEBUG_CPU_TYPE": "nothing", "CUDA_AUTO_BOOST": "nothing",
    "L2_WRITER_QUEUE_MAX": "nothing",
}  # fmt: skip
GOMP = (ThreadPool(api="openmp", name="libgomp"),)
IOMP = (ThreadPool(api="openmp", name="libiomp5"),)


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


@pytest.mark.parametrize(
    ("variable", "pools", "words"),
    [
        ("KMP_AFFINITY", GOMP, "nothing here reads it"),
        ("KMP_AFFINITY", IOMP, "is inherited"),
        ("GOMP_SPINCOUNT", IOMP, "nothing here reads it"),
        ("GOMP_SPINCOUNT", GOMP, "is inherited"),
    ],
)
def test_a_variable_speaks_where_its_reader_is(variable: str, pools: tuple[ThreadPool, ...], words: str) -> None:
    (finding,) = about_environment(make_software(environment={variable: "1"}, pools=pools))
    assert finding.title.endswith(words)
    assert ("software.pools" in finding.evidence) == (words != "is inherited")


def test_mkl_variables_do_nothing_without_mkl() -> None:
    (finding,) = about_environment(make_software(environment={"MKL_CBWR": "COMPATIBLE"}, mkl=False))
    assert (finding.severity, finding.id) == ("note", "inherited-mkl-cbwr")
    (finding,) = about_environment(make_software(environment={"MKL_CBWR": "COMPATIBLE"}, mkl=True))
    assert finding.severity == "warning"


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
