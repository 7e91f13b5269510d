"""The child: the agent's worker with more builders, for kernels of every device and for nets under techniques.

Run by path under any interpreter that has torch; it takes the worker and the nets from their files beside this
package. ``HWDIAG_TECHNIQUES`` names the techniques that this process uses, ``HWDIAG_MEMORY_LIMIT`` the bytes that it
may take beside what it has when a workload is begun.
"""

import importlib.util
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOM = os.path.dirname(HERE)


def load(name, *where):
    """A module by its file, under a name that no other can have."""
    found = importlib.util.spec_from_file_location("_hwdiag_" + name, os.path.join(*where))
    module = importlib.util.module_from_spec(found)
    sys.modules[found.name] = module
    found.loader.exec_module(module)
    return module


worker = load("worker", ROOM, "worker.py")
kernels = load("kernels", HERE, "kernels.py")
tasks = load("tasks", HERE, "tasks.py")


def describe(torch):
    """Every device that torch can use, and why it cannot where it was built for more."""
    return {**worker.describe_software(torch), "devices": accelerators(torch)}


def accelerators(torch):
    """The accelerators, of whichever maker."""
    module = getattr(torch, "accelerator", None)
    if module is None:
        kind, count = "cuda", torch.cuda.device_count() if torch.cuda.is_available() else 0
    elif module.is_available():
        kind, count = module.current_accelerator().type, module.device_count()
    else:
        return []
    return [about(getattr(torch, kind), "%s:%d" % (kind, index), index) for index in range(count)]


def about(backend, device, index):
    """One of them; what its backend does not tell is None."""
    get = getattr(backend, "get_device_properties", None)
    known = get(index) if get else None
    major, minor = getattr(known, "major", None), getattr(known, "minor", None)
    return {
        "name": device,
        "title": str(getattr(known, "name", device)),
        "memory_bytes": getattr(known, "total_memory", None),
        "unified_memory": bool(getattr(known, "is_integrated", False)),
        "capability": None if major is None or minor is None else "%d.%d" % (major, minor),
    }


def main():
    sys.path[:] = [p for p in sys.path if os.path.abspath(p or ".") != HERE]
    builders = {**worker.BUILDERS, **kernels.builders(worker), **tasks.builders(worker, load, ROOM, HERE)}
    worker.main(builders, describe)


if __name__ == "__main__":
    main()
    sys.stderr.flush()
    os._exit(0)
