"""Facts of the nets that are measured, which decide what levers they have."""

from __future__ import annotations

from collections.abc import Sequence

from hwdiag.core.value import Value
from hwdiag.experiment.model import Workload
from hwdiag.process.agent import Agent


class NetFacts(Value):
    """The facts of a net that levers need."""

    is_net: bool = False
    """Whether layers and inputs can be changed; a callable or a command can only be run in another process."""
    device: str = "cpu"
    """Where it lies."""
    convolutions: bool = False
    attention: bool = False
    linear_layers: bool = False
    training: bool = False
    """Whether it is in training mode, or steps of a training are measured."""
    records_gradients: bool = False
    """Whether it is called as it is, without ``inference_mode``."""

    @property
    def is_on_cpu(self) -> bool:
        """Return whether it lies in the host's memory."""
        return self.device == "cpu"


KNOWN = {
    "resnet18": NetFacts(is_net=True, convolutions=True),
    "gpt2": NetFacts(is_net=True, attention=True, linear_layers=True),
}
"""Of the nets of the catalogue, by kind of workload."""


def facts_of(workloads: Sequence[Workload]) -> NetFacts:
    """Return what the catalogue's nets among these have together."""
    found = [KNOWN[w.kind] for w in workloads if w.kind in KNOWN]
    return combined(found)


def combined(facts: Sequence[NetFacts]) -> NetFacts:
    """Return what several nets on the CPU have together: what one lacks leaves that one as it is."""
    flags = ("is_net", "convolutions", "attention", "linear_layers", "training", "records_gradients")
    return NetFacts.model_validate({flag: any(getattr(f, flag) for f in facts) for flag in flags})


def describe_file(python: str, path: str, timeout_s: float) -> NetFacts:
    """Ask a child what ``build()`` of a file gives; of what it cannot tell nothing is known."""
    with Agent(python) as agent:
        agent.tell({"do": "own_file.describe", "path": path})
        agent.finish(timeout_s)
        told = agent.event("described")
    return NetFacts.model_validate({**told, "records_gradients": told["is_net"]}) if told else NetFacts()
