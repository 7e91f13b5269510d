"""Classification of stacks: waiting for data, in a net, in its backward pass, compiling, importing, or else.

A stack is judged by all of its frames, not by the innermost alone: decoding a picture within the DataLoader is input.
"""

import re
import sys
import sysconfig

DEEPEST = 150
"""Frames that are looked at, from the innermost out."""
MOST_CODES = 20_000

INPUT = "input"
"""In the DataLoader, in the process itself."""
WORKERS = "input: workers"
"""In the DataLoader, waiting for its workers."""
LIBRARY = "input: library"
"""In a library that reads or decodes data, outside of a DataLoader."""
FUNCTION = "input: "
"""In a function of the person's own whose name says that it makes data: its name and place follow."""
MODEL, BACKWARD, OPTIMIZER, COMPILE = "model", "backward", "optimizer", "compile"
COLLECTIVE, TORCH, IMPORT, WAIT, PYTHON = "collective", "torch", "import", "wait", "python"

AT_WORK = frozenset({INPUT, WORKERS, MODEL, BACKWARD, OPTIMIZER, COLLECTIVE})
"""What says that the program is in its loop."""
COMPUTING = frozenset({MODEL, BACKWARD, OPTIMIZER})

LIBRARIES = re.compile(
    r"/(PIL|cv2|datasets|webdataset|torchdata|torchaudio|tokenizers|h5py|lmdb|imageio|librosa|soundfile|skimage"
    r"|albumentations|decord|av|tensorflow_datasets|nvidia/dali|ffcv|zarr|pyarrow)/"
    r"|/torchvision/(transforms|io|datasets)/|/pandas/io/|/numpy/lib/(_?npyio|_?format|_npyio_impl|_format_impl)"
    r"|/(tarfile|gzip|zipfile|lzma|bz2|wave|csv)\.py$"
)
DATA = re.compile(
    r"batch|load|decod|collat|augment|preproc|tokeniz|fetch|dataset|__getitems?__|transform|resize|crop|sampl|read_|_read"
    r"|next_(data|item|example)|examples?$|images?$|records?$",
    re.I,
)
NO_DATA = re.compile(
    r"train|step|forward|loss|optim|eval|valid|main|^run|^fit|save|log|print|checkpoint|state|test", re.I
)
COMPILERS = re.compile(r"^_?(compile_fx|fw_compiler|bw_compiler|fx_codegen|codegen_and_compile)")
JOINS = frozenset({"init_process_group", "new_group", "_new_process_group_helper", "destroy_process_group"})
"""What makes and ends process groups, with collectives of their own: no part of a training's steps."""
WAITING = {
    "threading.py": {"wait", "join", "_wait_for_tstate_lock", "acquire", "__enter__"},
    "queue.py": {"get", "put", "join"},
    "selectors.py": {"select"},
    "socket.py": {"accept", "recv", "recv_into", "readinto"},
    "subprocess.py": {"wait", "_wait", "communicate", "_communicate", "_try_wait"},
    "_base.py": {"result"},
    "connection.py": {"_recv", "recv", "poll", "wait", "recv_bytes"},
    "popen_fork.py": {"wait", "poll"},
}

# What one frame's code is; a stack's verdict follows from all of them.
K_NONE, K_LOADER, K_GETS, K_MODULE, K_BACKWARD, K_OPTIMIZER, K_COMPILE, K_COLLECTIVE = range(8)
K_TORCH, K_IMPORT, K_LIBRARY, K_DATA, K_WAIT, K_OWN, K_JOIN = range(8, 15)
MEANT = frozenset({K_LOADER, K_GETS, K_MODULE, K_BACKWARD, K_OPTIMIZER, K_COMPILE, K_COLLECTIVE, K_DATA, K_OWN})
"""An import within which one of these runs is that: a module of the person's own may hold the whole training."""


