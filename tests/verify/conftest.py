"""Records of hosts that are like this one, or like a simulated one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hwdiag.host.identity import identity_of
from hwdiag.host.model import Host
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.record.model import Record
from hwdiag.record.store import load, save

EXAMPLE = Path(__file__).parents[2] / "outputs" / "example"


@pytest.fixture(scope="session")
def here() -> Host:
    return read_host(Root.live())


@pytest.fixture(scope="session")
def example() -> Record:
    return load(EXAMPLE)


@pytest.fixture(scope="session")
def record_of(example: Record) -> Callable[[Host], Record]:
    """Makes the example's record one of another host, with this Python."""

    def make(host: Host) -> Record:
        python = example.software.model_copy(update={"python": sys.executable})
        made = example.model_copy(update={"host": host, "name": host.system.hostname, "software": python})
        made.__dict__["identity"] = identity_of(host)
        return made

    return make


@pytest.fixture
def recorded(tmp_path: Path, here: Host, record_of: Callable[[Host], Record]) -> Path:
    """Returns the folder of a record that this host is."""
    folder = tmp_path / "recorded"
    folder.mkdir()
    save(record_of(here), folder)
    return folder
