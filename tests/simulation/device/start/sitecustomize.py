"""Installs the simulated GPUs when torch has been imported, in every Python that has this folder on its path."""

import os
import sys
from pathlib import Path

if os.environ.get("HWDIAG_SIM_DEVICE"):
    sys.path.insert(0, str(Path(__file__).resolve().parents[4]))
    from hwdiag.agent import switch_at_start

    def install(_):
        from tests.simulation.device.backend import install_from_environment

        install_from_environment()

    switch_at_start.switch = install
    sys.meta_path.insert(0, switch_at_start.Finder())
