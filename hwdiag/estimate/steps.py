"""Steps of the estimate notebook and of ``hwdiag estimate``: parameters in, a study to walk through, a file out."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Literal

from hwdiag.agent.nets import NAMES
from hwdiag.catalogue.parts import Part, catalogue, find_part, part_of
from hwdiag.core.choices import BudgetName, EstimateType, Software
from hwdiag.core.errors import UsageError
from hwdiag.core.outside import user_path
from hwdiag.core.params import suggestion
from hwdiag.core.text import now
from hwdiag.estimate import show
from hwdiag.estimate.comparison import NETS, compare_published
from hwdiag.estimate.constants import fitted_constants
from hwdiag.estimate.counts import counts_of
from hwdiag.estimate.estimate import Cost, cost_of, estimate_part
from hwdiag.estimate.model import Checked, EstimateStudy, NetEstimate
from hwdiag.estimate.points import published_points
from hwdiag.estimate.types import FALLBACK, TYPES
from hwdiag.experiment.campaign import Progress
from hwdiag.experiment.net_count import Count, NetSpec
from hwdiag.host.model import Host
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.parameters.diagnosis import Params, interpreter, load_topic
from hwdiag.parameters.estimate import EstimateParams
from hwdiag.record import store
from hwdiag.record.model import Record
from hwdiag.record.tuning import tuning
from hwdiag.report.progress import notebook_progress
from hwdiag.report.section import Section
from hwdiag.report.table import Table
from hwdiag.workbook.cells import replayed
from hwdiag.workbook.params import ChosenParameters
from hwdiag.workbook.records import chosen_params, record_of, replayed_study, save, told

BLOCKS: dict[BudgetName, int] = {"quick": 0, "standard": 3, "thorough": 6}
"""Blocks of the check on this host."""
THREE = ("epyc-9654", "ampereone-a192", "xeon-8490h")
"""The parts that the comparison began with."""
PUBLISHED: EstimateType = "int8"
"""The type that it is about."""
OTHERS = (
    NetSpec(net="bert-large", tokens=512),
    NetSpec(net="gpt2-xl", tokens=512),
    NetSpec(net="gpt2-xl", phase="decode", tokens=512),
    NetSpec(net="llama-7b", tokens=512),
    NetSpec(net="llama-7b", phase="decode", tokens=512),
    NetSpec(net="llama-7b", phase="decode", tokens=512, batch=16),
    NetSpec(net="mixtral-8x7b", phase="decode", tokens=512),
    NetSpec(net="whisper-base"),
    NetSpec(net="mobilenetv2"),
    NetSpec(net="vit-h"),
)
"""Beside the comparison's: those on which it gave up, and decoding."""


load = partial(load_topic, EstimateParams)
"""Returns the parameters, checked. Raises ``UsageError`` for an unknown name, or a wrong value."""


def parameters(namespace: Mapping[str, Any]) -> ChosenParameters[EstimateParams]:
    """Return what the notebook's first cells set, checked; ``namespace`` is its ``globals()``."""
    return chosen_params(namespace, "estimate", EstimateParams, load)


class Estimator:
    """One study, to be walked through: ``parts``, ``counts``, ``document``, ``amx``, ``evidence``, ``check`` ..."""

    def __init__(self, params: EstimateParams, progress: Progress = lambda text, share: None) -> None:
        """Raises ``UsageError`` where there is no such interpreter or part."""
        self.params = params
        self.python = interpreter(Params(python=params.python))
        self.progress = progress
        self.chosen = tuple(part_named(name) for name in params.parts or THREE)
        self.started_at = now()
        self.checked: Checked | None = None

    @cached_property
    def host(self) -> Host:
        """Return the facts of this host."""
        return read_host(Root.live())

    @cached_property
    def found(self) -> dict[str, Count]:
        """Return the counts of all nets, by what they run."""
        specs = [*NETS.values(), *OTHERS, *specs_of(self.params)]
        self.progress("counting", 0)
        counts = counts_of(self.python, specs, fresh=self.params.python is not None)
        return {c.spec.model_dump_json(): c for c in counts}

    def count_of(self, spec: NetSpec) -> Count:
        """Return one net's count."""
        return self.found[spec.model_dump_json()]

    def parts(self) -> Section:
        """Return the section on the machines of the catalogue."""
        return show.parts(catalogue())

    def counts(self) -> Section:
        """Return the section on the operations of nets."""
        return show.counted(list(self.found.values()))

    def document(self, parts: Iterable[str] = THREE) -> Section:
        """Return the section on what the comparison said. ``MILLISECONDS`` there names all its parts."""
        rows = []
        for net, spec in NETS.items():
            count = self.count_of(spec)
            for key in parts:
                part = catalogue()[key]
                rows.append(compare_published(net, key, part, count, estimate_part(count, part, "int8")))
        return show.document(rows)

    def amx(self) -> Section:
        """Return the section on whether a matrix unit helps Transformers."""
        chosen = {name: self.count_of(NETS[name]) for name in ("ResNet-50", "ViT-L")}
        all_parts = catalogue()
        return show.amx(chosen, all_parts["xeon-8490h"], [all_parts["epyc-9654"]])

    def evidence(self) -> Section:
        """Return the section on the estimator's error where somebody measured."""
        return show.evidence(fitted_constants())

    def published(self, part: str = "epyc-9654") -> Section:
        """Return the section on what was published of one part, and on the error of the estimate that never saw it."""
        return show.published(published_points(), fitted_constants(), find_part(part), part)

    def check(self) -> Section:
        """Return the section on the estimator's error here."""
        blocks = BLOCKS[self.params.budget]
        if blocks and self.checked is None:
            from hwdiag.estimate import check

            nets, dtypes = chosen_for_check(self.params)
            self.checked, _ = check.check(
                self.python,
                self.host,
                nets=nets or (*check.NETS, *check.OUTSIDE),
                dtypes=dtypes,
                blocks=blocks,
                minutes=self.params.minutes,
                kept=check.kept_measurements(self.host, f"{nets} {dtypes} {blocks} {self.python}"),
                progress=self.progress,
            )
        return show.check(self.checked)

    def breakdown(self, net: str = "ViT-L", part: str = "xeon-8490h") -> Table:
        """Return a table of the time of each class of operations."""
        return show.breakdown(estimate_part(self.count_of(NETS[net]), catalogue()[part], "int8"))

    def elsewhere(self) -> Section:
        """Return the section on speed, energy and cost of nets on other machines."""
        specs = (*NETS.values(), *OTHERS, *specs_of(self.params))
        counts = [self.count_of(s) for s in specs]
        return show.elsewhere(estimates(counts, self.chosen, self.params.dtype or PUBLISHED, self.params.software))

    @cached_property
    def record(self) -> Record:
        """Return the study as a record."""
        return self.recorded(tuple(self.found.values()))

    def recorded(self, counts: Sequence[Count]) -> Record:
        """Return these counts, and the check where it was made, as a record."""
        study = EstimateStudy(started_at=self.started_at, counts=tuple(counts), checked=self.checked)
        verdict, params = show.check(self.checked).verdict, self.params.model_dump(mode="json")
        return record_of("estimate", study, host=self.host, verdict=verdict, params=params)

    def save(self) -> str:
        """Write the record under outputs/, with the check, which is made first if it was not; says where."""
        self.check()
        return told(*save(self.record))


