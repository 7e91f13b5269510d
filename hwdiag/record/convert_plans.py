"""Older searches as today's: what was one Launch or Setting with a name becomes a Plan with one lever. Plain JSON.

A name such as ``a + b`` was made of others; it is kept whole, as nothing tells for sure what it was made of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

Json = dict[str, Any]
DEFAULT = "default"


def with_plans(study: object) -> object:
    """Return a search for a launch or a study of devices with plans in place of launches."""
    launches = study.get("launches", []) if isinstance(study, dict) else None
    if not isinstance(study, dict) or not isinstance(launches, list):
        return study
    rest = {name: value for name, value in study.items() if name != "launches"}
    for name in ("measurements", "estimates"):
        if isinstance(rest.get(name), list):
            rest[name] = [renamed(item, {"launch": "plan"}) for item in rest[name]]
    rest["steps"] = steps(rest.get("steps", []))
    known = {launch["name"]: launch for launch in launches if isinstance(launch, dict) and "name" in launch}
    used = dict.fromkeys([*known, *names_in(rest)])
    kept = {name: value for name, value in rest.items() if name != "steps" or "steps" in study}
    return {**kept, "plans": [plan_of_launch(known.get(name, {"name": name})) for name in used]}


def with_loader_plans(feed: object) -> object:
    """Return a run of the input pipeline with plans in place of the names of settings."""
    if not isinstance(feed, dict):
        return feed
    found = dict(feed)
    for name in ("default", "best", "validation"):
        if isinstance(found.get(name), dict):
            found[name] = chosen(found[name])
    if isinstance(found.get("trials"), list):
        found["trials"] = [renamed(trial, {"setting": "name"}) for trial in found["trials"]]
    if isinstance(found.get("steps"), list):
        found["steps"] = steps(found["steps"])
        held = {c["plan"]["levers"][0]["id"]: c["plan"] for c in chosen_ones(found) if c["plan"]["levers"]}
        names = dict.fromkeys([DEFAULT, *held, *names_in(found)])
        found["plans"] = [held.get(name) or plan(name, name, {}) for name in names]
    return found


def chosen_ones(feed: Json) -> Iterator[Json]:
    """Yield the settings that a run chose."""
    yield from (feed[name] for name in ("default", "best") if isinstance(feed.get(name), dict))


def chosen(value: Json) -> Json:
    """Return a chosen setting with its plan."""
    setting = value.get("setting")
    if not isinstance(setting, dict) or "name" not in setting:
        return value
    sets = {name: v for name, v in setting.items() if name != "name"}
    told = {name: v for name, v in sets.items() if v not in (None, [], ())}
    return {**value, "setting": sets, "plan": plan(str(setting["name"]), "setting", {"loader": told})}


def plan_of_launch(launch: Json) -> Json:
    """Return the plan of a launch that had a name."""
    sets = {name: value for name, value in launch.items() if name not in ("name", "risk")}
    return plan(str(launch["name"]), "launch", {"launch": sets, "risk": launch.get("risk", "")})


def plan(name: str, factor: str, sets: Json) -> Json:
    """Return a plan of one lever; today's default has none."""
    if name == DEFAULT:
        return {"id": DEFAULT, "levers": []}
    return {"id": name, "levers": [{"id": name, "factor": factor, "title": name, **sets}]}


def steps(value: object) -> object:
    """Return the steps of a search with factors and plans in place of questions and launches."""
    if not isinstance(value, list):
        return value
    found = [renamed(step, {"question": "factor"}) for step in value]
    for step in found:
        if isinstance(step, dict) and isinstance(step.get("options"), list):
            step["options"] = [renamed(option, {"launch": "plan"}) for option in step["options"]]
    return found


def names_in(study: Json) -> Iterator[str]:
    """Yield the ids of all plans that a study speaks of."""
    for item in items(study.get("measurements")):
        yield str(item.get("plan"))
    for item in items(study.get("comparisons")):
        yield from (str(item.get("baseline")), str(item.get("candidate")))
    for step in items(study.get("steps")):
        yield from (str(option.get("plan")) for option in items(step.get("options")))
        yield from [str(step["adopted"])] if step.get("adopted") else []


def items(value: object) -> Iterable[Json]:
    """Return the objects of a list; nothing of anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def renamed(item: object, names: dict[str, str]) -> Any:
    """Return an object with fields under new names."""
    return {names.get(k, k): v for k, v in item.items()} if isinstance(item, dict) else item
