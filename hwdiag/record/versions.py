"""Versions of the software that made a record."""

from __future__ import annotations

import contextlib
import platform
from importlib.metadata import PackageNotFoundError, version

from hwdiag import __version__

LIBRARIES = ("pydantic", "numpy", "scipy", "matplotlib", "psutil", "nvidia-ml-py", "papermill")


def versions() -> dict[str, str]:
    """Return the versions of hwdiag, of the Python it runs in, and of the libraries that figures depend on."""
    found = {"hwdiag": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
