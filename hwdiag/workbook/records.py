"""Steps that every notebook and verb takes with its study: put it into a record, write it, and find it again to replay
it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from hwdiag.core.errors import UsageError
from hwdiag.core.files import EmittedFile, File
from hwdiag.core.finding import Check, Finding, of_topic, worst_first
from hwdiag.core.home import home
from hwdiag.core.text import now
from hwdiag.core.value import TopicStudy, Value
from hwdiag.host.model import Host
from hwdiag.process.model import Software
from hwdiag.record import store
from hwdiag.record.model import NOT_PROBED, Record, Topic, first_error
from hwdiag.record.versions import versions
from hwdiag.workbook.cells import given_parameters, one_line_interrupts, replay_folder, replay_path, replayed
from hwdiag.workbook.params import ChosenParameters

S = TypeVar("S", bound=TopicStudy)
P = TypeVar("P", bound=Value)


def record_of(
    topic: Topic,
    study: TopicStudy,
    *,
    host: Host,
    verdict: str,
    params: Mapping[str, Any] | None = None,
    said: Iterable[Finding | Check] = (),
    software: Software = NOT_PROBED,
    name: str = "",
) -> Record:
    """Return one topic's study as a record of its own.

    Args:
        topic: the study's.
        study: what was found.
        host: on which host.
        verdict: in a sentence.
        params: what the run was given.
        said: findings and checks.
        software: the PyTorch that was run, where it was asked what it is.
        name: the host's folder under outputs/; empty takes the host's own name.
    """
    findings, checks = sorted_by_kind(said)
    return Record(
        name=name or store.folder_name("auto", host.system.hostname),
        started_at=study.started_at,
        finished_at=now(),
        versions=versions(),
        params={topic: dict(params or {})},
        verdict=verdict,
        host=host,
        software=software,
        studies={topic: study},
        findings=worst_first(of_topic(topic, findings)),
        checks=of_topic(topic, checks),
        complete=True,
    )


def sorted_by_kind(said: Iterable[Finding | Check]) -> tuple[list[Finding], list[Check]]:
    """Return the findings and the checks among these."""
    said = list(said)
    return [s for s in said if isinstance(s, Finding)], [s for s in said if isinstance(s, Check)]


def save(record: Record, files: Iterable[File | EmittedFile] = (), folder: Path | None = None) -> tuple[Record, Path]:
    """Write the record and its files into a folder of their own under outputs/, or into ``folder``.

    Returns:
        The record with its files, and the folder.

    Raises:
        HwdiagError: something could not be written.
    """
    folder = folder or store.create_folder(home() / "outputs", record.name, record.started_at)
    written = [store.write_file(folder, f) if isinstance(f, File) else f for f in files]
    itself = EmittedFile(path=store.FILE, what="The record: all of it, for machines")
    record = record.model_copy(update={"files": (*written, itself)})
    store.save(record, folder)
    return record, folder


def shown(path: Path) -> str:
    """Return a path as a person is told it: relative to the workbook's folder where it lies in it."""
    path, root = path.absolute(), home().absolute()
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def told(record: Record, folder: Path, verdict: str | None = None) -> str:
    """Return the verdict, and where everything is."""
    return "\n".join([verdict or record.verdict, *(f"  {shown(folder / f.path)}" for f in record.files)])


def replay(topic: Topic) -> tuple[Record, Path]:
    """Return the record with a topic's study that HWDIAG_REPLAY means, and its folder.

    It is the one in a folder of the topic's name beside the record that the variable names, or that record itself.
    """
    beside = replay_folder() / topic
    path = store.record_file(beside if beside.is_dir() else replay_path())
    return store.load(path), path.parent


def replayed_study(topic: Topic, kind: type[S]) -> tuple[S, Record, Path]:
    """Return a topic's recorded study with its record and folder.

    Raises:
        UsageError: there is no record with one, or a field of it is wrong.
    """
    record, folder = replay(topic)
    study = record.study(topic, kind)
    if study is None:
        raise UsageError(f"the record in {folder} holds no study of {topic}")
    return study, record, folder


def replayed_params(topic: Topic, kind: type[P]) -> P:
    """Return the parameters of a topic's recorded study; the defaults where an older record does not report them."""
    record, folder = replay(topic)
    try:
        return kind.model_validate(record.params.get(topic, {}))
    except ValidationError as error:
        raise UsageError(f"the record in {folder}: {first_error(error, below=f'params.{topic}')}") from None


def chosen_params(
    namespace: Mapping[str, Any], topic: Topic, kind: type[P], load: Callable[[Mapping[str, Any]], P]
) -> ChosenParameters[P]:
    """Return the parameters that a notebook's first cells set, or those of the study that is replayed.

    Args:
        namespace: the notebook's ``globals()``.
        topic: its topic.
        kind: the topic's parameters.
        load: checks what is given.

    Raises:
        UsageError: an unknown parameter or a wrong value.
    """
    one_line_interrupts()
    if replayed() is not None:
        return ChosenParameters(replayed_params(topic, kind))
    return ChosenParameters(load(given_parameters(namespace)))
