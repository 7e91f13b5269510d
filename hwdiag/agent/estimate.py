"""Counts what nets do, and times single operations and whole nets: one answer for each of the ``specs``."""

import importlib
import os
import time
import warnings

from . import net_building
from .channel import Ended
from .measure import peak_rss
from .torch_import import import_torch

KNOWN = ("Refused", "NotBuilt")
"""Exceptions that say in one line what is the matter."""


def each(channel, specs, module, function):
    """Do this with each spec: ``begin``, and ``done`` with ``found``, or ``failed``, with its ``index``."""
    warnings.simplefilter("ignore")
    # The nets come from configurations: nothing is ever to be asked of the network.
    os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", TRANSFORMERS_VERBOSITY="error")
    torch = import_torch(channel)
    if torch is None:
        raise Ended
    net_building.import_transformers(specs)
    work = getattr(importlib.import_module("." + module, __package__), function)
    for n, spec in enumerate(specs):
        label = spec.get("net") or spec.get("kind")
        channel.tell("begin", workload=label)
        started, used = time.perf_counter(), time.process_time()
        try:
            found = work(torch, spec)
        except Exception as error:
            known = type(error).__name__ in KNOWN
            detail = one_line(error) if known else "%s: %s" % (type(error).__name__, one_line(error))
            channel.tell("failed", workload=label, index=n, kind="refused" if known else "error", detail=detail)
        else:
            took, used = time.perf_counter() - started, time.process_time() - used
            about = {"took_s": took, "cpu_s": used, "peak_rss": peak_rss()}
            channel.tell("done", workload=label, index=n, found=found, **about)


def one_line(error):
    """Return what it says, without its type."""
    text = str(error).strip().splitlines()
    return text[0][:400] if text else ""


def count(channel, specs):
    """Count the operations of nets."""
    each(channel, specs, "counting", "count")


def time_operations(channel, specs):
    """Time single operations."""
    each(channel, specs, "timing", "operation")


def time_nets(channel, specs):
    """Time whole nets."""
    each(channel, specs, "timing", "net")


VERBS = {"count": count, "time_operations": time_operations, "time_nets": time_nets}
