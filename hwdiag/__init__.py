"""hwdiag: guided diagnostics for Linux hosts that run PyTorch.

The packages; none imports one further down in this list::

    core        value types, text, errors, parameters
    host        What is this machine?  Root -> Host
    process     starting, supervising, reaping and observing processes
    agent       what runs inside the person's interpreter
    experiment  workloads, blocks of fresh processes, statistics, search
    catalogue   parts of other machines, every value with its source
    record      what was found, on disk
    report      sections, tables, figures, the page
    workbook    what all notebooks share
    audit, compat, compare, dataloader, devices, estimate, monitor, profile, tune
                one question each: what it measures, rules, show, emit, steps (of its notebook), verb
    diagnose    all of them in one run: composes the topics, which do not import each other
    api         hwdiag from Python
    cli         the command line

Importing this package imports nothing else; torch is never imported outside a child process. The functions of
``hwdiag.api`` are here by their names, and imported when they are first used.
"""

from typing import Any

__version__ = "0.1.0"

API = ("finding_rows", "load_record", "measurement_rows", "read_host", "run_diagnosis")


def __getattr__(name: str) -> Any:
    """Return a function of ``hwdiag.api``."""
    if name not in API:
        raise AttributeError(f"module 'hwdiag' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module("hwdiag.api"), name)
