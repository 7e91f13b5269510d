"""One registry of nets: whoever names a net names it as the agent does."""

from __future__ import annotations

from hwdiag.agent import nets, workloads
from hwdiag.devices.nets import NETS as MEASURED
from hwdiag.devices.nets import decoding
from hwdiag.devices.targets import COUNTED
from hwdiag.estimate.check import NETS as CHECKED
from hwdiag.estimate.check import OUTSIDE
from hwdiag.estimate.comparison import NETS as PUBLISHED
from hwdiag.estimate.points import published_points
from hwdiag.estimate.steps import OTHERS
from hwdiag.experiment.workloads import catalogue
from tests.conftest import make_host


def test_every_net_can_be_built_and_has_a_title() -> None:
    assert {*nets.TITLES} == {*nets.TRANSFORMERS, *nets.WRITTEN}
    assert set(nets.DECODERS) <= {*nets.TITLES}
    assert {*workloads.NETS} <= {*nets.TITLES}


def test_every_topic_names_nets_of_the_registry() -> None:
    specs = [*PUBLISHED.values(), *OTHERS, *COUNTED.values()]
    named = {spec.net for spec in specs} | {net for net, _ in (*CHECKED, *OUTSIDE)} | {*MEASURED} | {decoding().what}
    named |= {point.net for point in published_points().values()}
    named |= {w.kind for w in catalogue(make_host()) if w.family == "model"}
    assert named <= {*nets.TITLES}


def test_mode_and_batch_are_no_part_of_a_name() -> None:
    for net in MEASURED.values():
        for workload in (net.workload("inference"), net.workload("training", copies_inputs=True)):
            assert (workload.what, workload.kind in ("inference", "training")) == (net.name, True)
            assert workload.size["batch"] >= 1
            assert nets.TITLES[net.name] in workload.title
