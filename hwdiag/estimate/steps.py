"""What the estimate notebook and ``hwdiag estimate`` call: parameters in, a study to walk through, a file out."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

from hwdiag.catalogue.parts import Part, catalogue, find_part, part_of
from hwdiag.core.choices import BudgetName
from hwdiag.core.text import now
from hwdiag.estimate import show
from hwdiag.estimate.check import check
from hwdiag.estimate.estimate import Cost, cost_of, estimate_part
from hwdiag.estimate.mlperf import BENCHMARKS, mlperf_rows
from hwdiag.estimate.model import Checked, EstimateStudy, NetEstimate
from hwdiag.estimate.published import NETS, compare_published
from hwdiag.experiment.campaign import Progress
from hwdiag.experiment.net_count import Count, NetSpec, count_nets
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
PUBLISHED = "int8"
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
    """One study, to be walked through: ``parts``, ``counts``, ``document``, ``amx``, ``mlperf``, ``check`` ..."""

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
        """The facts of this host."""
        return read_host(Root.live())

    @cached_property
    def found(self) -> dict[str, Count]:
        """The counts of all nets, by what they run."""
        benchmarks = [spec for _, spec in BENCHMARKS.values()]
        specs = list(
            dict.fromkeys(s.model_dump_json() for s in (*NETS.values(), *OTHERS, *benchmarks, *specs_of(self.params)))
        )
        self.progress("counting", 0)
        counts = count_nets(self.python, [NetSpec.model_validate_json(s) for s in specs])
        return {c.spec.model_dump_json(): c for c in counts}

    def count_of(self, spec: NetSpec) -> Count:
        """One net's count."""
        return self.found[spec.model_dump_json()]

    def parts(self) -> Section:
        """What is known of the machines that one does not own?"""
        return show.parts(catalogue())

    def counts(self) -> Section:
        """What does a net do?"""
        return show.counted(list(self.found.values()))

    def document(self, parts: Iterable[str] = THREE) -> Section:
        """What did the comparison say, and what follows from the counts? ``MILLISECONDS`` there names all its parts."""
        rows = []
        for net, spec in NETS.items():
            count = self.count_of(spec)
            for key in parts:
                part = catalogue()[key]
                rows.append(compare_published(net, key, part, count, estimate_part(count, part, "int8")))
        return show.document(rows, self.checked)

    def amx(self) -> Section:
        """Does a matrix unit help Transformers?"""
        chosen = {name: self.count_of(NETS[name]) for name in ("ResNet-50", "ViT-L")}
        all_parts = catalogue()
        return show.amx(chosen, all_parts["xeon-8490h"], [all_parts["epyc-9654"]])

    def mlperf(self) -> Section:
        """Is it right where somebody measured?"""
        return show.mlperf(mlperf_rows({name: self.count_of(spec) for name, (_, spec) in BENCHMARKS.items()}))

    def check(self) -> Section:
        """Is it right here?"""
        blocks = BLOCKS[self.params.budget]
        if blocks and self.checked is None:
            self.checked, _ = check(self.python, self.host, blocks=blocks, progress=self.progress)
        return show.check(self.checked)

    def breakdown(self, net: str = "ViT-L", part: str = "xeon-8490h") -> Table:
        """Where does the time go?"""
        return show.breakdown(estimate_part(self.count_of(NETS[net]), catalogue()[part], "int8"))

    def elsewhere(self) -> Section:
        """How fast, with what energy, at what cost?"""
        specs = (*NETS.values(), *OTHERS, *specs_of(self.params))
        rows = estimates([self.count_of(s) for s in specs], self.chosen, self.params.dtype or PUBLISHED)
        return show.elsewhere(rows, self.checked)

    @cached_property
    def record(self) -> Record:
        """What was found, as a record."""
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


class Replayed(Estimator):
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
        return Replayed()
    return Estimator(choice.params, notebook_progress())


def estimates(
    counts: Sequence[Count], parts: Sequence[Part], dtype: str
) -> list[tuple[NetEstimate, Part, Cost | None]]:
    """Every net on every part, in this type; in the widest that a part has where it lacks it."""
    rows = []
    for count in counts:
        for part in parts:
            known = next((d for d in (dtype, "bfloat16", "float32") if part.peak(d) is not None), dtype)
            estimate = estimate_part(count, part, known)
            rows.append((estimate, part, cost_of(estimate, part)))
    return rows


def part_named(name: str) -> Part:
    """A part of the catalogue, one in a YAML file, or the host of a record with its measured ceilings.

    Raises:
        UsageError: there is none, or it is refused.
    """
    path = Path(name).expanduser()
    if path.suffix == ".json" or (path.is_dir() and (path / store.FILE).is_file()):
        record = store.load(path)
        return part_of(record.host, tuning(record).ceilings, record.name)
    return find_part(name)


def specs_of(params: EstimateParams) -> list[NetSpec]:
    """Return the nets that the person named, in each batch size."""
    phase: Literal["prefill", "decode"] = "decode" if params.decode else "prefill"
    return [
        NetSpec(net=net, batch=batch, tokens=params.tokens, phase=phase)
        for net in params.nets
        for batch in params.batch
    ]
