"""The worker: one child process that measures workloads, or describes the software, and reports as JSON lines.

This file is run by path under *any* interpreter that has torch, where hwdiag is not installed: it may use the
standard library and torch only, and must run on Python 3.8. The parent writes a first line to its standard input,
then one command a line, each when the one before it was answered; the end of input ends the worker::

    {"parent": 4711, "device": "cpu", "seed": 1, "describe": false, "adopt": false}
    {"do": "prepare", "check": true, "warmup_s": 0.1,
     "workload": {"name": "matmul-fp32", "kind": "matmul", "dtype": "float32", "size": {"n": 2048}, "path": null}}
    {"do": "sample", "seconds": 0.05, "min_samples": 1, "go_on": false}

and reads one JSON object a line, each with an ``event``: ``begin`` and ``applied`` after the first line (between
them ``software``, if that is asked for), ``begin`` and ``ready`` for a preparation, ``window`` for a sampling, with
the seconds of each iteration; ``failed`` in place of either, and ``end`` at last. With ``go_on`` the work goes on
after the window, uncounted, until ``{"do": "rest"}`` comes and is answered by ``rested``: so that of several workers
that are measured together, none is alone at the end. The parent may stop the whole
process with SIGSTOP between two commands, so that several workers take turns without disturbing each other. What
libraries print goes to standard error, so that the lines stay clean.
"""

import ctypes
import faulthandler
import gc
import importlib.util
import json
import math
import os
import platform
import re
import resource
import select
import signal
import sys
import time

MIN_SAMPLE_S = 0.002
"""Iterations are grouped until one sample lasts this long, so that the clock's cost (under 1 us) stays below 0.1 %."""
LONG_S = 0.02
"""An iteration of this length refills 32 MB of cache in less than a tenth of its time."""
MAX_SAMPLES = 200

ENVIRONMENT = re.compile(
    r"(OMP|GOMP|KMP|MKL|OPENBLAS|BLIS|NVPL|ONEDNN|DNNL|ATEN|PYTORCH|TORCH|NPY|NUMEXPR|FAISS|POLARS|CUDA|MALLOC|TCMALLOC)_\w+"
    r"|LD_PRELOAD|LD_LIBRARY_PATH|GLIBC_TUNABLES|MALLOC_CONF|THP_MEM_ALLOC_ENABLE|L2_WRITER_QUEUE_MAX|PYTHONPATH"
)
"""Inherited variables worth showing: those that numeric libraries, allocators and loaders read."""

LIBRARIES = (  # file name pattern, api, name
    (r"libgomp[-.\w]*\.so", "openmp", "libgomp"),
    (r"libiomp5[-.\w]*\.so", "openmp", "libiomp5"),
    (r"libomp[-.\w]*\.so", "openmp", "libomp"),
    (r"lib(?:scipy_)?openblas[-.\w]*\.so", "blas", "OpenBLAS"),
    (r"libmkl_rt[-.\w]*\.so", "blas", "MKL"),
    (r"libblis[-.\w]*\.so", "blas", "BLIS"),
    (r"libnvpl_blas[-.\w]*\.so", "blas", "NVPL"),
    (r"libarm_compute[-.\w]*\.so", "blas", "Arm Compute Library"),
)


OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "bad_alloc", "ALLOC_FAILED")
"""What torch, the C++ library, and cuBLAS and cuDNN say of it."""


class WrongResult(Exception):
    """A workload's result is further from its reference than the arithmetic allows."""


# --- What this process is -------------------------------------------------------------------------------------------


def mapped_files():
    """Paths of the shared objects in this process, in the order of the memory map."""
    with open("/proc/self/maps", errors="replace") as maps:
        paths = [line.split(None, 5)[5].strip() for line in maps if line.count("/") and len(line.split(None, 5)) == 6]
    return list(dict.fromkeys(p for p in paths if p.startswith("/")))


