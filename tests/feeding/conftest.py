"""Pictures that are made once, Datasets that misbehave in chosen ways, and a child that asks about them."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from hwdiag.feeding.child import Feeder
from hwdiag.feeding.pictures import make_pictures

HEAD = """
import os, signal, threading, time
import torch

class Data:
    def __len__(self):
        return 64
"""


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 24 of them."""
    folder = tmp_path_factory.mktemp("pictures")
    make_pictures(folder, 24)
    return folder


@pytest.fixture
def dataset_file(tmp_path: Path) -> Callable[[str], str]:
    """Writes a file whose ``build_dataset()`` gives a Dataset with this ``__getitem__``."""

    def write(body: str, head: str = HEAD) -> str:
        path = tmp_path / "my_dataset.py"
        getter = "    def __getitem__(self, index):\n" + textwrap.indent(textwrap.dedent(body), "        ")
        path.write_text(f"{head}\n{getter}\n\ndef build_dataset():\n    return Data()\n")
        return str(path)

    return write


@pytest.fixture
def feeder() -> Iterator[Feeder]:
    """A child; when it is gone, nothing that it started is left."""
    before = set(psutil.Process().children(recursive=True))
    with Feeder(sys.executable) as child:
        yield child
    left = [p for p in psutil.Process().children(recursive=True) if p not in before and p.status() != "zombie"]
    strays = [
        p
        for p in psutil.process_iter(["cmdline"])
        if "hwdiag/feeding/inside/child.py" in " ".join(p.info["cmdline"] or [])
    ]
    assert left == []
    assert [p for p in strays if p.ppid() == 1] == []
