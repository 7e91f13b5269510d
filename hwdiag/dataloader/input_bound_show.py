"""A running training, as a person sees it: whether it waits for data, what speaks for that, and what it cannot tell."""

from __future__ import annotations

from collections.abc import Sequence

from hwdiag.dataloader.input_bound_rules import reasons, verdict
from hwdiag.process.observation.waiting_model import DOING, Doing, TrainingWaits
from hwdiag.report.format import clean, percent, plural, seconds
from hwdiag.report.section import Section
from hwdiag.report.table import Table

LIMITS = (
    "This shows waiting, not its cause: batches that come late since the training itself keeps the CPUs "
    "busy count as waiting for data. Data from threads or from a GPU's decoder does not"
)


def waiting(found: Sequence[TrainingWaits], failed: str = "") -> Section:
    """Return the section on the training's wait for data. ``failed``: how its command ended, where it did not end
    well."""
    if not found:
        ended = f" The command failed: {clean(failed)}." if failed else ""
        return Section(f"No training was found: no process below has DataLoader workers, or torch loaded.{ended}", ())
    return Section(" ".join(verdict(w, clean(failed)) for w in found), tuple(table(w) for w in found))


def table(waited: TrainingWaits) -> Table:
    """Return a table of what was seen of one training."""
    rows = [(f"The main thread is {DOING[doing]}", percent(share)) for doing, share in shares(waited)]
    rows += [(reason, "") for reason in reasons(waited)]
    caption = f"PID {waited.pid}: {plural(waited.looks, 'look')} in {seconds(waited.seconds)}. {LIMITS}"
    return Table(caption, ("What was seen", "Share of the looks"), rows, frozenset({1}))


def shares(waited: TrainingWaits) -> list[tuple[Doing, float]]:
    """Return what the main thread did with its share of the looks, the largest first."""
    return sorted(waited.shares.items(), key=lambda pair: -pair[1])
