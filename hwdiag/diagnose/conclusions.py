"""Conclusions from all that a run found: findings, checks, recommendations and the sentence at the top."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hwdiag.compat import advice as compat
from hwdiag.compat.model import Survey
from hwdiag.core.finding import Check, Finding, of_topic, worst_first
from hwdiag.diagnose.topic import TopicAnswer
from hwdiag.diagnose.triage import once
from hwdiag.parameters.diagnosis import Profile
from hwdiag.record.model import Record, Topic
from hwdiag.record.tuning import Tuning, tuning
from hwdiag.tune.evidence import Evidence
from hwdiag.tune.findings import consult
from hwdiag.tune.recommend import recommend
from hwdiag.tune.verdict import verdict


def evidence_of(record: Record, profile: Profile) -> Evidence:
    """Return all that advice on a record's search may rest on."""
    study = tuning(record)
    return Evidence(
        profile=profile,
        host=record.host,
        software=record.software,
        **{name: getattr(study, name) for name in Evidence.model_fields if name in Tuning.model_fields},
    )


def concluded(record: Record, profile: Profile, answers: Mapping[Topic, TopicAnswer]) -> Record:
    """Return the record with what follows from its search, and from the answers of the other topics."""
    study, evidence = tuning(record), evidence_of(record, profile)
    found, checks = consult(evidence)
    recommendations = recommend(evidence)
    survey = record.study("compat", Survey)
    if survey is not None and survey.cure is not None and not recommendations:
        plan, needed = compat.needed_plan(survey.cure)
        recommendations = (needed,)
        tuned = study.model_copy(update={"plans": (*study.plans, plan)})
        record = record.model_copy(update={"studies": {**record.studies, "tune": tuned}})
    said: list[tuple[Topic, Any]] = [("tune", (*found, *checks, *untried(study)))]
    order: tuple[Topic, ...] = ("compat", "audit", *(t for t in answers if t not in ("compat", "audit")))
    told = once([*said, *((topic, answers[topic].said) for topic in order if topic in answers)])
    return record.model_copy(
        update={
            "findings": worst_first(f for topic, s in told if isinstance(s, Finding) for f in of_topic(topic, [s])),
            "checks": tuple(c for topic, s in told if isinstance(s, Check) for c in of_topic(topic, [s])),
            "recommendations": of_topic("tune", recommendations),
            "verdict": verdict(evidence, recommendations),
        }
    )


def untried(study: Tuning) -> tuple[Check, ...]:
    """Return the levers that the search had no time for, as a check that could not be made."""
    if not study.untried:
        return ()
    title = f"Not tried, as the time was used up: {', '.join(study.untried)}"
    return (Check(id="levers-untried", state="unchecked", title=title, detail="hwdiag tune --minutes gives more time"),)
