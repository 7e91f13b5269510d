"""Variables for looking for faults, which cost time when they are left on."""

from __future__ import annotations

from hwdiag.core.text import capitalised
from hwdiag.process.environment.model import Effect, Inherited, Variable

FLAG_OFF = ("", "0")
UNLESS = "Unset it, unless you are looking for a fault."


def python_malloc(it: Inherited) -> Effect | None:
    """Judge PYTHONMALLOC."""
    word = it.value.strip()
    if word in ("", "default", "pymalloc"):
        return None
    if word in ("debug", "malloc_debug", "pymalloc_debug"):
        return Effect(
            state="in effect",
            severity="warning",
            title=f"{it.shown} is in effect: Python checks every memory block that it allocates and frees",
            why="It is a debugging aid: pure Python code is markedly slower and takes more memory with it.",
        )
    if word in ("malloc", "mimalloc"):
        return Effect(
            state="in effect",
            severity="note",
            title=f"{it.shown} is in effect: Python takes its small objects from {word} instead of its own pools",
            why="It is meant for memory checkers such as Valgrind; code that makes many small objects is slower.",
        )
    return Effect(
        state="in effect",
        severity="problem",
        title=f"{it.shown} is not a valid allocator: Python ends with 'Fatal Python error' before it runs anything",
        why="CPython refuses to start with an allocator that it does not know.",
    )


def tracemalloc(it: Inherited) -> Effect | None:
    """Judge PYTHONTRACEMALLOC: the number of frames that are kept of each allocation."""
    word = it.value.strip()
    if not word.isdecimal() or int(word) == 0:
        return None
    return Effect(
        state="in effect",
        severity="warning",
        title=f"{it.shown} is in effect: Python records where every memory block was allocated",
        why="It takes time and memory at every allocation.",
    )


def verbose(it: Inherited) -> Effect | None:
    """Judge ONEDNN_VERBOSE: a level, or a list of what is printed."""
    if it.value.strip().lower() in (*FLAG_OFF, "none", "error"):
        return None
    return Effect(
        state="in effect",
        severity="warning",
        title=f"{it.shown} is in effect: oneDNN prints a line for each operation",
        why="It takes time and fills logs.",
    )


def nccl_debug(it: Inherited) -> Effect | None:
    """Judge NCCL_DEBUG: versions and warnings are a few lines, the others are not."""
    if it.value.strip().upper() not in ("INFO", "TRACE"):
        return None
    return Effect(
        state="in effect",
        severity="note" if it.value.strip().upper() == "INFO" else "warning",
        title=f"{it.shown} is in effect: NCCL prints what it does",
        why="INFO prints at start and at each communicator, TRACE at every call.",
    )


def distributed_debug(it: Inherited) -> Effect | None:
    """Judge TORCH_DISTRIBUTED_DEBUG."""
    if it.value.strip().upper() != "DETAIL":
        return None
    return Effect(
        state="in effect",
        severity="warning",
        title=f"{it.shown} is in effect: every collective is checked across all ranks before it runs",
        why="It costs a round of messages for each collective; PyTorch says to use it for debugging only.",
    )


def flag(
    pattern: str,
    reader: str,
    does: str,
    source: str,
    *,
    severity: str = "warning",
    off: tuple[str, ...] = FLAG_OFF,
    scope: str = "debugging",
    advice: str = UNLESS,
) -> Variable:
    """Return the registry's entry of a variable that is on or off."""
    return Variable.model_validate(
        {
            "pattern": pattern,
            "reader": reader,
            "scope": scope,
            "severity": severity,
            "effect": f"{capitalised(does)}.",
            "advice": advice,
            "source": source,
            "emit": "never",
            "does": does,
            "off": off,
        }
    )


PYTHON_DOCS = "Python, command line and environment"
PYTORCH_DOCS = "PyTorch, environment variables"

