"""Native libraries with threads of their own in this process, found as threadpoolctl finds them.

threadpoolctl (https://github.com/joblib/threadpoolctl) asks the loader which shared objects are there
(dl_iterate_phdr(3)), knows those that matter by their file names and by the functions that they export, and calls these
functions. It can't be assumed to be installed where this runs.
"""

import ctypes
import os
import re

from .applied import mapped_files

NOLOAD = getattr(os, "RTLD_NOLOAD", 4)
OPENBLAS = [
    "%sopenblas_get_%%s%s" % (prefix, suffix) for prefix in ("", "scipy_") for suffix in ("", "64_", "_64")
]  # builds of NumPy and SciPy rename what they export, so that several may be in one process


class LibraryKind:
    """One sort of library: its file names, what tells its threads and version, and whether only that makes it one."""

    def __init__(self, api, name, files, threads, version=(), exact=True):
        self.api, self.name, self.files = api, name, re.compile(files)
        self.threads, self.version, self.exact = threads, version, exact

    def pool(self, path):
        """Return the pool of the shared object at ``path``; None if it is none of this sort."""
        if not self.files.match(os.path.basename(path)):
            return None
        try:
            library = ctypes.CDLL(path, mode=NOLOAD)  # a handle on what is there, or an error
        except OSError:
            return None
        threads = call(library, self.threads, ctypes.c_int)
        if threads is None and not self.exact:
            return None
        pool = {"api": self.api, "name": self.name, "path": path, "threads": threads}
        said = call(library, self.version, ctypes.c_char_p)
        number = re.search(r"\d+(\.\d+)+", said.decode(errors="replace")) if said else None
        if number:
            pool["version"] = number.group(0)
        return pool


def openblas(what):
    return tuple(symbol % what for symbol in OPENBLAS)


KINDS = (
    LibraryKind("openmp", "libgomp", r"libgomp[-.\w]*\.so", ("omp_get_max_threads",)),
    LibraryKind("openmp", "libiomp5", r"libiomp5[-.\w]*\.so", ("omp_get_max_threads",)),
    LibraryKind("openmp", "libomp", r"libomp[-.\w]*\.so", ("omp_get_max_threads",)),
    LibraryKind("blas", "OpenBLAS", r"lib(scipy_)?openblas[-.\w]*\.so", openblas("num_threads"), openblas("config")),
    LibraryKind("blas", "MKL", r"libmkl_rt[-.\w]*\.so", ("MKL_Get_Max_Threads",)),
    LibraryKind("blas", "BLIS", r"libblis[-.\w]*\.so", ("bli_thread_get_num_threads",), ("bli_info_get_version_str",)),
    LibraryKind("blas", "NVPL", r"libnvpl_blas[-.\w]*\.so", ("nvpl_blas_get_max_threads",)),
    LibraryKind("blas", "Arm Compute Library", r"libarm_compute[-.\w]*\.so", ()),
    # Distributions install whichever it is under the name of the interface.
    LibraryKind(
        "blas", "OpenBLAS", r"lib(c?blas|lapack)\.so", openblas("num_threads"), openblas("config"), exact=False
    ),
    LibraryKind(
        "blas", "BLIS", r"libc?blas\.so", ("bli_thread_get_num_threads",), ("bli_info_get_version_str",), exact=False
    ),
    LibraryKind("blas", "MKL", r"libc?blas\.so", ("MKL_Get_Max_Threads",), exact=False),
)


def call(library, symbols, result):
    """Return what the first of these functions without arguments gives that the library exports, else None."""
    for symbol in symbols:
        function = getattr(library, symbol, None)
        if function is not None:
            function.restype, function.argtypes = result, []
            return function()
    return None


class Object(ctypes.Structure):
    """The beginning of struct dl_phdr_info (<link.h>)."""

    _fields_ = [("address", ctypes.c_void_p), ("name", ctypes.c_char_p)]


def loaded_objects():
    """Return the paths of the shared objects that the loader knows, links resolved, in its order."""
    iterate = getattr(ctypes.CDLL(None), "dl_iterate_phdr", None)
    if iterate is None:
        return [path for path in mapped_files() if ".so" in os.path.basename(path)]
    found = []

    def note(info, size, data):
        name = info.contents.name
        if name:
            found.append(os.path.realpath(os.fsdecode(name)))
        return 0

    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Object), ctypes.c_size_t, ctypes.c_void_p)
    iterate(callback(note), None)
    return list(dict.fromkeys(found))


def native_pools():
    """Return the pools of all shared objects, as JSON-ready dictionaries; threads are None where nothing tells."""
    found = []
    for path in loaded_objects():
        pool = next(filter(None, (kind.pool(path) for kind in KINDS)), None)
        if pool is not None:
            found.append(pool)
    return found


def thread_pools(parallel_info):
    """Return all pools, with the MKL that is linked into torch itself, of which ``parallel_info`` tells."""
    found = native_pools()
    mkl = re.search(r"mkl_get_max_threads\(\)\s*:\s*(\d+)", parallel_info)
    if mkl:
        version = re.search(r"(?:oneAPI )?Math Kernel Library Version ([\d.]+)", parallel_info)
        found.append(
            {"api": "blas", "name": "MKL", "threads": int(mkl.group(1)), "version": version and version.group(1)}
        )
    return found
