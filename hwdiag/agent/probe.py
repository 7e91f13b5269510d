"""Imports one package, tries its operations, and tells what killed the process. Standard library only.

``probe.run`` gives ``begin`` and ``done`` or ``failed`` per stage (``import``, ``extensions``, ``torch-matmul``,
``libraries``); in between there may be one ``crash``. Of the stage ``libraries`` each file that is not in memory yet
has a ``trying`` and, where it cannot be loaded, an ``unloaded``.
"""

import ctypes
import importlib
import os
import sys
import time

from .applied import mapped_files
from .channel import one_line
from .crash_witness import CrashWitness
from .operations import OPERATIONS


def import_all(names):
    """Import the package and the modules that it names, and return those that were left out: they may need what is not
    installed."""
    importlib.import_module(names[0])
    return load_optional(names[1:])


def load_optional(names):
    """Import the modules that are not imported yet, and return those that raised. Such a module may be optional; only
    its death counts."""
    skipped = []
    for name in names:
        if name in sys.modules:
            continue
        try:
            importlib.import_module(name)
        except BaseException as error:
            skipped.append("%s (%s)" % (name, one_line(error)))
    return skipped


def load_libraries(channel, paths):
    """Load each shared object by itself that nothing has loaded so far, all its symbols resolved (dlopen(3))."""
    for path in paths:
        if os.path.realpath(path) in mapped_files():
            continue
        channel.tell("trying", library=path)
        try:
            ctypes.CDLL(path)
        except OSError as error:
            channel.tell("unloaded", library=path, detail=one_line(error))


def stages(channel, imports, extensions, operations, libraries):
    if imports:
        yield "import", lambda: import_all(imports)
    if extensions:
        yield "extensions", lambda: load_optional(extensions)
    for name in operations:
        yield name, OPERATIONS[name][1]
    if libraries:
        yield "libraries", lambda: load_libraries(channel, libraries)


def run(channel, imports, extensions=(), operations=(), libraries=()):
    """Go through all stages; a package that cannot be imported has no others."""
    witness = CrashWitness(channel.tell)
    channel.tell("ready", note=witness.install())
    for name, work in stages(channel, imports, extensions, operations, libraries):
        channel.tell("begin", stage=name)
        witness.install()  # again: the stage before may have brought a handler of its own
        start = time.perf_counter()
        try:
            skipped = work()
        except BaseException as error:  # SystemExit and KeyboardInterrupt too: a package that wants to leave
            channel.tell("failed", stage=name, kind=type(error).__name__, detail=one_line(error))
            if name == "import":
                break
        else:
            channel.tell("done", stage=name, seconds=time.perf_counter() - start, skipped=skipped or [])


VERBS = {"run": run}