def peak_rss():
    """Bytes. getrusage's figure would be the parent's, where that was larger when it started this process."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def memory_policy():
    """The process's NUMA policy in numa_maps' words (``default``, ``interleave:0-1``), None if the kernel has none."""
    try:
        with open("/proc/self/numa_maps") as lines:
            policies = [line.split()[1] for line in lines]
    except OSError:
        return None
    # Shared-library pages may carry their own policy: the most frequent one is the process's.
    return max(set(policies), key=policies.count) if policies else None


def call_int(path, *symbols):
    """The result of the first of these no-argument C functions that the library has, else None."""
    try:
        library = ctypes.CDLL(path)
    except OSError:
        return None
    return next((getattr(library, s)() for s in symbols if hasattr(library, s)), None)


def thread_pools(torch):
    """OpenMP runtimes and BLAS libraries that are loaded, with their thread counts (after threadpoolctl's idea)."""
    pools = []
    for path in mapped_files():
        base = os.path.basename(path)
        for pattern, api, name in LIBRARIES:
            if re.match(pattern, base):
                symbols = ["omp_get_max_threads"] if api == "openmp" else []
                if name == "OpenBLAS":
                    symbols = [
                        prefix + "openblas_get_num_threads" + suffix
                        for prefix in ("scipy_", "")
                        for suffix in ("", "64_", "_64")
                    ]
                pools.append({"api": api, "name": name, "path": path, "threads": call_int(path, *symbols)})
    info = torch.__config__.parallel_info()
    mkl = re.search(r"mkl_get_max_threads\(\)\s*:\s*(\d+)", info)
    if mkl:  # linked statically into libtorch, so not in the memory map under its own name
        version = re.search(r"(?:oneAPI )?Math Kernel Library Version ([\d.]+)", info)
        pools.append(
            {"api": "blas", "name": "MKL", "threads": int(mkl.group(1)), "version": version and version.group(1)}
        )
    return pools


def describe_software(torch):
    """What the person's PyTorch is, as a JSON-ready dictionary."""
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
        "pools": thread_pools(torch),
        "numpy_version": numpy and numpy.__version__,
        "environment": {k: v for k, v in sorted(os.environ.items()) if ENVIRONMENT.fullmatch(k)},
    }


def applied_launch(torch):
    """What of the Launch can be seen from inside."""
    preloads = {os.path.realpath(p) for p in re.split("[: ]", os.environ.get("LD_PRELOAD", "")) if p}
    return {
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "cpus": sorted(os.sched_getaffinity(0)),
        "memory_policy": memory_policy(),
        "preloaded": [p for p in mapped_files() if p in preloads],
        "capability": torch.backends.cpu.get_cpu_capability(),
    }


# --- Workloads: each builder gives (step, check); check() is the largest error relative to the largest reference ----


def relative_error(torch, got, reference):
    return ((got.double() - reference).abs().max() / reference.abs().max()).item()


def rounding_tolerance(torch, dtype, terms):
    """Error allowed for a sum of ``terms`` products: random-walk growth of fp32 rounding plus the output's own.

    Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., section 4.3: errors of long sums grow like the
    square root of their length; the factors 4 and 8 leave room for other orders of summation.
    """
    return 4 * math.sqrt(terms) * torch.finfo(torch.float32).eps + 8 * torch.finfo(dtype).eps


def build_matmul(torch, device, dtype, n):
    a = torch.randn(n, n, device=device).to(dtype)
    b = torch.randn(n, n, device=device).to(dtype)
    out = torch.empty(n, n, device=device, dtype=dtype)

    def check():
        rows = torch.linspace(0, n - 1, 8, device=device).long()
        return relative_error(torch, out[rows], a[rows].double() @ b.double()), rounding_tolerance(torch, dtype, n)

    return lambda: torch.mm(a, b, out=out), check


def build_onednn(torch, device, dtype, n):
    """The same product by oneDNN's linear layer, whatever torch.mm would take."""
    a = torch.randn(n, n, device=device).to(dtype)
    b = torch.randn(n, n, device=device).to(dtype)
    x, weight = a.to_mkldnn(), b.to_mkldnn()

    def step():
        return torch.ops.aten.mkldnn_linear(x, weight, None)

    def check():
        rows = torch.linspace(0, n - 1, 8, device=device).long()
        reference = a[rows].double() @ b.double().t()
        return relative_error(torch, step().to_dense()[rows], reference), rounding_tolerance(torch, dtype, n)

    return step, check


def build_numpy(torch, device, dtype, n):
    """The same product by NumPy's BLAS."""
    import numpy

    a, b = torch.randn(n, n).to(dtype), torch.randn(n, n).to(dtype)
    left, right = a.numpy(), b.numpy()
    out = torch.empty(n, n, dtype=dtype)
    target = out.numpy()

    def check():
        rows = torch.linspace(0, n - 1, 8).long()
        return relative_error(torch, out[rows], a[rows].double() @ b.double()), rounding_tolerance(torch, dtype, n)

    return lambda: numpy.matmul(left, right, out=target), check


