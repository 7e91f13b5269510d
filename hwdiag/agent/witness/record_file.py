"""Calls what ``build()`` of a file gives, warm, as often as fits the time and the events, and records that.

Run by path: ``record_file.py FILE``, with the task in ``HWDIAG_WITNESS`` as for the witness.
"""

import importlib.util
import json
import os
import sys
import time

FOLDER = os.path.dirname(os.path.abspath(__file__))
NAME = "_hwdiag_witness"
PER_EVENT = 3
"""Events of the trace for each that the profiler counts: what it allocates and frees comes on top."""
WARM_S = 1.0
"""Seconds of calls that are not recorded."""


def load_package():
    """Make this folder the package ``_hwdiag_witness``, and keep its modules from hiding anybody else's."""
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != FOLDER]
    where = os.path.join(FOLDER, "__init__.py")
    spec = importlib.util.spec_from_file_location(NAME, where, submodule_search_locations=[FOLDER])
    package = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = package
    spec.loader.exec_module(package)


def run_file(path):
    """Record the calls of what the file's ``build()`` gives."""
    from _hwdiag_witness import TASK
    from _hwdiag_witness.main import ProcessWitness

    task = json.loads(os.environ[TASK])
    try:
        import torch
    except ImportError as error:
        name = os.path.join(task["folder"], "hwdiag_%d.%d.report.json" % (os.getpid(), time.time_ns()))
        with open(name, "w") as file:
            json.dump({"pid": os.getpid(), "state": "failed", "error": "torch cannot be imported: %s" % error}, file)
        return
    witness = ProcessWitness(task, torch)
    try:
        call(witness, path)
    except BaseException as error:
        name = os.path.basename(path)
        witness.tell(state="failed", error="%s fails: %s: %s" % (name, type(error).__name__, error))
        raise


def call(witness, path):
    import runpy

    torch, recorder = witness.torch, witness.recorder
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    build = runpy.run_path(path).get("build")
    if not callable(build):
        raise AttributeError("it has no function build()")
    work = build()
    work = work[0] if isinstance(work, tuple) else work
    began, calls = time.monotonic(), 0
    while calls < 3 or (time.monotonic() - began < WARM_S and calls < 1000):
        work()
        calls += 1
    seconds = (time.monotonic() - began) / calls
    with torch.autograd.profiler.profile(use_kineto=True, profile_memory=True) as probe:
        work()
    each = max(1, PER_EVENT * len(probe.kineto_results.events()))
    steps = max(1, min(int(recorder.seconds / seconds), int(witness.task["record"]["events"]) // each, 1000))
    recorder.start()
    for step in range(steps):
        with torch.autograd.profiler.record_function("ProfilerStep#%d" % step):
            work()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    witness.told["steps"] = steps
    recorder.end("its end")


if __name__ == "__main__":
    load_package()
    run_file(sys.argv[1])
