"""Libraries that a process has really mapped, of those that decide about the speed of a PyTorch program."""

from __future__ import annotations

import os
import re

TORCH = "libtorch"
"""In the name of a file that every process with torch has mapped."""
MOST = 100
NOTABLE = re.compile(
    r"lib(gomp|iomp5|omp|omp5|mpi\w*"  # OpenMP, MPI
    r"|\w*openblas\w*|mkl_\w+|blas|cblas|blis\w*|blis-mt|lapack|nvpl\w*|armpl\w*|arm_compute\w*|amdlibm|flexiblas\w*|atlas\w*"
    r"|dnnl|onednn|tbb\w*|shm|torch\w*|c10\w*|caffe2\w*"
    r"|cuda\w*|cudart|cublas\w*|cudnn\w*|nccl|nvrtc\w*|nvidia-\w+|amdhip64|hsa-runtime64|rocblas|miopen|rccl|ze_loader|sycl"
    r"|tcmalloc\w*|jemalloc\w*|mimalloc\w*|hoard|tbbmalloc\w*|asan|tsan|msan|ubsan|gloo|ucx|ucp)"
    r"([-_.@\d\w]*)\.so([.\d]*)"
)
"""Names of OpenMP, BLAS, MKL, oneDNN, torch, CUDA and its like, allocators and sanitizers."""


def mapped_files(maps: str) -> tuple[str, ...]:
    """Return the paths of all files that a /proc/PID/maps names, each once."""
    found: dict[str, None] = {}
    for line in maps.splitlines():
        words = line.split(None, 5)
        if len(words) == 6 and words[5].startswith("/"):
            found[words[5].removesuffix(" (deleted)")] = None
    return tuple(found)


def notable(files: tuple[str, ...], preload: str = "") -> tuple[str, ...]:
    """Return those that are of interest, and those that ``LD_PRELOAD`` names."""
    words = [word for word in re.split(r"[:\s]+", preload) if word]
    wanted = {path.rpartition("/")[2] for word in words for path in (word, os.path.realpath(word))}  # often a link
    named = ((file, file.rpartition("/")[2]) for file in files)
    return tuple(file for file, name in named if NOTABLE.fullmatch(name) or name in wanted)[:MOST]


def has_torch(files: tuple[str, ...]) -> bool:
    """Return whether torch is among the mapped libraries."""
    return any(TORCH in file.rpartition("/")[2] for file in files)
