"""Switches of torch for a program that nobody changes. Standard library and torch only, any Python.

Copied as ``sitecustomize.py`` into a folder at the front of PYTHONPATH. Variables HWDIAG_SWITCH_... name what to
switch, when torch has been imported. Another ``sitecustomize`` that lies behind it is run all the same. What fails is
said on the standard error once, and the program goes on without it.
"""

import importlib.abc
import importlib.machinery
import os
import sys

SWITCH = "HWDIAG_SWITCH_"


def matmul_bf16(torch):
    torch.set_float32_matmul_precision("medium")
    for name in ("matmul", "conv", "rnn"):
        part = getattr(torch.backends.mkldnn, name, None)
        if hasattr(part, "fp32_precision"):
            part.fp32_precision = "bf16"


def tf32(torch):
    torch.set_float32_matmul_precision("high")


def cudnn_benchmark(torch):
    torch.backends.cudnn.benchmark = True


def flush_denormals(torch):
    if not torch.set_flush_denormal(True):
        raise RuntimeError("this torch cannot flush denormal numbers on this CPU")


def autocast_bf16(torch):
    """Enter autocast for what the main thread computes, for as long as the program runs."""
    torch.autocast("cpu", dtype=torch.bfloat16).__enter__()


SWITCHES = {
    "matmul-bf16": matmul_bf16,
    "tf32": tf32,
    "cudnn-benchmark": cudnn_benchmark,
    "flush-denormals": flush_denormals,
    "autocast-bf16": autocast_bf16,
}


def wanted():
    """Return what this process is asked to switch."""
    return [value for name, value in sorted(os.environ.items()) if name.startswith(SWITCH) and value in SWITCHES]


def switch(torch):
    """Do all that is asked for."""
    for name in wanted():
        try:
            SWITCHES[name](torch)
        except Exception as error:
            sys.stderr.write("hwdiag: %s is not in this torch (%s): %s\n" % (name, torch.__version__, error))


class TorchLoader(importlib.abc.Loader):
    """The loader of torch, which says when it is done."""

    def __init__(self, loader):
        self.loader = loader

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        self.loader.exec_module(module)
        switch(module)

    def __getattr__(self, name):
        return getattr(self.loader, name)


class Finder(importlib.abc.MetaPathFinder):
    """Waits for torch to be imported, once."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            spec.loader = TorchLoader(spec.loader)
        return spec


def run_next():
    """Run the ``sitecustomize`` that this one hides, as Python would have."""
    here = os.path.dirname(os.path.abspath(__file__))
    behind = [p for p in sys.path if os.path.abspath(p or ".") != here]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", behind)
    if spec is not None and spec.loader is not None:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)


if __name__ == "sitecustomize":
    import importlib.util

    if wanted():
        sys.meta_path.insert(0, Finder())
    run_next()