def build_conv2d(torch, device, dtype, batch, channels, side, filters, kernel, stride):
    pad = kernel // 2
    x = torch.randn(batch, channels, side, side, device=device).to(dtype)
    w = torch.randn(filters, channels, kernel, kernel, device=device).to(dtype)

    def step():
        return torch.nn.functional.conv2d(x, w, stride=stride, padding=pad)

    def check():
        # A few output pixels of the first and the last image, from the definition, in float64.
        got = step()
        padded = torch.nn.functional.pad(x[[0, -1]].double(), (pad, pad, pad, pad))
        where = [0, 1, got.shape[-1] // 2, got.shape[-1] - 1]
        pixels = [(i, j) for i in where for j in where]
        patches = torch.stack(
            [padded[:, :, i * stride : i * stride + kernel, j * stride : j * stride + kernel] for i, j in pixels], 1
        )
        reference = torch.einsum("npchw,fchw->nfp", patches, w.double())
        some = torch.stack([got[[0, -1], :, i, j] for i, j in pixels], 2)
        return relative_error(torch, some, reference), rounding_tolerance(torch, dtype, channels * kernel * kernel)

    return step, check


def build_copy(torch, device, dtype, elements):
    # Filled by torch's own threads: the first touch puts each page on the node of the thread that uses it later.
    source = torch.full((elements,), 1.5, device=device, dtype=dtype)
    target = torch.zeros(elements, device=device, dtype=dtype)
    return lambda: target.copy_(source), lambda: (float(not torch.equal(source, target)), 0.0)


def build_triad(torch, device, dtype, elements):
    b = torch.full((elements,), 2.0, device=device, dtype=dtype)
    c = torch.full((elements,), 0.5, device=device, dtype=dtype)
    a = torch.zeros(elements, device=device, dtype=dtype)
    return lambda: torch.add(b, c, alpha=3.0, out=a), lambda: (float((a - 3.5).abs().max()), 0.0)


def build_net(torch, net, x):
    """A net in evaluation mode, checked once against itself in float64."""
    net.eval()

    def step():
        with torch.inference_mode():
            return net(x)

    def check():
        got = step()
        wide = x.double() if x.is_floating_point() else x
        parameters = {k: v.double() if v.is_floating_point() else v for k, v in net.state_dict().items()}
        with torch.inference_mode():
            reference = torch.func.functional_call(net, parameters, (wide,))
        # Rounding errors of some fifty layers add up; a wrong kernel is off by far more.
        return relative_error(torch, got, reference), 1e-3

    return step, check


def resnet18(torch, device, dtype, batch, side):
    """A net and its input: ResNet-18 (He et al. 2015, table 1), 11.7 million parameters."""
    nn = torch.nn

    def conv(cin, cout, kernel, stride):
        return [nn.Conv2d(cin, cout, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(cout)]

    class Block(nn.Module):
        def __init__(self, cin, cout, stride):
            super().__init__()
            self.body = nn.Sequential(*conv(cin, cout, 3, stride), nn.ReLU(inplace=True), *conv(cout, cout, 3, 1))
            same = cin == cout and stride == 1
            self.skip = nn.Identity() if same else nn.Sequential(*conv(cin, cout, 1, stride))
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x):
            return self.relu(self.body(x) + self.skip(x))

    stem = [*conv(3, 64, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    stages = [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2)]
    blocks = [Block(*s) for s in [*stages, (512, 512, 1)]]
    net = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))
    return net.to(device, dtype), torch.randn(batch, 3, side, side, device=device).to(dtype)


def build_resnet18(torch, device, dtype, batch, side):
    return build_net(torch, *resnet18(torch, device, dtype, batch, side))


