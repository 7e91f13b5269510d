"""Older records as today's: schema 1, and the formats of single topics that came before the envelope. Plain JSON.

What an older file does not tell stays unknown; nothing is made up for it. Fields that are not known here are left where
they were, for whoever checks the result to name them.
"""

from __future__ import annotations

import re
from typing import Any

from hwdiag.record.convert_plans import renamed, with_loader_plans, with_plans

Json = dict[str, Any]

SCHEMA = 2
TUNE = (
    "launches", "workloads", "overall_of", "measurements", "estimates", "noise", "steps", "comparisons", "ceilings",
)  # fmt: skip
"""What schema 1 had of the search for a Launch, beside everything else."""
LOOSE: tuple[tuple[str, str, frozenset[str]], ...] = (
    ("compat", "compatibility.json", frozenset({"interpreter", "seconds"})),
    ("dataloader", "feeding.json", frozenset({"storage", "room"})),
    ("devices", "devices.json", frozenset({"devices", "launches"})),
    ("estimate", "estimate.json", frozenset({"counts"})),
    ("monitor", "monitor.json", frozenset({"monitored"})),
    ("profile", "profile.json", frozenset({"command", "outcome", "trace"})),
)
"""Files of one topic before there was an envelope: topic, usual name, and fields that it always has."""
PLANNED = {"devices": with_plans, "dataloader": with_loader_plans}
"""Of each topic that had names in place of plans, what converts them."""
RENAMED: dict[str, dict[str, dict[str, str]]] = {
    "dataloader": {
        "": {"room": "available"},
        "trials": {"held_bytes": "memory_bytes"},
        "caching.caches": {"room_bytes": "available_bytes"},
    },
    "devices": {"": {"fed": "dataloader_fed"}},
}
"""Of each topic the fields that had another name in schema 2, by where they lie in its study."""
OLD_FILES = (*(name for _, name, _ in LOOSE), "audit.json")
STAMP = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z(-\d+)?")


class NotARecordError(ValueError):
    """JSON of another kind, or of a schema that is not known; one line."""


def upgraded(values: object, folders: tuple[str, ...] = ()) -> Json:
    """Return a record's JSON in today's schema.

    Args:
        values: what the file holds.
        folders: names of the folders that it lies in, the nearest last: a run's are its host's and its time's.

    Raises:
        NotARecordError: it is no record, or of a newer schema.
    """
    if not isinstance(values, dict):
        raise NotARecordError("not a record")
    version = values.get("schema_version")
    if version == SCHEMA and not isinstance(version, bool):
        return with_new_names(values)
    topic = next((topic for topic, _, fields in LOOSE if fields <= values.keys() and "host" not in values), None)
    loose = topic if version in (None, 1) else None
    if loose is None:
        if not isinstance(version, int) or isinstance(version, bool):
            raise NotARecordError("not a record")
        if version > SCHEMA:
            raise NotARecordError(f"schema version {version}; this hwdiag reads up to {SCHEMA}")
    try:
        return from_1(values) if loose is None else with_new_names(from_loose(loose, values, folders))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        raise NotARecordError("damaged: a field of it has another form than such records have") from None


def with_new_names(values: Json) -> Json:
    """Return a record of which every field has today's name."""
    studies = values.get("studies")
    if not isinstance(studies, dict):
        return values
    found = dict(studies)
    for topic, places in RENAMED.items():
        for place, names in places.items():
            found = renamed_at(found, [topic, *filter(None, place.split("."))], names) if topic in found else found
    return {**values, "studies": found}


def renamed_at(value: Any, path: list[str], names: dict[str, str]) -> Any:
    """Return a value with fields under new names in the object, or the objects of the list, at this path."""
    if isinstance(value, list):
        return [renamed_at(item, path, names) for item in value]
    if not path:
        return renamed(value, names)
    first, *rest = path
    if not isinstance(value, dict) or first not in value:
        return value
    return {**value, first: renamed_at(value[first], rest, names)}


