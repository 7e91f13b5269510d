"""A look into an iteration, on this machine: its operations, their work, and the page faults of a large result."""

from __future__ import annotations

import sys

import pytest

from hwdiag.experiment.operation_times import OperationTimes, look_into
from hwdiag.experiment.workloads import conv2d, matmul, resnet18

pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.fixture(scope="module")
def looks() -> dict[str, OperationTimes]:
    small = conv2d().model_copy(update={"size": {**conv2d().size, "batch": 4}})
    blocked = matmul("float32", 4, 512).model_copy(update={"name": "linear-onednn", "kind": "onednn"})
    found = look_into(sys.executable, [matmul("float32", 4, 512), small, blocked, resnet18()], 300)
    return {x.workload: x for x in found}


def test_a_product_is_one_operation_with_its_work(looks: dict[str, OperationTimes]) -> None:
    found = looks["matmul-fp32"]
    first = found.operations[0]
    assert found.outcome.ok
    assert (first.name, first.calls, first.flops, first.dtype) == ("mm", 1, 2 * 512**3, "float32")
    assert first.bytes == 3 * 512 * 512 * 4
    assert first.seconds > 0


def test_a_product_in_a_layout_of_onednn_is_looked_into(looks: dict[str, OperationTimes]) -> None:
    """Its tensors have no storage: the look died with "Cannot access storage of OpaqueTensorImpl"."""
    found = looks["linear-onednn"]
    assert found.outcome.ok, found.outcome.detail
    first = found.operations[0]
    assert (first.name, first.flops, first.bytes) == ("mkldnn_linear", 2 * 512**3, 3 * 512 * 512 * 4)


def test_a_net_is_its_convolutions_for_the_most_part(looks: dict[str, OperationTimes]) -> None:
    found = looks["resnet18"]
    assert found.outcome.ok
    conv = next(o for o in found.operations if "conv" in o.name)
    assert conv.calls == 20
    assert conv.flops == pytest.approx(2 * 1.814e9, rel=0.01)
    assert {"threads", "cpus", "seconds"} <= {name for name, value in found if value}


def test_the_fresh_pages_of_a_result_are_counted(looks: dict[str, OperationTimes]) -> None:
    """4 x 64 x 112 x 112 in fp32: glibc gives such a block back to the kernel each time."""
    assert looks["conv2d"].outcome.ok
    assert looks["conv2d"].faults * looks["conv2d"].page_bytes > 0.5 * 4 * 64 * 112 * 112 * 4


def test_a_workload_that_fails_is_said_and_ends_the_look() -> None:
    broken = matmul("float32", 4, 512).model_copy(update={"size": {"n": -1}})
    (only,) = look_into(sys.executable, [broken, resnet18()], 300)
    assert not only.outcome.ok
    assert only.operations == ()