VARIABLES = (
    flag(
        "CUDA_LAUNCH_BLOCKING",
        "CUDA",
        "the CPU waits for every GPU kernel, a large slow-down that is meant for debugging",
        "CUDA C++ programming guide, environment variables",
    ),
    flag("MKL_VERBOSE", "MKL", "MKL prints a line for each call, which takes time and fills logs",
         "oneMKL developer guide, MKL_VERBOSE"),
    Variable(
        pattern="(ONEDNN|DNNL)_VERBOSE",
        reader="oneDNN",
        scope="debugging",
        severity="warning",
        effect="It makes oneDNN print a line for each call, which takes time and fills logs.",
        advice=UNLESS,
        source="oneDNN developer guide, verbose mode",
        emit="diagnosis only",
        judge=verbose,
    ),
    Variable(
        pattern="PYTHONMALLOC",
        reader="Python",
        scope="debugging",
        severity="warning",
        effect="It chooses Python's memory allocator, and with debug its checks of every block.",
        advice=UNLESS,
        source=f"{PYTHON_DOCS}: PYTHONMALLOC",
        emit="never",
        judge=python_malloc,
    ),
    Variable(
        pattern="PYTHONTRACEMALLOC",
        reader="Python",
        scope="debugging",
        severity="warning",
        effect="It makes Python record where every memory block was allocated.",
        advice=UNLESS,
        source=f"{PYTHON_DOCS}: PYTHONTRACEMALLOC",
        emit="never",
        judge=tracemalloc,
    ),
    flag("PYTHONDEVMODE", "Python", "Python checks every memory block and warns of more, which makes it slower",
         f"{PYTHON_DOCS}: PYTHONDEVMODE", off=("",)),
    flag("PYTHONASYNCIODEBUG", "Python", "asyncio records and checks every call", f"{PYTHON_DOCS}: PYTHONASYNCIODEBUG",
         severity="note", off=("",)),
    flag("PYTHONVERBOSE|PYTHONPROFILEIMPORTTIME", "Python", "Python prints a line for each module that it imports",
         PYTHON_DOCS, severity="note"),
    Variable(
        pattern="PYTHON(FAULTHANDLER|UNBUFFERED|HASHSEED|OPTIMIZE|NOUSERSITE|DONTWRITEBYTECODE|PATH)",
        reader="Python",
        scope="debugging",
        severity="note",
        effect="It costs nothing that is worth a word.",
        advice="Keep it if you want it.",
        source=PYTHON_DOCS,
        emit="per program",
        harmless=True,
    ),
    flag("TORCH_LOGS", "torch.compile", "PyTorch prints what its compiler does",
         "PyTorch, torch._logging", severity="note", off=("",)),
    flag("TORCH_COMPILE_DEBUG", "torch.compile",
         "torch.compile writes all that it generates into torch_compile_debug/, and compiles more slowly",
         "PyTorch, torch/_inductor/config.py: trace.enabled"),
    flag("TORCHDYNAMO_VERBOSE|TORCH_SHOW_CPP_STACKTRACES|TORCH_CPP_LOG_LEVEL", "PyTorch",
         "PyTorch says more when something fails", PYTORCH_DOCS, severity="note",
         off=("", "0", "warning", "error", "fatal"), advice="Keep it while you are looking for a fault."),
    flag("TORCHDYNAMO_DISABLE|TORCH_COMPILE_DISABLE", "torch.compile",
         "torch.compile does nothing: models run as they are, uncompiled",
         "PyTorch, torch/_dynamo/config.py: disable", scope="compiling"),
    flag("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "torch.compile",
         "torch.compile compiles everything again at each start", "PyTorch, torch/_inductor/config.py",
         scope="compiling"),
    Variable(
        pattern="PYTORCH_JIT",
        reader="PyTorch",
        scope="compiling",
        severity="warning",
        effect="With 0, torch.jit.script and trace do nothing: what they should compile runs as Python.",
        advice=UNLESS,
        source="PyTorch, torch.jit: PYTORCH_JIT",
        emit="never",
        does="torch.jit.script does nothing: scripted code runs as plain Python",
        off=("", "1"),
    ),
    Variable(
        pattern="TORCH_DISTRIBUTED_DEBUG",
        reader="PyTorch",
        scope="debugging",
        severity="warning",
        effect="With DETAIL, every collective is checked across all ranks.",
        advice=UNLESS,
        source="PyTorch, torch.distributed: TORCH_DISTRIBUTED_DEBUG",
        emit="never",
        judge=distributed_debug,
    ),
    Variable(
        pattern="NCCL_DEBUG",
        reader="NCCL",
        scope="debugging",
        severity="note",
        effect="It makes NCCL print what it does.",
        advice=UNLESS,
        source="NCCL, environment variables: NCCL_DEBUG",
        emit="diagnosis only",
        judge=nccl_debug,
    ),
    flag("NCCL_(P2P|IB|SHM)_DISABLE", "NCCL", "NCCL leaves this transport out, and takes a slower one",
         "NCCL, environment variables"),
    flag("PYTORCH_NO_(CUDA|HIP)_MEMORY_CACHING", "PyTorch's allocators",
         "every allocation on the GPU goes to the driver, which waits for the GPU",
         "PyTorch, environment variables: PYTORCH_NO_CUDA_MEMORY_CACHING"),
    flag("CUDNN_(LOGDEST|LOGINFO|LOGLEVEL)_DBG|CUBLAS_LOG(INFO|DEST)_DBG|CUBLASLT_LOG_LEVEL", "CUDA",
         "the library logs its calls", "cuDNN and cuBLAS, API logging", severity="note"),
    Variable(
        pattern="NVIDIA_TF32_OVERRIDE",
        reader="CUDA",
        scope="instructions",
        severity="warning",
        effect="With 0, NVIDIA's libraries never use TF32, whatever the program asks for.",
        advice="Unset it, and let the program choose with torch.set_float32_matmul_precision().",
        source="NVIDIA, accelerating AI training with TF32: NVIDIA_TF32_OVERRIDE",
        emit="never",
        does="NVIDIA's libraries never use TF32, whatever the program asks for",
        off=("", "1"),
    ),
)  # fmt: skip
