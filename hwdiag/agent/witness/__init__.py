"""Witness that looks at a person's Python process from inside. Standard library and torch only, any Python from 3.8 on.

A folder at the front of PYTHONPATH holds ``sitecustomize.py``, a copy of ``entry.py``, and this package as
``_hwdiag_witness``. ``HWDIAG_WITNESS`` holds the task as JSON; each instrument is there or null::

    {"folder": ..., "record": {"seconds": 4, ...}, "sample": {"rate": 100}, "look": {"most": 1000000}}

Each process that imports torch leaves ``NAME.report.json`` in the folder, written anew every few seconds, so that one
that is killed leaves what was seen until then, and ``NAME.pt.trace.json`` where it was recorded.

The person's program must not notice any of it: every error is swallowed, nothing is printed, no random number is drawn
from a shared generator, no result changes. Its own thread is not known to ``threading``, and ends with the process.
"""

TASK = "HWDIAG_WITNESS"
THREAD = "hwdiag-witness"
"""Name of its thread, for those who look from outside."""
