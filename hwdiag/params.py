"""Parameters: one schema for the notebook's parameters cell, the profiles in params/ and the command line."""

from __future__ import annotations

import difflib
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from hwdiag.errors import UsageError
from hwdiag.home import home
from hwdiag.measure.budget import BudgetName, Goal
from hwdiag.measure.model import one_group
from hwdiag.measure.workloads import NAMES
from hwdiag.model import Value

HOST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")


class Expectation(Value):
    """What hardware a profile expects; a mismatch is a finding, not an error. Absent: nothing is expected."""

    arch: str | None = None
    """``x86_64`` or ``aarch64``."""
    cpu: str | None = None
    """Text that the CPU's model name holds, letter case ignored."""
    min_cores: int | None = Field(None, ge=1)
    """Physical cores."""
    min_sockets: int | None = Field(None, ge=1)
    min_memory_gib: float | None = Field(None, gt=0)
    gpu: str | None = None
    """Text that a GPU's name holds, letter case ignored."""
    isa: tuple[str, ...] = ()
    """Features that must be there, such as ``AVX2``."""
    no_isa: tuple[str, ...] = ()
    """Features whose absence this profile is made for."""


class Params(Value):
    """All parameters of a run. A field's text is its help everywhere."""

    host: str = Field("auto", description="profile in params/ and folder in outputs/; auto takes this machine's name")
    budget: BudgetName = Field("standard", description="how long to measure - quick, standard or thorough")
    python: str | None = Field(None, description="interpreter whose torch is measured; None takes the workbook's own")
    snapshot: str | None = Field(
        None, description="snapshot of another host to show instead of this one; nothing is measured then"
    )
    role: Literal["desktop", "headless", "shared"] = Field(
        "headless", description="what else the host does - desktop, headless or shared"
    )
    workloads: tuple[str, ...] = Field(NAMES, min_length=1, description="which workloads to measure")
    workload_file: str | None = Field(
        None, description="Python file of your own whose build() gives what is measured, in place of the workloads"
    )
    command: tuple[str, ...] | None = Field(
        None, min_length=1, description="command of your own that is measured, in place of the workloads"
    )
    metric: Annotated[str, AfterValidator(one_group)] | None = Field(
        None, description="regular expression with one group for the command's metric; None takes its wall time"
    )
    metric_json: str | None = Field(
        None, min_length=1, description="field of the JSON that the command prints, such as result.images_per_s"
    )
    higher_is_better: bool = Field(False, description="whether a higher metric is better")
    command_timeout: float = Field(600.0, gt=0, description="seconds after which the command is killed")
    goal: Goal = Field("latency", description="one process as fast as can be, or the most from many at the same time")
    threads: tuple[int, ...] | None = Field(
        None, description="thread counts to try; None derives them from the topology"
    )
    min_effect: float = Field(3.0, gt=0, le=100, description="least gain worth a change, in percent")
    unsupported: bool = Field(
        False, description="recommend settings that a vendor does not support, too; they are measured either way"
    )
    minutes: float | None = Field(
        None, gt=0, description="time for all measurements; None takes what the budget gives, about 1, 3 or 20"
    )
    child_timeout: float = Field(120.0, gt=0, description="seconds after which a hanging child process is killed")
    seed: int = Field(1, ge=0, description="seed of the order of measurements")

    @field_validator("host")
    @classmethod
    def _host_is_a_name(cls, value: str) -> str:
        if not HOST_NAME.fullmatch(value):
            raise ValueError("must be letters, digits, - and _ only, since it names a folder")
        return value

    @field_validator("workloads")
    @classmethod
    def _workloads_are_known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = next((name for name in value if name not in NAMES), None)
        if unknown is not None:
            raise ValueError(f"there is no workload {unknown!r}{suggestion(unknown, NAMES)}")
        return value

    @model_validator(mode="after")
    def _one_thing_of_its_own_is_measured(self) -> Params:
        if self.command and self.workload_file:
            raise ValueError("give command or workload_file, and not both of them")
        measured = [name for name in ("metric", "metric_json") if getattr(self, name)]
        if len(measured) > 1:
            raise ValueError("give metric or metric_json, and not both of them")
        if measured and not self.command:
            raise ValueError(f"{measured[0]} is of a command, and there is none")
        if self.higher_is_better and not measured:
            raise ValueError("higher_is_better needs metric or metric_json: less time is always better")
        return self

    @field_validator("threads")
    @classmethod
    def _threads_are_positive(cls, value: tuple[int, ...] | None) -> tuple[int, ...] | None:
        if value is not None and (not value or min(value) < 1):
            raise ValueError("must be whole numbers from 1 up")
        return value


class Profile(Params):
    """A file in params/: parameters, and what the host is expected to be."""

    title: str = Field("", description="one line that says what kind of host this is")
    expect: Expectation = Expectation()
    comfyui: str | None = Field(
        None, description="folder of ComfyUI, where the host runs it: start scripts are written"
    )


