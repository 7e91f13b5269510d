"""Guests for the tests of any room. Mark what uses them ``vm``, or ``vm_long`` beyond half a minute."""

from __future__ import annotations

import compileall
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.vm.guest import Guest, Machine
from tests.vm.image import NoGuestError, image

ROOT = Path(__file__).resolve().parents[2]

StartGuest = Callable[[Machine], Guest]


def own_python() -> tuple[Path, ...]:
    """The shares that a guest needs to run this Python, its packages and hwdiag, by the paths that they have here."""
    wanted = {ROOT, Path(sys.prefix), Path(sys.base_prefix)} - {Path("/usr")}  # the guest has this release's own
    return tuple(sorted(path for path in wanted if not wanted & set(path.parents)))


@pytest.fixture(scope="session")
def start_guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartGuest]:
    """Starts a guest of one's own; it ends with the session, or when the test kills it."""
    try:
        built = image()
    except NoGuestError as error:
        pytest.skip(str(error))
    guests: list[Guest] = []

    def start(machine: Machine) -> Guest:
        guests.append(Guest(machine, tmp_path_factory.mktemp("guest"), built))
        return guests[-1].start()

    yield start
    for guest in guests:
        guest.kill()


@pytest.fixture(scope="session")
def guest(start_guest: StartGuest) -> Guest:
    """The guest that all tests of a session share: two nodes of two CPUs with AVX and without AVX2, frequencies, idle
    states, five kinds of disk, and this Python with hwdiag. Leave it as you found it."""
    compileall.compile_dir(ROOT / "hwdiag", quiet=2)  # the guest cannot write here, and takes seconds each time
    return start_guest(Machine(shares=own_python()))
