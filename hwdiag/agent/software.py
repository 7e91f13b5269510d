"""Describes the person's PyTorch: its build, its libraries, its thread pools, and the devices that it can use."""

import os
import platform
import re
import sys

from .channel import Ended, one_line
from .pools import thread_pools
from .torch_import import import_torch

ENVIRONMENT = re.compile(
    r"(OMP|GOMP|KMP|MKL|OPENBLAS|BLIS|NVPL|ONEDNN|DNNL|ATEN|PYTORCH|TORCH|NPY|NUMEXPR|FAISS|POLARS|CUDA|MALLOC|TCMALLOC)_\w+"
    r"|LD_PRELOAD|LD_LIBRARY_PATH|GLIBC_TUNABLES|MALLOC_CONF|THP_MEM_ALLOC_ENABLE|L2_WRITER_QUEUE_MAX|PYTHONPATH"
)
"""Inherited variables worth showing: those that numeric libraries, allocators and loaders read."""


def describe_software(torch):
    """Return what the person's PyTorch is, as a JSON-ready dictionary."""
    cuda_note = None
    devices = []
    if torch.version.cuda and torch.cuda.is_available():
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
        "cuda_devices": devices,
        "cuda_note": cuda_note,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "mkl": torch.backends.mkl.is_available(),
        "onednn": torch.backends.mkldnn.is_available(),
        "build": torch.__config__.show(),
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "pools": thread_pools(torch.__config__.parallel_info()),
        "numpy_version": numpy and numpy.__version__,
        "environment": {k: v for k, v in sorted(os.environ.items()) if ENVIRONMENT.fullmatch(k)},
    }


def accelerators(torch):
    """The accelerators, of whichever maker."""
    module = getattr(torch, "accelerator", None)
    if module is None:
        kind, count = "cuda", torch.cuda.device_count() if torch.cuda.is_available() else 0
    elif module.is_available():
        kind, count = module.current_accelerator().type, module.device_count()
    else:
        return []
    return [about(getattr(torch, kind), "%s:%d" % (kind, index), index) for index in range(count)]


def about(backend, device, index):
    """One of them; what its backend does not tell is None."""
    get = getattr(backend, "get_device_properties", None)
    known = get(index) if get else None
    major, minor = getattr(known, "major", None), getattr(known, "minor", None)
    return {
        "name": device,
        "title": str(getattr(known, "name", device)),
        "memory_bytes": getattr(known, "total_memory", None),
        "unified_memory": bool(getattr(known, "is_integrated", False)),
        "capability": None if major is None or minor is None else "%d.%d" % (major, minor),
    }


def describe(channel, devices=False):
    """Tell what torch is here, and which ``devices`` it can use."""
    torch = import_torch(channel)
    if torch is None:
        raise Ended
    found = describe_software(torch)
    if devices:
        found["devices"] = accelerators(torch)
    channel.tell("software", **found)


VERBS = {"describe": describe}
