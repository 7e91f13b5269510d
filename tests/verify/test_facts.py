"""Facts beside a record: what is a cause, of what weight, and what is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hwdiag.host.model import Gap, Gpu, Host, Isa
from hwdiag.record.model import Record
from hwdiag.record.verification import VerdictCause
from hwdiag.verify.facts import another_machine, changes
from hwdiag.verify.look import compared
from tests.conftest import make_host

Make = Callable[[Host], Record]


def host(**parts: dict[str, Any]) -> Host:
    """Return a host of two nodes with a GPU, with some fields changed: ``cpu={"governor": "powersave"}``."""
    isa = Isa(level="x86-64-v3", features=("AVX2", "FMA"), missing=())
    gpu = Gpu(index=0, name="H200", pcie_max_width=16, power_limit_w=700.0, driver="570")
    whole = make_host(nodes=2)
    cpu = whole.cpu.model_copy(update={"governor": "performance", "isa": isa})
    whole = whole.model_copy(update={"cpu": cpu, "gpus": (gpu,)})
    system = whole.system.model_copy(update={"kernel": "6.1.0"})
    whole = whole.model_copy(update={"system": system})
    for name, values in parts.items():
        part = getattr(whole, name)
        whole = whole.model_copy(update={name: part.model_copy(update=values)})
    return whole


def causes(record_of: Make, now: Host) -> dict[str, str]:
    """Return the status of each cause, by its id."""
    found, checks, _ = compared(record_of(host()), now)
    assert bool(found) != bool(checks)  # one or the other is said
    return {c.id: c.status for c in found}


def test_the_same_host_has_no_cause(record_of: Make) -> None:
    assert causes(record_of, host()) == {}
    assert changes(record_of(host()), host()) == ()


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (host(memory={"total_bytes": 60 << 30}), {"lost.memory": "CRITICAL"}),
        (host(memory={"total_bytes": 63 << 30}), {}),
        (host(cpu={"online": tuple(range(7)), "offline": (7,)}), {"lost.cpus": "CRITICAL"}),
        (host(cpu={"online": tuple(range(4))}), {"lost.cpus": "CRITICAL"}),
        (host(cpu={"isa": Isa(level="x86-64-v2", features=("FMA",), missing=())}), {"lost.instructions": "CRITICAL"}),
        (host(cpu={"governor": "powersave"}), {"changed.cpu-governor": "WARNING"}),
        (host(memory={"transparent_hugepages": "never"}), {}),  # which the record does not tell
        (host(system={"kernel": "6.2.0"}), {"changed.system-kernel": "WARNING"}),
        (host(system={"machine_hash": "b" * 64}), {"another-installation": "WARNING"}),
        (host(system={"hostname": "renamed"}), {}),
        (host(limits={"allowed": (0,), "nofile": (1024, 4096)}), {}),
    ],
)  # fmt: skip
def test_each_change_has_its_weight(record_of: Make, now: Host, expected: dict[str, str]) -> None:
    assert causes(record_of, now) == expected


def test_a_virtual_machine_may_have_less_memory(record_of: Make) -> None:
    now = host(memory={"total_bytes": 60 << 30}, system={"hypervisor": "KVM"})
    assert "lost.memory" not in causes(record_of, now)
    assert "lost.memory" in causes(record_of, host(memory={"total_bytes": 50 << 30}, system={"hypervisor": "KVM"}))


def gpus(**changes_: Any) -> Host:
    (gpu,) = host().gpus
    return host().model_copy(update={"gpus": (gpu.model_copy(update=changes_),)})


def test_gpus_that_are_gone_or_slower(record_of: Make) -> None:
    gone = host().model_copy(update={"gpus": (), "gpu_note": "no NVIDIA driver on this host"})
    assert causes(record_of, gone)["lost.gpus"] == "CRITICAL"
    assert causes(record_of, gpus(pcie_max_width=8))["lost.gpu-pcie-max-width"] == "CRITICAL"
    assert causes(record_of, gpus(power_limit_w=450.0)) == {"changed.gpus-0-power-limit-w": "WARNING"}
    lost = host().model_copy(update={"gaps": (Gap(what="GPU 0", why="has fallen off the bus", kind="lost"),)})
    assert causes(record_of, lost) == {"lost.gpu-lost": "CRITICAL"}


def test_another_machine_is_told_and_an_unknown_one_is_not(record_of: Make) -> None:
    then = record_of(host()).identity
    other = record_of(host(cpu={"model": "AMD EPYC 9654"})).identity
    found = another_machine(then, other)
    assert isinstance(found, VerdictCause)
    assert "AMD EPYC 9654 now" in found.title
    assert another_machine(then, record_of(host(cpu={"model": None})).identity) is None
    assert another_machine(then, then) is None
