"""Describes the person's PyTorch: its build, its libraries, its thread pools, and the devices that it can use."""

import ctypes
import os
import platform
import re
import sys

from .accelerator import kind_of
from .applied import mapped_files
from .channel import Ended, one_line
from .pools import NOLOAD, thread_pools
from .torch_import import import_torch

ENVIRONMENT = re.compile(
    r"(OMP|GOMP|KMP|MKL|OPENBLAS|GOTO|BLIS|NVPL|VECLIB|ONEDNN|DNNL|ATEN|PYTORCH|TORCH|NPY|NUMEXPR|FAISS|POLARS|CUDA|CUDNN"
    r"|CUBLAS|CUBLASLT|HIP|ROCR|NCCL|TORCHDYNAMO|TORCHINDUCTOR|MALLOC|_RJEM_MALLOC|TCMALLOC|MIMALLOC)_\w+"
    r"|LD_PRELOAD|LD_LIBRARY_PATH|GLIBC_TUNABLES|MALLOC_CONF|THP_MEM_ALLOC_ENABLE|L2_WRITER_QUEUE_MAX|NVIDIA_TF32_OVERRIDE"
    r"|PYTHON[A-Z]+|CC|CXX|LOCAL_RANK|LOCAL_WORLD_SIZE"
)
"""Inherited variables worth showing: those that numeric libraries, allocators and loaders read."""


def describe_software(torch):
    """Return what the person's PyTorch is, as a JSON-ready dictionary."""
    cuda_note = None
    devices = []
    if torch.cuda.is_available():
        devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    elif torch.version.cuda:
        try:
            torch.cuda.init()
        except Exception as error:
            cuda_note = one_line(error)
    numpy = sys.modules.get("numpy")
    return {
        "python_version": platform.python_version(),
        "prefix": sys.prefix,
        "torch_version": str(torch.__version__),
        "torch_path": os.path.dirname(torch.__file__),
        "cuda": torch.version.cuda,
        "hip": getattr(torch.version, "hip", None),
        "cuda_devices": devices,
        "accelerators": accelerators(torch),
        "cuda_note": cuda_note,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "mkl": torch.backends.mkl.is_available(),
        "onednn": torch.backends.mkldnn.is_available(),
        "build": torch.__config__.show(),
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "pools": thread_pools(torch.__config__.parallel_info()),
        "main_cpus": sorted(os.sched_getaffinity(0)),
        "thread_limit": thread_limit(),
        "libraries": notable_libraries(),
        "numpy_version": numpy and numpy.__version__,
        "environment": {k: v for k, v in sorted(os.environ.items()) if ENVIRONMENT.fullmatch(k)},
    }


NOTABLE = re.compile(
    r"lib(torch|c10|gomp|iomp5|omp|mkl|(scipy_)?openblas|blis|nvpl|tcmalloc|jemalloc|mimalloc|cudart|cudnn|cublas|nccl)"
)
MOST_LIBRARIES = 100


def notable_libraries():
    """Return the paths of mapped files that decide how torch runs: runtimes, BLAS, allocators, and what variables
    brought."""
    preloads = os.environ.get("LD_PRELOAD", "").replace(":", " ").split()
    preloads = {name for p in preloads for name in (os.path.basename(p), os.path.basename(os.path.realpath(p)))}
    folders = {os.path.realpath(f) for f in re.split("[:;]", os.environ.get("LD_LIBRARY_PATH", "")) if f}
    found = [
        path
        for path in mapped_files()
        if ".so" in path
        and (
            NOTABLE.match(os.path.basename(path))
            or os.path.basename(path) in preloads
            or os.path.dirname(path) in folders
        )
    ]
    return found[:MOST_LIBRARIES]


def thread_limit():
    """Return ``omp_get_thread_limit()`` of the first OpenMP runtime; None where it does not limit."""
    limits = [said for path in mapped_files() if (said := openmp_limit(path)) is not None]
    return limits[0] if limits else None


def openmp_limit(path):
    """Return the limit that an OpenMP runtime tells; None for another file, and where there is none."""
    if not re.match(r"lib(gomp|iomp5|omp)[-.\w]*\.so", os.path.basename(path)):
        return None
    try:
        said = ctypes.CDLL(path, mode=NOLOAD).omp_get_thread_limit()
    except (OSError, AttributeError):
        return None
    return said if 0 < said < 2**30 else None


def accelerators(torch):
    """Return the accelerators, of whichever maker."""
    kind = kind_of(torch)
    if kind is None:
        return []
    module = getattr(torch, kind)
    return [about(module, "%s:%d" % (kind, index), index) for index in range(module.device_count())]


def about(backend, device, index):
    """Return the facts of one accelerator. What its backend does not tell is None."""
    get = getattr(backend, "get_device_properties", None)
    known = get(index) if get else None
    major, minor = getattr(known, "major", None), getattr(known, "minor", None)
    return {
        "name": device,
        "title": str(getattr(known, "name", device)),
        "memory_bytes": getattr(known, "total_memory", None),
        "unified_memory": bool(getattr(known, "is_integrated", False)),
        "capability": None if major is None or minor is None else "%d.%d" % (major, minor),
        "uuid": text_of(known, "uuid"),
        "architecture": text_of(known, "gcnArchName"),
        "architectures": list(getattr(backend, "get_arch_list", list)()),
    }


def text_of(known, name):
    """Return a property as text; None where there is none."""
    value = getattr(known, name, None)
    return None if value is None else str(value)


def describe(channel):
    """Tell what torch is here, and which devices it can use."""
    torch = import_torch(channel)
    if torch is None:
        raise Ended
    channel.tell("software", **describe_software(torch))


VERBS = {"describe": describe}
