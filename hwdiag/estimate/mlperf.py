"""What MLPerf measured on CPUs, against what one constant for each class of operation says.

Results are of the closed division, offline, int8, per socket; each is a fact of its part's file in the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping

from hwdiag.agent.nets import TITLES as TITLES_OF_NETS
from hwdiag.catalogue.parts import Part, catalogue
from hwdiag.core.value import Value
from hwdiag.estimate.estimate import estimate_part
from hwdiag.experiment.net_count import Count, NetSpec
from hwdiag.experiment.statistics import geometric_mean

BATCH = 64
BERT_TOKENS = 178
"""Mean length of what BERT is asked in MLPerf (SQuAD v1.1 with padding left out); from it follows the constant of
products, and neither ranking nor error of these rows depends on it."""

BENCHMARKS = {
    "resnet50-int8-offline": ("conv", NetSpec(net="resnet50", batch=BATCH)),
    "bert99-int8-offline": ("gemm", NetSpec(net="bert-large", batch=BATCH, tokens=BERT_TOKENS)),
}
TITLES = {"resnet50-int8-offline": TITLES_OF_NETS["resnet50"], "bert99-int8-offline": "BERT-99"}
TARGET = 0.25


class MlperfRow(Value):
    """One published result and what the estimator says of it, in samples a second of one socket."""

    part: str
    benchmark: str
    published: float
    estimated: float
    held_out: float
    """Estimated with the constant that the other parts' results alone give."""
    reached: float
    """Published, as a share of the peak at the base clock."""

    @property
    def error(self) -> float:
        """Estimated over published, less one."""
        return self.estimated / self.published - 1

    @property
    def held_out_error(self) -> float:
        """The same without having seen this result."""
        return self.held_out / self.published - 1


def mlperf_rows(counts: Mapping[str, Count]) -> tuple[MlperfRow, ...]:
    """All published results, the benchmarks' counts by their name."""
    rows = []
    for benchmark in BENCHMARKS:
        count = counts[benchmark]
        each = count.flops / count.spec.batch
        known = [(part, value) for part in catalogue().values() if (value := published(part, benchmark)) is not None]
        reached = {part.name: value * each / (part.peak("int8") or 1) for part, value in known}
        for part, value in known:
            others = [share for name, share in reached.items() if name != part.name]
            rows.append(
                MlperfRow(
                    part=part.name,
                    benchmark=benchmark,
                    published=value,
                    estimated=estimate_part(count, part, "int8").per_second,
                    held_out=geometric_mean(others) * (part.peak("int8") or 0) / each,
                    reached=reached[part.name],
                )
            )
    return tuple(rows)


def published(part: Part, benchmark: str) -> float | None:
    """A part's published result, None if it has none."""
    return next((r.value.value for r in part.results if r.what == benchmark), None)


def ranked_right(rows: tuple[MlperfRow, ...]) -> bool:
    """Whether each benchmark's parts come in the published order."""
    for benchmark in BENCHMARKS:
        of_it = [r for r in rows if r.benchmark == benchmark]
        by_result = sorted(of_it, key=lambda r: r.published)
        if by_result != sorted(of_it, key=lambda r: r.estimated):
            return False
    return True