class ReplayedEstimator(Estimator):
    """A recorded study, shown in place of a new one."""

    def __init__(self) -> None:
        """Raises ``UsageError`` where there is no record of one."""
        self.params = EstimateParams(budget="quick")
        self.python = sys.executable
        self.chosen = tuple(find_part(name) for name in self.params.parts or THREE)
        study, self.record, self._folder = replayed_study("estimate", EstimateStudy)
        self.found = {c.spec.model_dump_json(): c for c in study.counts}
        self.checked = study.checked

    def save(self) -> str:
        return told(self.record, self._folder, self.check().verdict)


def start(choice: ChosenParameters[EstimateParams]) -> Estimator:
    """Begin a study; with HWDIAG_REPLAY set, walk through the one recorded there instead."""
    if replayed() is not None:
        return ReplayedEstimator()
    return Estimator(choice.params, notebook_progress())


def estimates(
    counts: Sequence[Count], parts: Sequence[Part], dtype: EstimateType, software: Software | None = None
) -> list[tuple[NetEstimate, Part, Cost | None]]:
    """Return every net on every part, in this type; in another where a part lacks it."""
    rows = []
    for count in counts:
        for part in parts:
            known = next((d for d in (dtype, *FALLBACK[part.kind]) if TYPES[d].computed_in(part) is not None), dtype)
            estimate = estimate_part(count, part, known, software=software)
            rows.append((estimate, part, cost_of(estimate, part)))
    return rows


def chosen_for_check(params: EstimateParams) -> tuple[list[tuple[str, dict[str, object]]], tuple[str, ...]]:
    """Return the nets and types that the check on this host is to measure; no nets stand for its own list.

    Raises:
        UsageError: single operations are not timed in this type.
    """
    if params.dtype not in (None, "float32", "bfloat16"):
        raise UsageError(f"the check on this host measures in float32 and bfloat16, not in {params.dtype}")
    about = ("batch", "tokens", "phase", "resize")
    nets = [
        (s.net, {k: v for k, v in s.model_dump(exclude_defaults=True).items() if k in about}) for s in specs_of(params)
    ]
    return nets, (params.dtype,) if params.dtype else ("float32", "bfloat16")


def part_named(name: str) -> Part:
    """Return a part of the catalogue, one in a YAML file, or the host of a record with its measured ceilings.

    Raises:
        UsageError: there is none, or it is refused.
    """
    path = user_path(name)
    if path.suffix == ".json" or (path.is_dir() and (path / store.FILE).is_file()):
        record = store.load(path)
        return part_of(record.host, tuning(record).ceilings, record.name)
    return find_part(name)


def specs_of(params: EstimateParams) -> list[NetSpec]:
    """Return the nets that the person named, in each batch size. Raises ``UsageError`` for one that there is not."""
    for net in params.nets:
        if ":" not in net and net not in NAMES:
            raise UsageError(f"no net {net[:100]!r}{suggestion(net, NAMES)}; or FILE.py:FUNCTION")
    phase: Literal["prefill", "decode"] = "decode" if params.decode else "prefill"
    return [
        NetSpec(net=net, batch=batch, tokens=params.tokens, phase=phase, resize=":" in net and params.batch is not None)
        for net in params.nets
        for batch in params.batch or (1,)
    ]
