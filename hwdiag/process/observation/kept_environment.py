"""Selection of a process's variables that are kept: those that libraries, loaders and schedulers read, and no
secret."""

from __future__ import annotations

import re
from collections.abc import Mapping

MOST, LONGEST = 400, 4096
"""Variables, and characters of a value."""
READ = re.compile(
    r"(OMP|GOMP|KMP|MKL|OPENBLAS|GOTO|BLIS|NVPL|VECLIB|ONEDNN|DNNL|ATEN|PYTORCH|TORCH\w*|NPY|NUMPY|NUMEXPR|NUMBA|FAISS|POLARS"
    r"|CUDA|CUBLAS|CUDNN|CUTLASS|NVIDIA|NCCL|GLOO|TP|HIP|HSA|ROCM|MIOPEN|AMD|ZE|SYCL|XPU|TRITON|INDUCTOR|MALLOC|TCMALLOC"
    r"|JEMALLOC|MIMALLOC|LD|PYTHON|SLURM|PBS|LSB|SGE|OMPI|PMI|PMIX|MPI|I_MPI|UCX|FI|TBB|RAYON|TOKENIZERS|HF|TRANSFORMERS"
    r"|ACCELERATE|DEEPSPEED|VLLM|RAY|TF|XLA|JAX|OPENCV|GDAL|GRPC|KUBERNETES|CONDA|VIRTUAL|ASAN|TSAN|LSAN|UBSAN|HWDIAG)_?\w*"
    r"|_RJEM_\w+|GLIBC_TUNABLES|THP_MEM_ALLOC_ENABLE|L2_WRITER_QUEUE_MAX|MASTER_(ADDR|PORT)|(LOCAL_|GROUP_|NODE_)?RANK"
    r"|(LOCAL_)?WORLD_SIZE|NPROC_PER_NODE|TMPDIR|TEMP|TMP|PATH|CC|CXX|CFLAGS|CXXFLAGS|CPATH|LIBRARY_PATH|HOME|SHELL|container"
    r"|XDG_CACHE_HOME|LANG|LC_ALL|NSLOTS|PARALLEL|MAKEFLAGS|DEBUGINFOD_URLS|QEMU_CPU"
)
SECRET = re.compile(
    r"(^|_)(TOKENS?|KEYS?|SECRETS?|PASSWORD|PASSWD|PASS|CREDENTIALS?|AUTH|COOKIE|CERT)(_|$)", re.IGNORECASE
)


def parse_environment(block: bytes) -> dict[str, str]:
    """Return the variables of a /proc/PID/environ."""
    pairs = (entry.partition(b"=") for entry in block.split(b"\0") if b"=" in entry)
    return {name.decode(errors="replace"): value.decode(errors="replace") for name, _, value in pairs}


def kept(environment: Mapping[str, str]) -> dict[str, str]:
    """Return those variables that something of interest reads."""
    names = sorted(name for name in environment if READ.fullmatch(name) and not SECRET.search(name))
    return {name: environment[name][:LONGEST] for name in names[:MOST]}


def without_ours(environment: Mapping[str, str], ours: Mapping[str, str], before: Mapping[str, str]) -> dict[str, str]:
    """Return the variables without what hwdiag added.

    Args:
        environment: as the process has it.
        ours: what hwdiag set for the command.
        before: what was inherited.
    """
    found = dict(environment)
    for name, value in ours.items():
        if name not in found or value not in found[name]:
            continue
        rest = found[name].replace(value, before.get(name, ""))
        if rest:
            found[name] = rest
        else:
            del found[name]
    return found
