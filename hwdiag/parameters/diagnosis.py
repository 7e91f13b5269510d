"""All topics' parameters: those of a diagnosis are declared here, the others beside what they are of."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, field_validator, model_validator

from hwdiag.core.bounded_yaml import LARGEST, TooMuchError, load_yaml
from hwdiag.core.choices import NAMES, Accuracy, Goal
from hwdiag.core.errors import NoProgramError, UsageError
from hwdiag.core.home import home, profiles
from hwdiag.core.outside import OutsideError, read_file, user_path
from hwdiag.core.params import Option, one_of, refuse_unknown, suggestion
from hwdiag.core.params import load as load_params
from hwdiag.core.text import one_group
from hwdiag.core.value import Value
from hwdiag.core.wrong_values import shown
from hwdiag.parameters.audit import AuditParams
from hwdiag.parameters.compare import CompareParams
from hwdiag.parameters.compat import CheckParams
from hwdiag.parameters.dataloader import FeedParams, WaitingParams
from hwdiag.parameters.devices import DevicesParams
from hwdiag.parameters.estimate import EstimateParams
from hwdiag.parameters.fleet import FleetParams
from hwdiag.parameters.shared import (
    HOST_NAME,
    Budget,
    ChildTimeout,
    HostName,
    MinEffect,
    Minutes,
    Names,
    OwnCommand,
    OwnFile,
    Python,
    Role,
    Seed,
    Snapshot,
)
from hwdiag.parameters.verify import VerifyParams
from hwdiag.parameters.watching import ExplainParams, MonitorParams, ProfileParams

M = TypeVar("M", bound=Value)


class Expectation(Value):
    """The hardware that a profile expects. A mismatch is a finding, not an error; what is absent is not expected."""

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
    """Parameters of a diagnosis: what ``hwdiag run``, ``tune`` and ``diagnose`` and their notebooks take."""

    host: HostName = "auto"
    budget: Budget = "standard"
    python: Python = None
    snapshot: Snapshot = None
    role: Role = "headless"
    workloads: Annotated[Names, Option(metavar="NAME")] = Field(
        NAMES, min_length=1, description="which workloads to measure"
    )
    data_dir: Annotated[str | None, Option("--data", metavar="FOLDER")] = Field(
        None, description="folder of pictures that your training reads; None looks at no data"
    )
    workload_file: OwnFile = Field(
        None, description="Python file of your own whose build() gives what is measured, instead of the workloads"
    )
    command: OwnCommand = Field(None, description="command of your own that is measured, instead of the workloads")
    metric: Annotated[Annotated[str, AfterValidator(one_group)] | None, Option(metavar="REGEX")] = Field(
        None, description="regular expression with one group for the command's metric; None takes the wall time"
    )
    metric_json: Annotated[str | None, Option(metavar="FIELD")] = Field(
        None, min_length=1, description="field of the JSON that the command prints, such as result.images_per_s"
    )
    higher_is_better: bool = Field(False, description="whether a higher metric is better")
    command_timeout: Annotated[float, Option(metavar="S")] = Field(
        600.0, gt=0, le=7 * 24 * 3600, description="seconds after which the command is killed"
    )
    goal: Goal = Field("latency", description="one process as fast as can be, or the most from many at the same time")
    threads: tuple[Annotated[int, Field(ge=1, le=65536)], ...] | None = Field(
        None, min_length=1, description="thread counts to try; None derives them from the topology"
    )
    min_effect: MinEffect = 3.0
    accuracy: Accuracy = Field(
        "same",
        description="what a recommended change may do to results: rounding alone, lower precision (bf16), or integers",
    )
    unsupported: bool = Field(
        False, description="recommend settings that a vendor does not support, too; they are measured either way"
    )
    minutes: Minutes = Field(
        None, description="time for all measurements; None takes what the budget gives, 1.5, 5 or 20"
    )
    child_timeout: ChildTimeout = 120.0
    seed: Seed = 1

    @field_validator("workloads")
    @classmethod
    def _workloads_are_known(cls, value: Names) -> Names:
        return tuple(one_of(name, NAMES, "workload") for name in value)

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


class Profile(Params):
    """A file in params/: parameters, and what the host is expected to be."""

    title: str = Field("", description="one line that says what kind of host this is")
    expect: Expectation = Expectation()
    comfyui: str | None = Field(
        None, description="folder of ComfyUI, where the host runs it: start scripts are written"
    )


TOPICS: dict[str, type[Value]] = {
    "run": Params,
    "explain": ExplainParams,
    "audit": AuditParams,
    "compat": CheckParams,
    "devices": DevicesParams,
    "dataloader": FeedParams,
    "dataloader --pid": WaitingParams,
    "estimate": EstimateParams,
    "monitor": MonitorParams,
    "profile": ProfileParams,
    "verify": VerifyParams,
    "compare": CompareParams,
    "fleet": FleetParams,
}
"""Parameters by the verb that takes them."""


def load(given: Mapping[str, Any]) -> Profile:
    """Return a diagnosis' parameters: what was given, then HWDIAG_<NAME>, then the profile's file, then the defaults.

    ``None`` stands for not given.

    Raises:
        UsageError: an unknown name (with the nearest known one), a wrong type or value, an unknown host.
    """
    return load_params(Profile, given, names=Params.model_fields, profile=read_profile)


def load_topic(model: type[M], given: Mapping[str, Any]) -> M:
    """Return the parameters of any other topic, in the same order of precedence; a profile is read for its ``host``.

    Raises:
        UsageError: as above.
    """
    profile = read_profile if "host" in model.model_fields else None
    params = load_params(model, given, names=model.model_fields, profile=profile)
    require_program(getattr(params, "command", None))
    return params


def read_profile(host: str) -> tuple[str, dict[str, Any]]:
    """Return the path of a host's profile, and its raw values. Raises ``UsageError`` where there is none."""
    path = profiles().get(host)
    if path is None or not HOST_NAME.fullmatch(host) or not path.is_file():
        raise UsageError(f"no host profile {shown(host)} in {home() / 'params'}{suggestion(host, profile_names())}")
    try:
        values = load_yaml(read_file(path, 4 * LARGEST).decode())
    except OutsideError as error:
        raise UsageError(f"{path} is not a profile: {error}") from None
    except TooMuchError as error:
        raise UsageError(f"{path} {error}") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(values, dict):
        raise UsageError(f"{path} must hold 'name: value' lines")
    refuse_unknown(values, profile_fields(), f"{path}: ")
    return str(path), values


