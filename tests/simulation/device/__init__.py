"""A GPU that is not there: torch's Python-only backend ``sim``, values computed on the CPU, time from a model.

``profiles`` says what each card does, ``model`` when its queues have done it, ``cost`` how long an operation takes,
``tensors`` runs operations on the CPU, ``backend`` makes it a device of torch. ``start/sitecustomize.py`` installs it
in every Python that is started with that folder at the front of PYTHONPATH and ``HWDIAG_SIM_DEVICE`` set.
"""

from pathlib import Path

START = Path(__file__).with_name("start")
"""For the front of PYTHONPATH."""
