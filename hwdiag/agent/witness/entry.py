"""Entry of the witness as ``sitecustomize``: it waits for torch to be imported, and runs the sitecustomize that it
hides.

Processes that never import torch pay for nothing but this file.
"""

import os
import sys

TASK = "HWDIAG_WITNESS"


class WaitForTorch:
    """A finder on ``sys.meta_path`` that has ``then(torch)`` called once torch was imported, and is gone."""

    def __init__(self, then):
        self.then = then

    def find_spec(self, name, path=None, target=None):
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = None
        for finder in sys.meta_path:
            spec = finder.find_spec(name, path, target) if hasattr(finder, "find_spec") else None
            if spec is not None:
                break
        if spec is None or not hasattr(spec.loader, "exec_module"):
            return spec
        loader = spec.loader
        load = loader.exec_module

        def exec_module(module):
            del loader.exec_module
            load(module)
            try:
                self.then(module)
            except Exception:  # a torch that cannot be looked at runs on without
                pass

        loader.exec_module = exec_module
        return spec


def is_helper():
    """Return whether multiprocessing started this process for itself: a resource tracker, a server that forks."""
    argv = getattr(sys, "orig_argv", None)
    if argv is None:
        with open("/proc/self/cmdline", errors="replace") as file:
            argv = file.read().split("\0")
    words = " ".join(argv)
    return "-c" in argv and "multiprocessing" in words and "spawn_main" not in words


def inject():
    folder = os.path.dirname(os.path.abspath(__file__))
    try:
        import _hwdiag_witness  # noqa: F401  (while the folder can be searched)

        if not is_helper():
            sys.meta_path.insert(0, WaitForTorch(imported))
            begun(folder)
    except Exception:
        pass
    for path in [p for p in sys.path if os.path.abspath(p) == folder]:
        sys.path.remove(path)
    mine = sys.modules.pop("sitecustomize")
    try:
        import sitecustomize  # noqa: F401
    except ImportError as error:
        if error.name != "sitecustomize":
            raise  # the person's own fails: Python tells of it, as it would without this one
    finally:
        sys.modules.setdefault("sitecustomize", mine)


def begun(folder):
    """Leave word that a Python process began, with its command line."""
    import time

    name = "hwdiag_%d.%d.started" % (os.getpid(), time.time_ns())
    argv = list(getattr(sys, "orig_argv", None) or sys.argv)[:40]
    with open(os.path.join(told_folder(), name), "w", errors="replace") as file:
        file.write("\0".join(str(word)[:1000] for word in argv))


def told_folder():
    import json

    return json.loads(os.environ[TASK])["folder"]


def imported(torch):
    """torch is there."""
    from _hwdiag_witness.main import begin

    begin(torch)


if __name__ == "sitecustomize" and TASK in os.environ:
    inject()
