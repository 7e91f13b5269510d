"""Parameters: wrong ones stop with one line that says what is allowed; right ones combine in the promised order."""

from __future__ import annotations

import sys
from pathlib import Path

import papermill
import pytest
import yaml

from hwdiag.errors import UsageError
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.init_host import profile_of, write_profile
from hwdiag.measure.workloads import NAMES, catalogue
from hwdiag.params import Params, interpreter, load, profile_names
from tests.conftest import make_host

pytestmark = pytest.mark.usefixtures("clean_environment")

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"thraeds": 4}, "unknown parameter 'thraeds': did you mean \"threads\"?"),
        ({"host": "dxg"}, "no host profile 'dxg' in .*: did you mean \"dgx\"?"),
        ({"host": 10}, "no host profile '10'"),
        ({"host": "../../etc/passwd"}, "no host profile"),
        ({"budget": "fast"}, "budget: .*'quick', 'standard' or 'thorough', not 'fast'"),
        ({"threads": "four"}, "threads.0: .*integer"),
        ({"threads": [0]}, "threads: must be whole numbers from 1 up"),
        ({"min_effect": "lots"}, "min_effect: .*number"),
        ({"workloads": ["gpt3"]}, "there is no workload 'gpt3': did you mean \"gpt2\"?"),
        ({"workloads": []}, "workloads: .*at least 1"),
        ({"role": "server"}, "role: .*'desktop', 'headless' or 'shared'"),
        ({"seed": -1}, "seed: .*greater than or equal to 0"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        load(given)
    assert "\n" not in str(caught.value)


def test_given_wins_over_variables_and_those_over_the_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load({}).budget == "standard"
    assert load({"host": "datacenter"}).budget == "thorough"
    monkeypatch.setenv("HWDIAG_BUDGET", "quick")
    assert load({"host": "datacenter"}).budget == "quick"
    assert load({"host": "datacenter", "budget": "standard"}).budget == "standard"
    assert load({"host": "datacenter", "budget": None}).budget == "quick"


def test_lists_may_come_as_text() -> None:
    assert load({"threads": "[1, 2]"}).threads == (1, 2)
    assert load({"threads": "1,2"}).threads == (1, 2)
    assert load({"threads": 4}).threads == (4,)
    assert load({"workloads": "copy, triad"}).workloads == ("copy", "triad")


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_is_valid_and_says_what_it_is(name: str) -> None:
    profile = load({"host": name})
    assert profile.host == name
    assert profile.title


def test_the_first_profiles_are_there() -> None:
    wanted = {"auto", "dgx", "xeon-e5v2", "xeon-e5v2-rtx3060", "threadripper", "datacenter"}
    assert wanted <= set(profile_names())


def test_a_broken_profile_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params").mkdir()
    monkeypatch.setenv("HWDIAG_HOME", str(tmp_path))
    for text, message in {
        "a: [": "cannot be read",
        "- 1": "must hold",
        "bugdet: quick": 'did you mean "budget"',
    }.items():
        (tmp_path / "params" / "x.yaml").write_text(text)
        with pytest.raises(UsageError, match=message):
            load({"host": "x"})


def test_without_a_params_folder_it_says_where_one_is_expected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWDIAG_HOME", str(tmp_path))
    with pytest.raises(UsageError, match="HWDIAG_HOME must name a checkout"):
        load({})


def test_interpreters_are_checked_before_anything_runs(tmp_path: Path) -> None:
    assert interpreter(load({})) == sys.executable
    with pytest.raises(UsageError, match="there is no file /no/where"):
        interpreter(load({"python": "/no/where"}))
    (tmp_path / "python").touch(mode=0o644)
    with pytest.raises(UsageError, match="not executable"):
        interpreter(load({"python": str(tmp_path / "python")}))


@pytest.mark.parametrize("name", ["diagnose", "launch"])
def test_the_notebooks_parameters_are_the_schemas(name: str) -> None:
    """Names, order, defaults and help; None stands for what the profile says."""
    seen = papermill.inspect_notebook(str(ROOT / "notebooks" / f"{name}.ipynb"))
    assert {name: p["help"] for name, p in seen.items()} == {n: f.description for n, f in Params.model_fields.items()}
    assert list(seen) == list(Params.model_fields)
    assert {name: p["default"] for name, p in seen.items()} == dict.fromkeys(Params.model_fields, "None") | {
        "host": '"auto"'
    }


def test_the_readmes_table_is_the_schemas() -> None:
    """On a difference, the message shows the lines to put there."""
    defaults = {name: field.default for name, field in Params.model_fields.items()}
    shown = {name: "all" if default == NAMES else f"`{default}`" for name, default in defaults.items()}
    rows = [f"| `{name}` | {field.description} | {shown[name]} |" for name, field in Params.model_fields.items()]
    table = "\n".join(["| Parameter | What it is | Default |", "| --- | --- | --- |", *rows, ""])
    assert table in (ROOT / "README.md").read_text(), table


def test_workload_names_are_the_catalogues() -> None:
    assert tuple(w.name for w in catalogue(make_host())) == NAMES


def test_init_host_writes_a_profile_that_this_host_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params").mkdir()
    monkeypatch.setenv("HWDIAG_HOME", str(tmp_path))
    path = write_profile("my-box")
    host = read_host(Root.live())
    assert load({"host": "my-box"}).expect == profile_of(host, "my-box").expect
    assert yaml.safe_load(path.read_text())["expect"]["arch"] == host.system.arch
    with pytest.raises(UsageError, match="exists already"):
        write_profile("my-box")
    with pytest.raises(UsageError, match="cannot name a profile"):
        write_profile("../evil")
