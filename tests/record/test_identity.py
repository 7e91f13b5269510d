"""Two machines never become one host, and one machine stays one."""

from __future__ import annotations

from typing import Any

import pytest

from hwdiag.compare.compare import by_host
from hwdiag.record.row import RecordRow, row_of
from tests.compare.test_compare import record, row
from tests.record.test_old import OLD


def hosts(*values: dict[str, Any]) -> int:
    return len(by_host([row(v) for v in values]))


XEON = {"cpu__model": "Intel(R) Xeon(R) Platinum 8490H", "cpu__family": "6/143/8", "cpu__cores": 60}


def test_a_clone_of_the_disk_on_another_cpu_is_another_host() -> None:
    """An EPYC and a Xeon with one machine id became "2 records of 1 host"."""
    assert hosts(record(), record(**XEON)) == 2
    assert hosts(record(), record(cpu__family="25/17/1")) == 2


@pytest.mark.parametrize(
    "other",
    [
        {"name": "renamed", "system__hostname": "renamed"},
        {"system__kernel": "7.1", "system__boot_id": "x", "system__cmdline": "crashkernel=1G"},
        {"memory__total_bytes": 25276510208 - (300 << 20)},
        {"started_at": "2027-01-01T00:00:00Z"},
    ],
)
def test_a_renamed_or_updated_machine_stays_one_host(other: dict[str, Any]) -> None:
    assert hosts(record(), record(**other)) == 1


@pytest.mark.parametrize("other", [{"memory__total_bytes": 2 * 25276510208}, {"system__product": "X"}])
def test_other_memory_or_another_product_is_another_host(other: dict[str, Any]) -> None:
    assert hosts(record(), record(**other)) == 2


def test_containers_without_an_id_are_told_apart_by_their_names() -> None:
    first = record(name="a", system__machine_hash=None)
    assert hosts(first, record(name="a", system__machine_hash=None)) == 1
    assert hosts(first, record(name="b", system__machine_hash=None)) == 2
    assert hosts(first, record(name="a")) == 2


def test_what_knows_nothing_of_its_machine_is_a_host_of_its_own() -> None:
    """Files of the older formats, which name a CPU at best."""
    data = (OLD / "devices.json").read_bytes()
    rows = [row_of(data, place) for place in ("a/devices.json", "b/devices.json")]
    assert len(by_host([r for r in rows if isinstance(r, RecordRow)])) == 2
