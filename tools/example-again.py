"""Conclude and draw again, by today's rules, what follows from what the committed example measured.

Nothing is measured. The report is drawn by ``hwdiag report outputs/example``, notebooks by ``tools/example*.sh``.
Usage: .venv/bin/python tools/example-again.py
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hwdiag.audit.emit import settings_files
from hwdiag.audit.model import Audit
from hwdiag.audit.show import verdict as audit_verdict
from hwdiag.compat.advice import with_cure
from hwdiag.compat.model import Survey
from hwdiag.compat.show import verdict as compat_verdict
from hwdiag.core.files import File
from hwdiag.core.finding import Check, Finding, Said, of_topic, worst_first
from hwdiag.dataloader.model import Feed
from hwdiag.dataloader.rules import verdict as dataloader_verdict
from hwdiag.devices.model import Study
from hwdiag.devices.recommend import choices
from hwdiag.devices.techniques_show import settings
from hwdiag.diagnose.report import figures
from hwdiag.estimate.model import EstimateStudy
from hwdiag.estimate.show import check
from hwdiag.monitor.rules import answers
from hwdiag.monitor.show import verdict as monitor_verdict
from hwdiag.monitor.study import SAMPLES, Recording
from hwdiag.parameters.diagnosis import Profile
from hwdiag.process.launch import Launch
from hwdiag.record import store
from hwdiag.record.model import Record, Topic
from hwdiag.record.store import write_file
from hwdiag.record.tuning import Tuning, recommended_plan, tuning
from hwdiag.tune.emit import is_emitted, launch_files
from hwdiag.tune.evidence import Evidence
from hwdiag.tune.findings import consult
from hwdiag.tune.recommend import recommend
from hwdiag.tune.verdict import verdict

EXAMPLE = Path(__file__).parents[1] / "outputs" / "example"
EARLIER = "earlier"
"""What an older version concluded stays as it said it."""
VERDICTS: dict[Topic, tuple[Any, Callable[[Any], str]]] = {
    "audit": (Audit, audit_verdict),
    "compat": (Survey, compat_verdict),
    "dataloader": (Feed, dataloader_verdict),
    "devices": (Study, lambda study: settings(study, choices(study)).verdict),
    "estimate": (EstimateStudy, lambda study: check(study.checked).verdict),
}


def said_again(record: Record, folder: Path) -> dict[str, object]:
    """Return what today's rules say of this record, as fields of it."""
    if "tune" in record.studies:
        study = tuning(record)
        evidence = Evidence(
            profile=Profile.model_validate(record.params["tune"]),
            host=record.host,
            software=record.software,
            **{name: getattr(study, name) for name in Evidence.model_fields if name in Tuning.model_fields},
        )
        recommendations, (findings, checks) = recommend(evidence), consult(evidence)
        return {
            "findings": worst_first(beside(record.findings, findings)),
            "checks": beside(record.checks, checks),
            "recommendations": beside(record.recommendations, recommendations),
            "verdict": verdict(evidence, recommendations),
        }
    watched = record.study("monitor", Recording)
    if watched is not None:
        return watched_again(record, watched, folder / SAMPLES)
    for topic, (kind, said) in VERDICTS.items():
        study = record.study(topic, kind)
        if study is not None:
            return {"verdict": said(study)}
    return {}


def watched_again(record: Record, watched: Recording, samples: Path) -> dict[str, object]:
    """Return what today's rules say of a recording of the machine."""
    found = answers(watched.monitored, samples, record.host)
    findings = tuple(a for a in found if isinstance(a, Finding))
    checks = tuple(a for a in found if isinstance(a, Check))
    study = watched.model_copy(update={"findings": findings, "checks": checks})
    return {
        "studies": {**record.studies, "monitor": study.model_dump(mode="json")},
        "findings": of_topic("monitor", findings),
        "checks": of_topic("monitor", checks),
        "verdict": monitor_verdict(study.monitored, study.answers),
    }


def beside(said: tuple[Said, ...], again: tuple[Said, ...]) -> tuple[Said, ...]:
    """Return what is said of the search now, with what was said of other topics."""
    return (*of_topic("tune", again), *(s for s in said if s.topic != "tune"))


def files_of(record: Record, folder: Path) -> Iterator[File]:
    """Yield the scripts and figures that are kept of a record."""
    audited = record.study("audit", Audit)
    if "tune" not in record.studies:
        yield from settings_files(audited, record.host, made_at=record.started_at) if audited else ()
        return
    wanted = [r for r in record.recommendations if is_emitted(r, None)]
    launches = {r.id: plan.launch if (plan := recommended_plan(record, r)) else Launch() for r in wanted}
    cured = record.study("compat", Survey)
    launches = {id_: with_cure(launch, cured.cure if cured else None) for id_, launch in launches.items()}
    yield from launch_files(
        launches,
        wanted,
        record.host,
        plans=tuning(record).plans,
        software=record.software,
        folder=folder,
        command=None,
        made_at=record.started_at,
    )
    for figure in figures(record):
        yield File(path=f"figures/{figure.name}.svg", text=figure.svg, what=figure.caption)


def main() -> None:
    """Write the records of the example with what is said of them today, and their files; print what is new."""
    for path in sorted(EXAMPLE.rglob(store.FILE)):
        if path.parent.name == EARLIER:
            continue
        record = store.load(path)
        again = record.model_copy(update=said_again(record, path.parent))
        if again != record:
            store.save(again, path.parent)
            print(f"{path.relative_to(EXAMPLE)}: {again.verdict}")
        for file in files_of(again, path.parent):
            write_file(path.parent, file)


if __name__ == "__main__":
    main()
