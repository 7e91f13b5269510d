"""The drawing of every dump, and of machines of 2 to 512 CPUs, can be read."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from hwdiag.host import Root, read_host
from hwdiag.host.archive import Archive, Manifest
from hwdiag.host.model import Host
from hwdiag.report.topology import draw_topology
from tests.report import test_topology as looks

from .conftest import DUMPS
from .test_host_fuzz import many

NAMES = sorted(p.name.removesuffix(".tar.gz") for p in DUMPS.glob("*.tar.gz"))
ABSENT = pytest.param("", marks=pytest.mark.skip(f"no dumps of real machines in {DUMPS}"))
DRAWING = Path(__file__).parents[2] / "docs" / "dgx-spark.svg"


def legible(host: Host) -> None:
    """Nothing overlaps, nothing is outside, nothing is smaller than print, and it fits a page."""
    looks.test_everything_lies_inside_the_picture(host)
    looks.test_texts_do_not_overlap(host)
    if host.cpu.logical:
        looks.test_every_cpu_is_numbered_or_in_a_range(host)
    root = ET.fromstring(draw_topology(host).svg)
    assert all(float(t.get("font-size", 0)) >= 10 for t in root.iter(f"{looks.SVG}text"))
    assert float(root.get("width", 0)) <= 944
    assert float(root.get("height", 0)) <= 1400


@pytest.mark.parametrize("name", NAMES or [ABSENT])
def test_every_dump(name: str, unpacked: Callable[[str], Path]) -> None:
    legible(read_host(Root.directory(unpacked(name))))


@pytest.mark.parametrize("cpus", [2, 8, 64, 128, 130, 256, 512])
def test_from_2_to_512_cpus(cpus: int) -> None:
    host = read_host(Archive(Manifest(made_by="test", made_at="2026-11-20T10:00:00Z"), many(cpus)))
    assert len(host.cpu.online) == cpus
    legible(host)


def test_the_readmes_drawing_is_todays(unpacked: Callable[[str], Path]) -> None:
    """Made again by: hwdiag host --snapshot FOLDER --drawing docs/dgx-spark.svg"""
    host = read_host(Root.directory(unpacked("dgx-spark-gb10")))
    assert draw_topology(host).svg + "\n" == DRAWING.read_text()