def from_1(values: Json) -> Json:
    """Return a record of schema 1 (or before) in today's: what it had of each topic becomes that topic's study."""
    rest = {k: v for k, v in values.items() if k not in (*TUNE, "audit", "compatibility", "complete")}
    began = values.get("started_at", "")
    tune = {k: values[k] for k in TUNE if k in values}
    audit, compat = values.get("audit"), values.get("compatibility")
    only_audit = audit is not None and not any(tune.values())
    studies: Json = {} if only_audit else {"tune": with_plans({"started_at": began, **tune})}
    if audit is not None:
        studies["audit"] = {"started_at": began, **audit} if isinstance(audit, dict) else audit
    if compat is not None:
        studies["compat"] = survey(compat)
    audited = ids(audit, "findings") | ids(audit, "checks")
    rest["schema_version"] = SCHEMA
    if isinstance(values.get("params"), dict):
        rest["params"] = {"audit" if only_audit else "tune": values["params"]}
    for name in ("findings", "recommendations", "checks"):
        if isinstance(values.get(name), list):
            rest[name] = [of_topic(item, audited, only_audit) for item in values[name]]
    return {**rest, "studies": studies, "complete": values.get("complete", False)}


def survey(values: object) -> object:
    """Return a compatibility check without the schema version of its own that it had."""
    return {k: v for k, v in values.items() if k != "schema_version"} if isinstance(values, dict) else values


def ids(study: object, name: str) -> set[str]:
    """Return the ids of a study's findings or checks."""
    listed = study.get(name) if isinstance(study, dict) else None
    return {str(i.get("id")) for i in listed if isinstance(i, dict)} if isinstance(listed, list) else set()


def of_topic(item: object, audited: set[str], only_audit: bool) -> object:
    """Return a finding, recommendation or check with its topic."""
    if not isinstance(item, dict):
        return item
    id_ = str(item.get("id"))
    topic = "audit" if only_audit or id_ in audited else "compat" if id_.startswith("compat-") else "tune"
    evidence = item.get("evidence")
    if isinstance(evidence, list):
        moved = [re.sub(r"^compatibility\.", "studies.compat.", e) if isinstance(e, str) else e for e in evidence]
        item = {**item, "evidence": moved}
    return {**renamed(item, {"launch": "plan"}), "topic": topic}


def from_loose(topic: str, values: Json, folders: tuple[str, ...]) -> Json:
    """Return one topic's own file as a record. Of the host it has little; the folders tell its name and the time."""
    stamp = STAMP.fullmatch(folders[-1]) if folders else None
    dated = "{}-{}-{}T{}:{}:{}Z".format(*stamp.groups()[:6]) if stamp else ""
    study: Json = values
    if topic == "compat":
        study = dict(values)
        study.pop("schema_version", None)
    if topic == "monitor" and isinstance(values["monitored"], dict):
        monitored = {k: v for k, v in values["monitored"].items() if k != "schema_version"}
        study = {"started_at": monitored.get("started_at", dated), **values, "monitored": monitored}
    study = {"started_at": dated, **study}
    named = study.get("monitored", study)
    host = host_of(topic, study)
    name = (named.get("name") if topic == "monitor" else None) or (folders[-2] if stamp and len(folders) > 1 else None)
    if host["system"]["hostname"] == "unknown" and name:
        host["system"]["hostname"] = name
    return {
        "schema_version": SCHEMA,
        "name": name or host["system"]["hostname"],
        "started_at": study["started_at"],
        "finished_at": study.get("finished_at") or study["started_at"],
        "versions": {},
        "params": {},
        "verdict": "",
        "host": host,
        "studies": {topic: PLANNED[topic](study) if topic in PLANNED else study},
        "findings": [of_one(topic, f) for f in study.get("findings", ())] if topic == "monitor" else [],
        "checks": [of_one(topic, c) for c in study.get("checks", ())] if topic == "monitor" else [],
        "complete": True,
    }


def of_one(topic: str, item: object) -> object:
    return {**item, "topic": topic} if isinstance(item, dict) else item


def host_of(topic: str, study: Json) -> Json:
    """Return what a topic's own file tells of the host."""
    told = study["monitored"] if topic == "monitor" and isinstance(study["monitored"], dict) else study
    interpreter = study.get("interpreter")
    cpu = told.get("cpu_model") or told.get("cpu")
    return {
        "source": "live",
        "read_at": study["started_at"],
        "system": {
            "hostname": told.get("hostname") or "unknown",
            "arch": (interpreter.get("machine") if isinstance(interpreter, dict) else None) or "unknown",
        },
        "cpu": {"model": cpu if isinstance(cpu, str) else None},
        "memory": {"total_bytes": told.get("memory_bytes")},
        "gpus": told.get("gpus", []) if topic == "monitor" else [],
        "gaps": [{"what": "host", "why": f"the older format of {topic} says little about it"}],
    }
