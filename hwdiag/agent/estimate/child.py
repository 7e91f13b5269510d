"""The child: reads one JSON task from its standard input, writes one JSON object a line to its standard output.

Run by path under any interpreter that has torch; hwdiag need not be installed there. A task::

    {"parent": 4711, "do": "count", "specs": [{"net": "bert-large", "batch": 1, "phase": "prefill", ...}]}

Events: ``begin`` and ``done`` or ``failed`` for each spec, ``end``. What libraries print goes to standard error.
"""

import ctypes
import faulthandler
import importlib.util
import json
import os
import resource
import signal
import sys
import time
import warnings


def sibling(name):
    """A module beside this file, under a name that no other can have."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".py")
    found = importlib.util.spec_from_file_location("_hwdiag_" + name, path)
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def one_line(error):
    text = str(error).strip().splitlines()
    return text[0][:400] if text else ""


def peak_rss():
    """Bytes. getrusage's figure would be the parent's, where that was larger when it started this process."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [p for p in sys.path if os.path.abspath(p or ".") != here]
    faulthandler.enable()
    warnings.simplefilter("ignore")
    # The nets come from configurations: nothing is ever to be asked of the network.
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")
    lines = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def tell(event, **values):
        lines.write(json.dumps(dict(values, event=event)) + "\n")

    task = json.load(sys.stdin)
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG: die with the parent (prctl(2))
    os.kill(task["parent"], 0)
    tell("begin", workload="import torch")
    try:
        import torch
    except Exception as error:
        tell("failed", workload="import torch", kind="import-error", detail=one_line(error))
        return
    nets = sibling("nets")
    nets.import_transformers(task["specs"])
    if task["do"] == "count":
        work = sibling("counting").count
    else:
        work = getattr(sibling("timing"), task["do"])
    tell("applied", threads=torch.get_num_threads(), torch=str(torch.__version__))
    for n, spec in enumerate(task["specs"]):
        label = spec.get("net") or spec.get("kind")
        tell("begin", workload=label)
        started, used = time.perf_counter(), time.process_time()
        try:
            found = work(torch, nets, spec)
        except Exception as error:
            known = type(error).__name__ in ("Refused", "NotBuilt")
            detail = one_line(error) if known else "%s: %s" % (type(error).__name__, one_line(error))
            tell("failed", workload=label, index=n, kind="refused" if known else "error", detail=detail)
        else:
            took, used = time.perf_counter() - started, time.process_time() - used
            about = {"took_s": took, "cpu_s": used, "peak_rss": peak_rss()}
            tell("done", workload=label, index=n, found=found, **about)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    tell("end", cpu_s=usage.ru_utime + usage.ru_stime)


if __name__ == "__main__":
    main()
    sys.stderr.flush()
    os._exit(0)