def load(given: Mapping[str, Any]) -> Profile:
    """The parameters of a run: what was given wins over HWDIAG_<NAME> variables, those over the profile's file.

    ``None`` stands for "as the profile says".

    Raises:
        UsageError: an unknown name (with the nearest known one), a wrong type or value, an unknown host.
    """
    variables = {name: os.environ.get(f"HWDIAG_{name.upper()}") for name in Params.model_fields}
    inherited = {name: value for name, value in variables.items() if value}
    chosen = {**inherited, **{k: v for k, v in given.items() if v is not None}}
    refuse_unknown(given, Params.model_fields)
    host = chosen.get("host", "auto")
    return validate({**read_profile(str(host)), **chosen}, "parameter")


def validate(values: Mapping[str, Any], what: str) -> Profile:
    """``values`` as a Profile. Raises ``UsageError`` with one line for the first thing that is wrong."""
    try:
        return Profile.model_validate({k: from_text(k, v) for k, v in values.items()})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        if not name:  # of several together
            raise UsageError(f"{what}s: {message}") from None
        raise UsageError(f"{what} {name}: {message}, not {first['input']!r}") from None


def from_text(name: str, value: Any) -> Any:
    """A list given as text, as ``-p threads '[1, 2]'`` and variables of the environment do, becomes one."""
    if name in ("workloads", "threads") and isinstance(value, str):
        parsed = yaml.safe_load(value) if value.lstrip().startswith("[") else value.split(",")
        return [part.strip() if isinstance(part, str) else part for part in parsed]
    if name == "command" and isinstance(value, str):
        return words(value)
    if name in ("threads",) and isinstance(value, int):
        return [value]
    return value


def words(command: str) -> Any:
    """The words of a command that was given as text: a list in brackets, or as a shell would split it."""
    try:
        return yaml.safe_load(command) if command.lstrip().startswith("[") else shlex.split(command)
    except (ValueError, yaml.YAMLError) as error:
        raise UsageError(f"parameter command: {' '.join(str(error).split())}, not {command!r}") from None


def read_profile(host: str) -> dict[str, Any]:
    """The raw values of params/<host>.yaml. Raises ``UsageError`` if there is none or it cannot be read."""
    path = home() / "params" / f"{host}.yaml"
    if not HOST_NAME.fullmatch(host) or not path.is_file():
        raise UsageError(f"no host profile {host!r} in {path.parent}{suggestion(host, profile_names())}")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"{path} cannot be read: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(values, dict):
        raise UsageError(f"{path} must hold 'name: value' lines")
    refuse_unknown(values, Profile.model_fields, f"{path}: ")
    return {**values, "host": host}


def profile_names() -> list[str]:
    """Names of the profiles in params/."""
    return sorted(path.stem for path in (home() / "params").glob("*.yaml"))


def refuse_unknown(names: Iterable[Any], known: Iterable[str], where: str = "") -> None:
    """Raise ``UsageError`` for the first name that is not known, and say which one may have been meant."""
    allowed = list(known)
    for name in names:
        if name not in allowed:
            raise UsageError(f"{where}unknown parameter {str(name)!r}{suggestion(str(name), allowed)}")


def suggestion(name: str, known: Iterable[str]) -> str:
    """``: did you mean "threads"? (known: ...)``."""
    allowed = list(known)
    near = difflib.get_close_matches(name, allowed, n=1)
    return (f': did you mean "{near[0]}"?' if near else ":") + f" (known: {', '.join(allowed)})"


def interpreter(params: Params) -> str:
    """Path of the interpreter to measure.

    Raises:
        UsageError: the file does not exist or cannot be executed.
    """
    if params.python is None:
        return python_of(params.command or ()) or sys.executable
    path = Path(params.python).expanduser()
    if not path.is_file():
        raise UsageError(f"parameter python: there is no file {path}")
    if not os.access(path, os.X_OK):
        raise UsageError(f"parameter python: {path} is not executable")
    # Not resolved: a venv's python is a link, and only its own path brings its packages.
    return str(path.absolute())


def python_of(command: Sequence[str]) -> str | None:
    """The interpreter that a command starts with, whose torch it then runs; None where it starts with another program.

    Not resolved, as above.
    """
    found = shutil.which(command[0]) if command and re.fullmatch(r"python[\d.]*", Path(command[0]).name) else None
    return None if found is None else str(Path(found).absolute())


def own_file_path(params: Params) -> Path | None:
    """The user's Python file. Raises ``UsageError`` where there is none."""
    if params.workload_file is None:
        return None
    path = Path(params.workload_file).expanduser().absolute()
    if path.suffix != ".py" or not path.is_file():
        raise UsageError(f"parameter workload_file: there is no Python file {path}")
    return path