class StackJudge:
    """Judges stacks; remembers what each function's code is."""

    def __init__(self, torch_file):
        self.torch = torch_file.rsplit("/", 1)[0] + "/"
        paths = sysconfig.get_paths()
        self.packages = tuple({paths[p] + "/" for p in ("purelib", "platlib") if p in paths})
        self.foreign = tuple({paths[p] + "/" for p in ("stdlib", "platstdlib") if p in paths}) + self.packages
        self.kinds = {}
        self.in_worker = False
        """Whether this process was seen to be a worker of a DataLoader."""
        self.trains = {}
        """Codes that were seen with a net at work within them: what they do is no input, whatever their name."""

    def kind(self, code):
        """Return what a frame of this code is."""
        found = self.kinds.get(code)
        if found is None:
            if len(self.kinds) > MOST_CODES:
                self.kinds.clear()
            found = self.kinds[code] = self.kind_of(code.co_filename, code.co_name)
        return found

    def kind_of(self, file, name):
        if file.startswith("<frozen importlib"):
            return K_IMPORT
        if file.startswith(self.torch):
            if name == "_worker_loop" and file.endswith("/utils/data/_utils/worker.py"):
                self.in_worker = True
            return torch_kind(file[len(self.torch) :], name)
        if LIBRARIES.search(file):
            return K_LIBRARY
        waiting = WAITING.get(file.rsplit("/", 1)[-1])
        if waiting is not None and name in waiting and file.startswith(self.foreign):
            return K_WAIT
        is_item = name in ("__getitem__", "__getitems__") and file.startswith(self.packages)
        if file.startswith("<frozen") or (file.startswith(self.foreign) and not is_item):
            return K_NONE
        return K_DATA if DATA.search(name) and not NO_DATA.search(name) else K_OWN

    def judge(self, frame):
        """Return what the stack does, whether within a DataLoader's ``__next__``, and the codes of the person's own."""
        kinds, inside, data, own, depth = set(), False, None, [], 0
        innermost = waits = importing = None
        while frame is not None and depth < DEEPEST:
            code = frame.f_code
            kind = self.kind(code)
            if depth == 0:
                innermost = kind
            if depth < 3 and kind == K_WAIT:
                waits = True
            if kind == K_IMPORT and kinds.isdisjoint(MEANT):
                importing = True
            if kind in (K_LOADER, K_GETS):
                inside = inside or code.co_name == "__next__"
            elif kind == K_DATA:
                data = code  # the outermost counts
            if kind in (K_DATA, K_OWN):
                own.append(code)
            kinds.add(kind)
            frame = frame.f_back
            depth += 1
        return IMPORT if importing else self.verdict(kinds, innermost, waits, data, own), inside, own

    def verdict(self, kinds, innermost, waits, data, own):
        if K_GETS in kinds:
            return WORKERS
        if K_LOADER in kinds:
            return INPUT
        if K_COMPILE in kinds:
            return COMPILE
        if K_JOIN in kinds:
            return TORCH
        for kind, what in (
            (K_COLLECTIVE, COLLECTIVE),
            (K_BACKWARD, BACKWARD),
            (K_OPTIMIZER, OPTIMIZER),
            (K_MODULE, MODEL),
        ):
            if kind in kinds:
                if what != COLLECTIVE and len(self.trains) < MOST_CODES:
                    for code in own:
                        self.trains[code] = True
                return what
        if data is not None:
            return FUNCTION + place(data)
        if K_LIBRARY in kinds:
            return LIBRARY
        if waits:
            return WAIT
        if innermost == K_TORCH:
            return TORCH
        return PYTHON

    def training_places(self):
        """Return the names of functions within which a net was seen at work."""
        return {FUNCTION + place(code) for code in list(self.trains)}


def torch_kind(file, name):
    """Return what a frame of torch's own is, by its file within the package."""
    if name == "<module>":
        return K_TORCH
    if file.startswith("utils/data/"):
        if file.endswith("/dataloader.py") and name in ("_try_get_data", "_get_data"):
            return K_GETS
        return K_LOADER if name != "__len__" else K_TORCH
    if file == "_dynamo/convert_frame.py" or file in ("_inductor/async_compile.py", "_inductor/cpp_builder.py"):
        return K_COMPILE
    if file == "_inductor/compile_fx.py" and COMPILERS.match(name):
        return K_COMPILE
    if file == "nn/modules/module.py" and name in ("_call_impl", "_wrapped_call_impl", "__call__"):
        return K_MODULE
    if file == "_tensor.py" and name == "backward":
        return K_BACKWARD
    if file in ("autograd/__init__.py", "autograd/graph.py") and name in ("backward", "grad", "_engine_run_backward"):
        return K_BACKWARD
    if file.startswith("optim/") or file == "amp/grad_scaler.py":
        return K_OPTIMIZER if name in ("step", "zero_grad", "unscale_") else K_TORCH
    if file == "distributed/distributed_c10d.py":
        return K_JOIN if name in JOINS else K_COLLECTIVE
    return K_TORCH


def place(code):
    """Return a function's name, file and line."""
    name = getattr(code, "co_qualname", code.co_name)
    return ("%s (%s:%d)" % (name, code.co_filename.rsplit("/", 1)[-1], code.co_firstlineno))[:160]


def frames():
    """Return the running frame of each thread."""
    return sys._current_frames()
