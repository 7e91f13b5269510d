"""Pictures that are made once, Datasets that misbehave in chosen ways, and a child that asks about them."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from hwdiag.dataloader.child import Feeder
from hwdiag.dataloader.pictures import make_pictures

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


@pytest.fixture(scope="session")
def one_child() -> Iterator[Feeder]:
    """torch is imported once for all tests; nothing of it is left at the end."""
    with Feeder(sys.executable) as child:
        yield child
    assert [p for p in psutil.Process().children(recursive=True) if is_feeder(p)] == []


@pytest.fixture
def feeder(one_child: Feeder) -> Iterator[Feeder]:
    """A child that waits for questions; when a test ends, all that it started for it is gone."""
    yield one_child
    running = [p for p in psutil.Process().children(recursive=True) if is_feeder(p)]
    assert [below for p in running for below in p.children(recursive=True) if below.status() != "zombie"] == []


def is_feeder(process: psutil.Process) -> bool:
    return any("agent/main.py" in word for word in process.cmdline())