def gpt2(torch, device, dtype, batch, tokens, width, layers, heads, vocabulary, positions):
    """A net and its input: GPT-2 small (Radford et al. 2019), 124 million parameters; a prompt, without a cache."""
    nn, functional = torch.nn, torch.nn.functional

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x):
            n, t, _ = x.shape
            q, k, v = self.qkv(self.norm1(x)).view(n, t, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
            mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.project(mixed.transpose(1, 2).reshape(n, t, width))
            return x + self.down(functional.gelu(self.up(self.norm2(x)), approximate="tanh"))

    class Gpt2(nn.Module):
        def __init__(self):
            super().__init__()
            # Not nn.Embedding: its initialisation on "meta" imports half of torch's compiler, a second of every child.
            self.token = nn.Parameter(torch.empty(vocabulary, width))
            self.position = nn.Parameter(torch.empty(positions, width))
            self.blocks = nn.Sequential(*[Block() for _ in range(layers)])
            self.norm = nn.LayerNorm(width)

        def forward(self, ids):
            x = functional.embedding(ids, self.token) + self.position[: ids.shape[1]]
            return functional.linear(self.norm(self.blocks(x)), self.token)

    with torch.device("meta"):  # the usual initialisation draws 124 million random numbers: seconds of one core
        net = Gpt2()
    net = net.to_empty(device=device).to(dtype)
    noise = torch.randn(2**20, device=device).to(dtype) * 0.02
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "norm" in name:
                parameter.fill_(1.0 if name.endswith("weight") else 0.0)
            else:
                for part in parameter.view(-1).split(noise.numel()):
                    part.copy_(noise[: part.numel()])
    return net, torch.randint(vocabulary, (batch, tokens), device=device)


def build_gpt2(torch, device, dtype, **size):
    return build_net(torch, *gpt2(torch, device, dtype, **size))


def build_file(torch, device, dtype, path):
    """The user's own: ``build()`` of a Python file gives a callable, or a pair of it and one that checks its result.

    ``check()`` is called once after the first call; the result is wrong if it gives False or an assertion fails.
    """
    sys.path.insert(0, os.path.dirname(path))  # as ``python FILE`` has it, so that it finds what lies beside it
    spec = importlib.util.spec_from_file_location("hwdiag_workload", path)
    if spec is None:
        raise ValueError("%s is no Python file" % path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    if not callable(getattr(module, "build", None)):
        raise ValueError("%s has no function build()" % path)
    built = module.build()
    step, own_check = built if isinstance(built, tuple) and len(built) == 2 else (built, None)
    if not callable(step) or not (own_check is None or callable(own_check)):
        raise ValueError("build() of %s gives %s, not a callable or a pair of them" % (path, type(built).__name__))

    def check():
        try:
            right = own_check() is not False
        except AssertionError as error:
            raise WrongResult("check() of %s: %s" % (path, one_line(error))) from None
        if not right:
            raise WrongResult("check() of %s gives False" % path)
        return None, None

    return step, check if own_check else lambda: (None, None)


BUILDERS = {
    "file": build_file,
    "matmul": build_matmul,
    "onednn": build_onednn,
    "numpy": build_numpy,
    "conv2d": build_conv2d,
    "copy": build_copy,
    "triad": build_triad,
    "resnet18": build_resnet18,
    "gpt2": build_gpt2,
}


# --- Measuring ------------------------------------------------------------------------------------------------------


def time_loop(step, synchronize, loops):
    """Seconds per iteration of ``loops`` iterations."""
    synchronize()
    start = time.perf_counter()
    for _ in range(loops):
        step()
    synchronize()
    return (time.perf_counter() - start) / loops


def warm_up(step, synchronize, seconds):
    """Run until ``seconds`` have passed, at least twice, doubling the loops until a sample is long enough."""
    loops, done, start = 1, 0, time.perf_counter()
    while done < 2 or time.perf_counter() - start < seconds:
        each = time_loop(step, synchronize, loops)
        done += loops
        if each * loops < MIN_SAMPLE_S:
            loops *= 2
    return loops, done, each


def accelerator(torch, device):
    """What waits for this device and counts its memory, whoever made it; None for the CPU."""
    if device in ("cpu", "meta"):
        return None
    return getattr(torch, "accelerator", None) or torch.cuda  # before torch 2.6 there is only the latter


class Prepared:
    """A workload that is built, checked and warm."""

    def __init__(self, torch, device, command, builders=BUILDERS):
        spec = command["workload"]
        self.device, self.accelerator = device, accelerator(torch, device)
        build = builders[spec["kind"]]
        more = {key: spec[key] for key in ("path", "what") if spec.get(key)}
        self.step, check = build(torch, torch.device(device), getattr(torch, spec["dtype"]), **spec["size"], **more)
        self.synchronize()
        start = time.perf_counter()
        self.step()
        self.synchronize()
        self.first_s = time.perf_counter() - start
        self.max_error = self.tolerance = None
        if command["check"]:
            self.max_error, self.tolerance = check()
            if self.max_error is not None and not self.max_error <= self.tolerance:  # also true for NaN
                raise WrongResult("relative error %.3g, allowed %.3g" % (self.max_error, self.tolerance))
        if hasattr(self.accelerator, "reset_peak_memory_stats"):
            self.accelerator.empty_cache()  # of what the reference took
            self.accelerator.reset_peak_memory_stats(device)
        self.loops, self.warmup, self.each_s = warm_up(self.step, self.synchronize, command["warmup_s"])

    def synchronize(self):
        """Wait until the device has done all that it was asked for."""
        if self.accelerator is not None:
            self.accelerator.synchronize(self.device)

    def peak_device_bytes(self):
        """The most that torch held on an accelerator since this was checked: what others cannot have, used or not."""
        counts = hasattr(self.accelerator, "max_memory_reserved")
        return self.accelerator.max_memory_reserved(self.device) if counts else None

    def sample(self, seconds, min_samples):
        """Seconds per iteration, one value per group of iterations, for about ``seconds``.

        Short iterations begin with one that is not counted: another process may have had the caches, and the threads
        were asleep. Of a long one that is a small part.
        """
        if self.each_s < LONG_S:
            time_loop(self.step, self.synchronize, 1)
        samples, start = [], time.perf_counter()
        while len(samples) < min_samples or (time.perf_counter() - start < seconds and len(samples) < MAX_SAMPLES):
            samples.append(time_loop(self.step, self.synchronize, self.loops))
        return samples

    def go_on_until(self, commands):
        """Keep working until another line waits to be read."""
        while not select.select([commands], [], [], 0)[0]:
            self.step()
        self.synchronize()


def one_line(error):
    text = str(error).strip().splitlines()
    return "%s: %s" % (type(error).__name__, text[0][:300] if text else "")


def failure(error):
    """Kind and detail of an exception, in the parent's words."""
    message = str(error)
    if isinstance(error, WrongResult):
        return "wrong-result", message
    if isinstance(error, EOFError):
        return "error", one_line(error) + " (nobody is there to type: standard input is /dev/null)"
    if isinstance(error, MemoryError) or any(words in message for words in OUT_OF_MEMORY):
        return "out-of-memory", one_line(error)
    return "error", one_line(error)


def follow_parent(parent):
    """Die with the parent: a kernel that is killed must leave no child that goes on computing (prctl(2))."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.kill(parent, 0)  # raises if it died before that


def adopt_orphans():
    """Keep what the user's code starts below this process, so that the parent finds all of it (prctl(2))."""
    PR_SET_CHILD_SUBREAPER = 36
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def main(builders=BUILDERS, describe=describe_software):
    sys.path[:] = [p for p in sys.path if os.path.abspath(p or ".") != os.path.dirname(os.path.abspath(__file__))]
    faulthandler.enable()
    lines = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    # The user's code may read standard input: it must find nothing there, and above all no commands.
    commands = os.fdopen(os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)

    def tell(event, **values):
        lines.write(json.dumps({"event": event, **values}) + "\n")

    task = json.loads(commands.readline())
    follow_parent(task["parent"])
    if task.get("adopt"):
        adopt_orphans()
    tell("begin", workload="import torch")
    try:
        import torch
    except Exception as error:
        tell("failed", workload="import torch", kind="import-error", detail=one_line(error))
        return
    if task.get("interop_threads"):
        torch.set_num_interop_threads(task["interop_threads"])
    if task.get("describe"):
        tell("software", **describe(torch))
    tell("applied", **applied_launch(torch))
    torch.manual_seed(task["seed"])
    answer_commands(torch, task["device"], commands, tell, builders)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    tell("end", cpu_s=usage.ru_utime + usage.ru_stime)


def answer_commands(torch, device, commands, tell, builders):
    """Do what the parent asks for, a line each, until its end of the pipe is closed."""
    prepared, name = None, None
    gc.disable()  # a collection costs some 30 ms, in the middle of a sample
    for line in commands:
        command = json.loads(line)
        try:
            if command["do"] == "prepare":
                prepared, name = None, command["workload"]["name"]
                gc.collect()
                tell("begin", workload=name)
                prepared = Prepared(torch, device, command, builders)
                about = {key: getattr(prepared, key) for key in ("max_error", "tolerance", "warmup", "first_s")}
                tell("ready", workload=name, threads=torch.get_num_threads(), **about)
            elif command["do"] == "sample":
                seconds = prepared.sample(command["seconds"], command["min_samples"])
                peak = peak_rss()
                more = {"peak_device_bytes": prepared.peak_device_bytes()}
                tell("window", workload=name, seconds=seconds, peak_rss_bytes=peak, **more)
                if command["go_on"]:
                    prepared.go_on_until(commands)
            else:
                tell("rested")
        except (Exception, SystemExit) as error:  # a user's file may call sys.exit()
            kind, detail = failure(error)
            tell("failed", workload=name, kind=kind, detail=detail)


if __name__ == "__main__":
    main()
    sys.stderr.flush()
    os._exit(0)  # tearing torch down module by module takes up to a second of every child
