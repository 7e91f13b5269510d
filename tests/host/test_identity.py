"""Which hosts are one machine: a clone on other hardware is not, a new name or kernel changes nothing."""

from __future__ import annotations

from typing import Any

import pytest

from hwdiag.host.identity import identity_of, same_memory
from hwdiag.host.model import Host
from tests.conftest import make_host


def changed(host: Host, **parts: dict[str, Any]) -> Host:
    """The host with some facts of its parts changed."""
    return host.model_copy(
        update={name: getattr(host, name).model_copy(update=values) for name, values in parts.items()}
    )


@pytest.mark.parametrize(
    "other",
    [
        {"cpu": {"model": "Intel(R) Xeon(R) Platinum 8490H"}},
        {"cpu": {"family": "6/143/8"}},
        {"cpu": {"sockets": 7}},
        {"cpu": {"cores": 77}},
        {"cpu": {"online": tuple(range(64))}},
        {"system": {"product": "Supermicro X13"}},
        {"system": {"machine_hash": "b" * 64}},
    ],
)
def test_a_clone_on_other_hardware_is_another_machine(other: dict[str, Any]) -> None:
    host = make_host()
    assert identity_of(changed(host, **other)).key != identity_of(host).key


@pytest.mark.parametrize(
    "other",
    [
        {"system": {"hostname": "renamed"}},
        {"system": {"kernel": "7.1", "boot_id": "x", "cmdline": "crashkernel=512M", "distribution": "Debian 14"}},
        {"cpu": {"governor": "performance", "boost": False}},
        {"memory": {"available_bytes": 1, "swap_total_bytes": 1 << 30}},
    ],
)
def test_a_renamed_or_updated_machine_stays_one(other: dict[str, Any]) -> None:
    host = make_host()
    assert identity_of(changed(host, **other)) == identity_of(host)


def test_cpus_that_are_offline_are_still_there() -> None:
    host = changed(make_host(), cpu={"online": tuple(range(16)), "offline": (), "cores": 8})
    one_core_off = changed(host, cpu={"online": (0, *range(2, 8), *range(9, 16)), "offline": (1, 8), "cores": 7})
    smt_off = changed(host, cpu={"online": tuple(range(8)), "offline": tuple(range(8, 16)), "cores": 8})
    assert identity_of(one_core_off).key == identity_of(smt_off).key == identity_of(host).key


def test_what_a_kernel_reserves_of_the_memory_does_not_matter() -> None:
    gib = 1 << 30
    assert same_memory(62 * gib, 62 * gib - (8 << 20))
    assert same_memory(64 * gib, 62 * gib)
    assert not same_memory(64 * gib, 48 * gib)
    assert not same_memory(64 * gib, None)
    assert same_memory(None, None)


def test_it_is_read_from_a_record_of_any_schema_as_from_a_host() -> None:
    host = make_host()
    assert identity_of(host.model_dump(mode="json")) == identity_of(host)
    assert identity_of({}).machine is None
