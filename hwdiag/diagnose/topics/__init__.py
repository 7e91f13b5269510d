"""The registry of topics in a run and in its report: one module each, with its ``ENTRY``. The folder is the list."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path, PurePath
from pkgutil import iter_modules
from typing import get_args

from hwdiag.core.errors import UsageError
from hwdiag.diagnose.topic import Sections, TopicEntry
from hwdiag.monitor.study import SAMPLES
from hwdiag.record.model import Record, Topic

_THERE = {module.name for module in iter_modules(__path__)}
TOPICS: dict[Topic, TopicEntry] = {
    topic: import_module(f"{__name__}.{topic}").ENTRY for topic in get_args(Topic) if topic in _THERE
}
"""In the order in which a report tells them; all but ``tune``, whose parts are spread over the report."""


def samples_of(record: Record, folder: Path) -> Path:
    """Return the file of a recording's samples, told from this folder."""
    return folder / next((f.path for f in record.files if PurePath(f.path).name == SAMPLES), SAMPLES)


def sections_of(record: Record, topic: Topic, folder: Path | None = None) -> Sections:
    """Yield what a report tells of a topic, its verdict first; nothing where the record has no study of it.

    Raises:
        UsageError: a field of the study is wrong, or its values do not fit together.
    """
    study = record.study(topic, TOPICS[topic].kind)
    try:
        yield from () if study is None else TOPICS[topic].sections(study, folder and samples_of(record, folder))
    except (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise UsageError(f"studies.{topic} cannot be shown: its values do not fit together ({error!r:.200})") from None