def profile_fields() -> list[str]:
    """Return the names that a profile may hold: what the host is, and the parameters of all topics that read one."""
    models: list[type[Value]] = [Profile, *TOPICS.values()]
    reading = [m for m in models if "host" in m.model_fields]
    return [name for name in dict.fromkeys(n for m in reading for n in m.model_fields) if name != "host"]


def profile_names() -> list[str]:
    """Return the names of the profiles."""
    return sorted(profiles())


def interpreter(params: Params) -> str:
    """Return the path of the interpreter to measure.

    Raises:
        UsageError: the file does not exist or cannot be executed.
    """
    if params.python is None:
        return python_of(params.command or ()) or sys.executable
    path = user_path(params.python)
    if not path.is_file():
        raise UsageError(f"parameter python: there is no file {path}")
    if not os.access(path, os.X_OK):
        raise UsageError(f"parameter python: {path} is not executable")
    refuse_other_than_python(path)
    # Not resolved: a venv's python is a link, and only its own path brings its packages.
    return str(path.absolute())


def refuse_other_than_python(path: Path) -> None:
    """Raise ``UsageError`` where a program surely is no Python. One that dies, or hangs, is looked at more closely
    elsewhere."""
    command = [str(path.absolute()), "-I", "-S", "-c", "print('hw' + 'diag')"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
    except subprocess.TimeoutExpired:
        return
    except OSError as error:
        raise UsageError(f"parameter python: {path} cannot be started: {error.strerror}") from None
    if done.returncode >= 0 and done.stdout != b"hwdiag\n" and b"Python" not in done.stderr:
        raise UsageError(f"parameter python: {path} is no Python: it does not run a line of it")


def require_program(command: Sequence[str] | None) -> None:
    """Raise ``NoProgramError`` where a command's program is not there or may not be started."""
    if command and shutil.which(command[0]) is None:
        raise NoProgramError(f"{shown(command[0])} cannot be started: look at its path and its rights")


def python_of(command: Sequence[str]) -> str | None:
    """Return the interpreter that a command starts with, whose torch it then runs; None where it starts with another
    program.

    Not resolved, as above.
    """
    found = shutil.which(command[0]) if command and re.fullmatch(r"python[\d.]*", Path(command[0]).name) else None
    return None if found is None else str(Path(found).absolute())


def user_file_path(params: Params) -> Path | None:
    """Return the path of the user's Python file. Raises ``UsageError`` where there is none."""
    if params.workload_file is None:
        return None
    path = user_path(params.workload_file).absolute()
    if path.suffix != ".py" or not path.is_file():
        raise UsageError(f"parameter workload_file: there is no Python file {path}")
    return path
