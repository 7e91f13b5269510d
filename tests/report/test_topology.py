"""The topology drawing shows every part of the host, on any host."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from hwdiag.host.model import Host, Limits
from hwdiag.report.topology import NUMBERED, draw_topology
from tests.report.samples import HOSTILE, dual_host, huge_host, hybrid_host, make_cpu, make_host, tiny_host

SVG = "{http://www.w3.org/2000/svg}"


def parse(host: Host) -> ET.Element:
    return ET.fromstring(draw_topology(host).svg)


def texts(root: ET.Element) -> list[str]:
    return [t.text or "" for t in root.iter(f"{SVG}text")]


def test_says_what_it_is(host):
    root = parse(host)
    assert root.get("role") == "img"
    assert [child.tag for child in root[:2]] == [f"{SVG}title", f"{SVG}desc"]
    assert root.get("aria-labelledby") == f"{root[0].get('id')} {root[1].get('id')}"


def test_every_cpu_is_numbered_or_in_a_range(host):
    shown = texts(parse(host))
    if len(host.cpu.online) <= NUMBERED:
        assert sorted(int(t) for t in shown if t.isdigit()) == list(host.cpu.online)
    else:
        ranges = [t.removeprefix("CPUs ") for t in shown if t.startswith("CPUs ")]
        assert sorted(c for r in ranges for c in expand(r)) == list(host.cpu.online)


def expand(text: str) -> list[int]:
    return [i for part in text.split(",") for a, _, b in [part.partition("-")] for i in range(int(a), int(b or a) + 1)]


def test_everything_lies_inside_the_picture(host):
    root = parse(host)
    width, height = float(root.get("width", 0)), float(root.get("height", 0))
    for rect in root.iter(f"{SVG}rect"):
        x, y = float(rect.get("x", 0)), float(rect.get("y", 0))
        assert min(x, y) >= 0
        assert x + float(rect.get("width", 0)) <= width
        assert y + float(rect.get("height", 0)) <= height


def test_texts_do_not_overlap(host):
    """Texts on one line: none begins before the one to its left has ended."""
    lines: dict[str, list[tuple[float, float, str]]] = {}
    for t in parse(host).iter(f"{SVG}text"):
        width = len(t.text or "") * float(t.get("font-size", 0)) * 0.6
        x = float(t.get("x", 0)) - {"middle": width / 2, "end": width}.get(t.get("text-anchor", ""), 0)
        lines.setdefault(t.get("y", ""), []).append((x, x + width, t.text or ""))
    for line in lines.values():
        for left, right in pairwise(sorted(line)):
            assert left[1] <= right[0] + 0.5, (left, right)


def test_no_colour_alone_for_cpus_that_may_not_be_used():
    root = parse(dual_host())
    hatched = [r for r in root.iter(f"{SVG}rect") if r.get("fill") == "url(#topology-hatch)"]
    assert len(hatched) == 4 + 1, "four CPUs and the legend"
    assert all(r.get("stroke-dasharray") for r in hatched)
    assert "4 CPUs that this process may not use" in texts(root)
    assert not any("may not use" in t for t in texts(parse(tiny_host())))


def test_kinds_of_cores_are_named():
    assert {"P-core × 8, up to 5.8 GHz", "E-core × 16, up to 4.3 GHz"} <= set(texts(parse(hybrid_host())))


def test_sockets_nodes_caches_gpus_and_disks_are_there():
    shown = texts(parse(dual_host()))
    for text in ("Socket 0", "Socket 1", "NUMA node 0", "NUMA node 1", "128 GiB", "L3 24 MiB"):
        assert text in shown
    assert "sda: SATA hard disk, 4 TB" in shown
    assert "GPU 0: NVIDIA GeForce RTX 3060" in shown


def test_a_cache_of_unknown_size():
    cpu = make_cpu(1, 2, 1)
    caches = tuple(c.model_copy(update={"size_bytes": 0}) for c in cpu.caches)
    assert "L3 of unknown size" in texts(parse(make_host("phone", cpu.model_copy(update={"caches": caches}), 8)))


def test_nodes_without_cpus():
    shown = texts(parse(huge_host()))
    assert "NUMA node 8, memory only" in shown
    assert not any("NUMA node 9" in t for t in shown), "a node without CPUs and without memory is nothing to see"


def test_alt_has_the_numbers():
    figure = draw_topology(dual_host())
    for words in ("2 sockets", "24 cores", "48 CPUs", "may use 44", "CPUs 12-23,36-47, 128 GiB", "RTX 3060, 12 GiB"):
        assert words in figure.alt
    assert str(figure) == repr(figure) == figure.alt


def test_hostile_names_stay_text():
    cpu = make_cpu(1, 2, 1, model=HOSTILE)
    figure = draw_topology(make_host(HOSTILE, cpu, 8))
    assert "<script" not in figure.svg
    assert "\x1b" not in figure.svg
    assert "<script" not in figure.to_html()
    assert "script" in figure.alt, "but the name can be read"


def test_no_more_than_is_known():
    bare = make_host("bare", make_cpu(1, 1, 1, nodes_per_socket=0, caches=()), 1, disks=())
    assert "shared cache unknown" in texts(parse(bare))
    nothing = make_host("nothing", make_cpu(1, 1, 1, logical=(), caches=(), online=(0,)), 1, numa=())
    assert "Which CPU belongs to which core is unknown." in texts(parse(nothing))


@pytest.mark.parametrize("sockets", [8, 64])
def test_a_socket_for_every_core_is_one_box(sockets):
    host = make_host("vm", make_cpu(sockets, 1, 1, nodes_per_socket=0), 16)
    shown = texts(parse(host))
    assert f"{sockets} sockets of one core each" in shown
    assert "L3 2 MiB per core" in shown


def test_offline_and_forbidden():
    cpu = make_cpu(1, 4, 1, offline=(4, 5))
    shown = texts(parse(make_host("half", cpu, 8, limits=Limits(allowed=(0, 1), mems=()))))
    assert "Offline, not drawn: CPUs 4-5" in shown
    assert "8 GiB, not allowed" in shown


def test_same_host_same_bytes(host):
    assert draw_topology(host).svg == draw_topology(host.model_copy(deep=True)).svg


def test_a_large_host_stays_small():
    figure = draw_topology(huge_host())
    assert len(figure.svg) < 120_000
    assert not re.search(r"(?:https?:)?//(?!www\.w3\.org/2000/svg)", figure.svg)
