"""Facts that torch tells of its own state at the end of the program: threads, modes, compile counters; and its rank."""

import os
import sys


def facts(torch):
    """Return facts by name; what cannot be asked is left out. Nothing is initialised by asking."""
    found = {}
    for name, ask in QUESTIONS.items():
        try:
            answer = ask(torch)
        except Exception:
            continue
        if answer is not None:
            found[name] = answer
    return found


def compile_counters(torch):
    dynamo = sys.modules.get("torch._dynamo.utils")
    if dynamo is None:
        return None
    counters = {str(k): {str(n)[:120]: int(c) for n, c in list(v.items())[:12]} for k, v in dynamo.counters.items()}
    return {k: v for k, v in list(counters.items())[:20] if v}


def compiled_frames(torch):
    """Return how often each function was compiled: more than once is a recompilation."""
    frames = sys.modules.get("torch._dynamo.convert_frame")
    counter = getattr(frames, "FRAME_COMPILE_COUNTER", None)
    return None if not counter else sorted((int(c) for c in counter.values()), reverse=True)[:20]


def guard_failures(torch):
    """Return which functions were compiled anew, and how often."""
    dynamo = sys.modules.get("torch._dynamo.utils")
    failures = getattr(dynamo, "guard_failures", None)
    if not failures:
        return None
    return {
        "%s (%s:%s)" % (code.co_name, code.co_filename.rsplit("/", 1)[-1], code.co_firstlineno): len(why)
        for code, why in list(failures.items())[:20]
    }


def distributed(torch):
    """Return the place in the process group, or the one that a launcher gave it; None where there is none."""
    dist = sys.modules.get("torch.distributed")
    if dist is None or not dist.is_available():
        return None
    if not dist.is_initialized():
        given = [os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE")]
        return {"rank": int(given[0]), "world": int(given[1])} if all(map(str.isdigit, given)) else None
    return {"rank": dist.get_rank(), "world": dist.get_world_size(), "backend": str(dist.get_backend())}


def gpus(torch):
    if not torch.cuda.is_initialized():
        return None
    return [
        {
            "name": torch.cuda.get_device_name(i),
            "peak_bytes": torch.cuda.max_memory_allocated(i),
            "reserved_bytes": torch.cuda.memory_reserved(i),
            "total_bytes": torch.cuda.get_device_properties(i).total_memory,
        }
        for i in range(min(torch.cuda.device_count(), 16))
        if torch.cuda.max_memory_allocated(i)
    ]


def sharing(torch):
    module = sys.modules.get("torch.multiprocessing")
    return None if module is None else module.get_sharing_strategy()


def cudnn(torch):
    if not torch.cuda.is_initialized():
        return None
    flags = torch.backends.cudnn
    return {"enabled": flags.enabled, "benchmark": flags.benchmark, "deterministic": flags.deterministic}


def environment(torch):
    """Return the variables that libraries of torch's read, as the program has them now."""
    names = ("ONEDNN_", "DNNL_", "ATEN_", "MKL_", "OMP_", "KMP_", "GOMP_", "TORCH", "LD_PRELOAD", "OPENBLAS_")
    return {k: v[:300] for k, v in sorted(os.environ.items()) if k.startswith(names)}


QUESTIONS = {
    "environment": environment,
    "threads": lambda torch: torch.get_num_threads(),
    "interop_threads": lambda torch: torch.get_num_interop_threads(),
    "anomaly_mode": lambda torch: torch.is_anomaly_enabled(),
    "deterministic": lambda torch: torch.are_deterministic_algorithms_enabled(),
    "sharing_strategy": sharing,
    "matmul_precision": lambda torch: torch.get_float32_matmul_precision(),
    "default_dtype": lambda torch: str(torch.get_default_dtype()),
    "cpu_capability": lambda torch: str(torch.backends.cpu.get_cpu_capability()),
    "mkldnn": lambda torch: bool(torch.backends.mkldnn.is_available() and torch._C._get_mkldnn_enabled()),
    "compile": compile_counters,
    "compiled_frames": compiled_frames,
    "recompiled": guard_failures,
    "gpus": gpus,
    "cudnn": cudnn,
}
