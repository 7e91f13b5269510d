"""Records are a public format: the published JSON Schema is the models', and what we write and read keeps to it."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest

from hwdiag.cli import main
from hwdiag.cli.about import SCHEMAS as NAMES
from hwdiag.diagnose.schema import SCHEMAS, STUDIES, record_schema, verification_schema
from hwdiag.record import store
from hwdiag.record.model import SCHEMA_VERSION, Topic
from hwdiag.record.verification import Verification

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "docs" / f"record-schema-{SCHEMA_VERSION}.json"
EXAMPLES = sorted((ROOT / "outputs" / "example").rglob("record.json"))
OLD = sorted((ROOT / "tests" / "record" / "old").glob("*.json"))


@cache
def validator() -> Any:
    schema = json.loads(PUBLISHED.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def wrong(record: Any) -> list[str]:
    return [f"{'.'.join(map(str, e.absolute_path))}: {e.message[:200]}" for e in validator().iter_errors(record)]


def test_the_published_schema_is_in_step() -> None:
    """Where this fails: hwdiag schema >docs/record-schema-2.json. What was renamed or left out needs a new version."""
    assert json.loads(PUBLISHED.read_text()) == json.loads(json.dumps(record_schema()))


def test_the_verb_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == PUBLISHED.read_text()
    assert main(["schema", "recrod"]) == 2
    assert 'did you mean "record"?' in capsys.readouterr().err


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_the_committed_examples_keep_to_it(path: Path) -> None:
    assert wrong(json.loads(path.read_text())) == []


@pytest.mark.parametrize("path", OLD, ids=lambda path: path.stem)
def test_an_older_record_keeps_to_it_once_it_is_read(path: Path) -> None:
    record = store.load(path)
    assert wrong(json.loads(record.model_dump_json())) == []


def test_it_refuses_what_is_no_record() -> None:
    good = json.loads((ROOT / "outputs" / "example" / "record.json").read_text())
    assert wrong({}) != []
    for path, value in (
        (("schema_version",), 3),
        (("schema_version",), None),
        (("started_at",), 5),
        (("surprise",), 1),
        (("host", "cpu", "cores"), "two"),
        (("studies", "tune", "surprise"), 1),
        (("studies", "unheard"), {"started_at": ""}),
    ):
        bad = copy.deepcopy(good)
        place = bad
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value
        assert wrong(bad), path


def test_fields_are_explained() -> None:
    schema = json.loads(PUBLISHED.read_text())
    assert schema["$defs"]["System"]["properties"]["arch"]["description"].startswith("Machine name as")
    assert schema["$defs"]["System"]["description"] == "Kernel, distribution and the box around them."


def test_every_topic_has_its_study_in_it() -> None:
    assert set(STUDIES) == set(get_args(Topic))
    assert tuple(SCHEMAS) == NAMES


def test_the_schema_of_a_verification_is_in_step() -> None:
    """Where this fails: hwdiag schema verification >docs/verification-schema-1.json."""
    published = json.loads((ROOT / "docs" / "verification-schema-1.json").read_text())
    assert published == json.loads(json.dumps(verification_schema()))
    jsonschema.Draft202012Validator.check_schema(published)
    check = jsonschema.Draft202012Validator(published)
    told = Verification(
        status="PASS", host="a", hostname="a", started_at="2026-12-01T00:00:00Z", seconds=1, version="0.1.0"
    )
    assert check.is_valid(json.loads(told.model_dump_json()))
    assert not check.is_valid({**json.loads(told.model_dump_json()), "status": "FINE"})
    assert not check.is_valid({})
