"""Parameters: wrong ones stop with one line that says what is allowed; right ones combine in the promised order, and
all that shows them is made from one schema.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import papermill
import pytest
import yaml

from hwdiag.cli import main
from hwdiag.cli.init_profile import profile_of, write_profile
from hwdiag.core.choices import NAMES
from hwdiag.core.command_line import add_options, flags_of, given, help_of
from hwdiag.core.errors import UsageError
from hwdiag.core.kinds import kind_of
from hwdiag.core.params import option_of, variable
from hwdiag.core.value import Value
from hwdiag.experiment.workloads import catalogue
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.parameters.audit import AuditParams
from hwdiag.parameters.compat import CheckParams
from hwdiag.parameters.diagnosis import TOPICS, Params, interpreter, load, load_topic, profile_names
from hwdiag.workbook.params import LONG, NOTEBOOKS, OFTEN, ChosenParameters, documents
from tests.conftest import make_host

pytestmark = pytest.mark.usefixtures("clean_environment")

ROOT = Path(__file__).parents[2]
KNOWN = ", ".join(profile_names())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"host": "dxg"}, f"no host profile 'dxg' in {ROOT}/params: did you mean \"dgx\"? (known: {KNOWN})"),
        ({"host": 10}, f"no host profile '10' in {ROOT}/params (known: {KNOWN})"),
        ({"host": "../../etc/passwd"}, f"no host profile '../../etc/passwd' in {ROOT}/params (known: {KNOWN})"),
        ({"budget": "fast"}, "budget must be quick, standard or thorough, got 'fast'"),
        ({"budget": "quik"}, "budget must be quick, standard or thorough, got 'quik': did you mean \"quick\"?"),
        ({"budget": 3}, "budget must be quick, standard or thorough, got '3'"),
        ({"budget": ["quick"]}, "budget must be quick, standard or thorough, got ['quick']"),
        ({"role": "server"}, "role must be desktop, headless or shared, got 'server'"),
        ({"minutes": "abc"}, "minutes must be a number, got 'abc'"),
        ({"minutes": True}, "minutes must be a number, got True"),
        ({"minutes": [1]}, "minutes must be a number, got [1]"),
        ({"minutes": 0}, "minutes must be above 0 and at most 10080, got 0"),
        ({"minutes": 1e300}, "minutes must be above 0 and at most 10080, got 1e+300"),
        ({"minutes": math.inf}, "minutes must be a finite number, got inf"),
        ({"minutes": "nan"}, "minutes must be a finite number, got 'nan'"),
        ({"seed": 1.5}, "seed must be a whole number, got 1.5"),
        ({"seed": -1}, "seed must be at least 0 and at most 4294967295, got -1"),
        ({"seed": 10**40}, "seed must be at least 0 and at most 4294967295, got a number of more than 30 digits"),
        ({"seed": "9" * 5000}, "seed must be at most 4096 characters, got 5000"),
        ({"min_effect": 101}, "min_effect must be above 0 and at most 100, got 101"),
        ({"threads": "four"}, "every entry of threads must be a whole number, got 'four'"),
        ({"threads": [0]}, "every entry of threads must be at least 1 and at most 65536, got 0"),
        ({"threads": [[1]]}, "every entry of threads must be a whole number, got [1]"),
        ({"threads": [True]}, "threads must be a whole number, got True"),
        ({"threads": []}, "threads must have at least 1 entry, got []"),
        ({"threads": {"a": 1}}, "threads must be a list, got {'a': 1}"),
        ({"threads": "[1"}, "threads must be a list such as a,b or [a, b], got '[1'"),
        ({"threads": "[" * 4000}, "threads must be nested at most 8 deep"),
        ({"threads": [1] * 100_001}, "threads must have at most 100000 entries, got 100001"),
        (
            {"workloads": ["gpt3"]},
            f"workloads: there is no workload 'gpt3': did you mean \"gpt2\"? (known: {', '.join(NAMES)})",
        ),
        ({"workloads": []}, "workloads must have at least 1 entry, got []"),
        ({"unsupported": "maybe"}, "unsupported must be true or false, got 'maybe'"),
        ({"unsupported": []}, "unsupported must be true or false, got []"),
        ({"python": 1.5}, "python must be text, got 1.5"),
        ({"python": True}, "python must be text, got True"),
        ({"python": "/bin/py\0thon"}, "python must not hold a NUL character, got '/bin/py\\x00thon'"),
        ({"python": "x" * 4097}, "python must be at most 4096 characters, got 4097"),
        ({"python": "\udc80"}, "python must be text in UTF-8, got '\\udc80'"),
        ({"metric_json": ""}, "metric_json must not be empty"),
        ({"command": "'"}, 'command must be the words of a command, got "\'": no closing quotation'),
        ({"command": ["a", "b\0"]}, "command must not hold a NUL character, got 'b\\x00'"),
        ({"command": [["a"]]}, "every entry of command must be text, got ['a']"),
        (
            {"metric": "a", "command": "x"},
            "metric must have one group in parentheses, round the number, and has 0, got 'a'",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        load(given)
    assert str(caught.value) == message


def test_an_unknown_name_is_told_with_the_nearest_known_one() -> None:
    with pytest.raises(UsageError) as caught:
        load({"thraeds": 4})
    assert str(caught.value) == (
        f"unknown parameter 'thraeds': did you mean \"threads\"? (known: {', '.join(Params.model_fields)})"
    )
    with pytest.raises(UsageError, match=r"^unknown parameter 'xxxx.*xx' .known: ") as caught:
        load({"x" * 10_000: 4})
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("model", TOPICS.values())
def test_nothing_that_is_given_ends_in_a_traceback_or_in_pydantics_words(model: type[Value]) -> None:
    """Every parameter of every topic, given what it cannot be."""
    deep: object = []
    for _ in range(5000):
        deep = [deep]
    for name in model.model_fields:
        for value in (
            math.nan,
            -math.inf,
            1e300,
            -1,
            10**5000,
            "\0",
            "[" * 4000,
            "x" * 10_000,
            deep,
            {},
            b"x",
            object(),
        ):
            try:
                load_topic(model, {name: value})
            except UsageError as error:
                said = str(error)
                assert "\n" not in said
                assert len(said) < 1000
                assert "Input should" not in said
                assert "validat" not in said


def test_given_wins_over_variables_and_those_over_the_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load({}).budget == "standard"
    assert load({"host": "datacenter"}).budget == "thorough"
    monkeypatch.setenv("HWDIAG_BUDGET", "quick")
    assert load({"host": "datacenter"}).budget == "quick"
    assert load({"host": "datacenter", "budget": "standard"}).budget == "standard"
    assert load({"host": "datacenter", "budget": None}).budget == "quick"


@pytest.mark.parametrize("verb", [verb for verb, model in TOPICS.items() if "host" in model.model_fields])
def test_precedence_is_the_same_in_every_topic(verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given, then the variable, then the profile, then the default, for a parameter of each kind that the topic has."""
    (tmp_path / "params").mkdir()
    monkeypatch.setenv("HWDIAG_HOME", str(tmp_path))
    others: dict[Any, tuple[Any, Any, Any]] = {
        float: (2.5, 3.5, 4.5),
        int: (2000, 2001, 2002),
        bool: (True, False, True),
    }
    model = TOPICS[verb]
    for name, field in model.model_fields.items():
        kind = kind_of(field)
        if kind.is_list or kind.type not in others:
            continue
        in_profile, in_variable, given = others[kind.type]
        if name in ("higher_is_better", "pid"):
            continue
        profile = tmp_path / "params" / "box.yaml"
        profile.write_text(f"{name}: {json.dumps(in_profile)}\n")
        assert getattr(load_topic(model, {}), name) == field.default
        with monkeypatch.context() as patched:
            patched.setenv("HWDIAG_HOST", "box")
            assert getattr(load_topic(model, {}), name) == in_profile
            patched.setenv(variable(name), str(in_variable))
            assert getattr(load_topic(model, {}), name) == in_variable
            assert getattr(load_topic(model, {name: given}), name) == given
            assert getattr(load_topic(model, {name: None}), name) == in_variable


def test_what_is_wrong_says_where_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params").mkdir()
    monkeypatch.setenv("HWDIAG_HOME", str(tmp_path))
    path = tmp_path / "params" / "x.yaml"
    path.write_text("minutes: soon\nexpect: {min_cores: none}\n")
    with pytest.raises(UsageError, match=f"^{path}: minutes must be a number, got 'soon'$"):
        load({"host": "x"})
    with pytest.raises(UsageError, match=rf"^{path}: expect.min_cores must be a whole number, got 'none'$"):
        load({"host": "x", "minutes": 1})
    monkeypatch.setenv("HWDIAG_MINUTES", "later")
    with pytest.raises(UsageError, match=r"^HWDIAG_MINUTES: minutes must be a number, got 'later'$"):
        load({"host": "x"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [", "{path} cannot be read: while parsing a flow node"),
        ("- 1", "{path} must hold 'name: value' lines"),
        ("", "{path} must hold 'name: value' lines"),
        ("bugdet: quick", "{path}: unknown parameter 'bugdet': did you mean \"budget\"? (known: budget, "),
        ("host: dgx", "{path}: unknown parameter 'host'"),
        ("expect: {arhc: x}", "{path}: unknown parameter 'expect.arhc'"),
        ("expect: {min_sockets: 0}", "{path}: expect.min_sockets must be at least 1, got 0"),
        ("expect: [1]", "{path}: expect must be 'name: value' lines, got [1]"),
        ("minutes: .inf", "{path}: minutes must be a finite number, got inf"),
        ("minutes: 1e300", "{path}: minutes must be above 0 and at most 10080, got '1e300'"),
        ("title: 2026-01-01", "{path}: title must be text, got datetime.date(2026, 1, 1)"),
        ('title: "a\\0b"', "{path} must not hold a NUL character"),
        ("title: &a x\npython: *a", "{path} must not refer to other values by *name"),
        (f"title: {'x' * 5000}", "{path} must hold texts of at most 4096 characters"),
        (f"seed: {'9' * 4096}", "{path}: seed must be at least 0 and at most 4294967295, got a number of more"),
        (f"seed: -{'9' * 4000}", "{path}: seed must be at least 0 and at most 4294967295, got a number of more"),
        ("".join(f"k{i}: 1\n" for i in range(1001)), "{path} must hold at most 1000 names"),
        ("".join(f"k{i}: 1\n" for i in range(100_000)), "{path} must be at most 262144 characters"),
        ("".join(f"{i:x}: \n" for i in range(30_000)), "{path} must hold at most 1000 names"),
        (f"threads: {'[' * 50_000}", "{path} must be nested at most 8 deep"),
        (f"threads: [{'1, ' * 50_000}]", "{path} must hold at most 10000 values"),
        (f"{'? ' * 50_000}", "{path} must be nested at most 8 deep"),
        ("".join(f"{' ' * i}k:\n" for i in range(500)), "{path} must be nested at most 8 deep"),
        (f"title: '{'x ' * 100_000}'", "{path} must hold texts of at most 4096 characters"),
        ("[a, b]: 1", "{path} cannot be read: "),
        ("title: !!python/object/apply:os.system [id]", "{path} must not hold tags, such as 'tag:yaml.org,2002:python"),
        ('seed: !!int ""', "{path} must not hold tags, such as 'tag:yaml.org,2002:int'"),
        ("title: 2026-13-01", "{path} cannot be read: month must be in 1..12"),
        ("seed: 0b_", "{path} cannot be read: "),
    ],
)
def test_a_profile_that_is_wrong_is_refused_in_a_line_and_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
) -> None:
    (tmp_path / "params").mkdir()
    monkeypatch.setenv("HWDIAG_HOME", str(tmp_path))
    path = tmp_path / "params" / "x.yaml"
    path.write_text(text)
    began = time.process_time()
    with pytest.raises(UsageError) as caught:
        load({"host": "x"})
    assert time.process_time() - began < 1
    assert str(caught.value).startswith(message.replace("{path}", str(path)))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1200


def test_a_profile_that_is_no_text_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "params").mkdir()
    monkeypatch.setenv("HWDIAG_HOME", str(tmp_path))
    (tmp_path / "params" / "x.yaml").write_bytes(b"title: \xff\n")
    os.mkfifo(tmp_path / "params" / "fifo.yaml")
    for name, message in (("x", "cannot be read"), ("fifo", "no host profile 'fifo'")):
        with pytest.raises(UsageError, match=message):
            load({"host": name})


def test_a_topic_reads_from_the_profile_what_is_its_own() -> None:
    assert load_topic(TOPICS["audit"], {"host": "datacenter"}).model_dump()["role"] == "shared"
    assert load_topic(TOPICS["devices"], {"host": "datacenter"}).model_dump()["budget"] == "thorough"
    with pytest.raises(UsageError, match="no host profile 'nowhere'"):
        load_topic(TOPICS["monitor"], {"host": "nowhere"})


def test_a_folder_without_profiles_has_those_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWDIAG_HOME", str(tmp_path))
    assert load_topic(TOPICS["compat"], {}) == TOPICS["compat"]()
    assert load({"host": "datacenter"}).budget == "thorough"
    (tmp_path / "params").mkdir()
    (tmp_path / "params" / "datacenter.yaml").write_text("budget: quick\n")
    assert load({"host": "datacenter"}).budget == "quick"  # one's own goes first


def test_lists_may_come_as_text() -> None:
    assert load({"threads": "[1, 2]"}).threads == (1, 2)
    assert load({"threads": "1,2"}).threads == (1, 2)
    assert load({"threads": 4}).threads == (4,)
    assert load({"workloads": "copy, triad"}).workloads == ("copy", "triad")
    assert load({"command": "python -c 'print(1)'"}).command == ("python", "-c", "print(1)")
    assert load({"command": "[echo, a b, on, 1]"}).command == ("echo", "a b", "on", "1")
    assert load({"command": ["python", "-c", "x" * 100_000]}).command == ("python", "-c", "x" * 100_000)


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_is_valid_and_says_what_it_is(name: str) -> None:
    profile = load({"host": name})
    assert profile.host == name
    assert profile.title


def test_the_first_profiles_are_there() -> None:
    wanted = {"auto", "dgx", "xeon-e5v2", "xeon-e5v2-rtx3060", "threadripper", "datacenter"}
    assert wanted <= set(profile_names())


@pytest.mark.parametrize("named", ["/no/where", "~nobody-of-that-name/x", "x" * 5000, "/etc/passwd"])
def test_a_home_that_is_no_folder_is_told_in_a_line(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWDIAG_HOME", named)
    with pytest.raises(UsageError, match=r"^HWDIAG_HOME must name a folder, got '.{3,100}'$"):
        load({})


def test_interpreters_are_checked_before_anything_runs(tmp_path: Path) -> None:
    assert interpreter(load({})) == sys.executable
    with pytest.raises(UsageError, match="there is no file /no/where"):
        interpreter(load({"python": "/no/where"}))
    (tmp_path / "python").touch(mode=0o644)
    with pytest.raises(UsageError, match="not executable"):
        interpreter(load({"python": str(tmp_path / "python")}))


# --- one schema: whatever shows a parameter is made from it -----------------------------------------------------------


def test_notebooks_and_documents_are_the_schemas() -> None:
    """Where this fails: python -m hwdiag.workbook.params --write."""
    assert [str(path) for path, text in documents(ROOT) if path.read_text(encoding="utf-8") != text] == []


@pytest.mark.parametrize("place", ["notebooks/monitor.ipynb", "docs/parameters.md"])
def test_a_text_that_is_changed_in_one_place_is_seen(tmp_path: Path, place: str) -> None:
    for name in ("notebooks", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    path = tmp_path / place
    path.write_text(path.read_text().replace("samples a second, 1 to 10", "samples").replace("order of meas", "meas"))
    assert [str(p.relative_to(tmp_path)) for p, text in documents(tmp_path) if p.read_text() != text] == [place]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_papermill_reads_names_and_help_from_each_cell(name: str) -> None:
    """It drops a line that has a second = or a type that it does not know."""
    seen = papermill.inspect_notebook(str(ROOT / "notebooks" / f"{name}.ipynb"))
    fields = TOPICS[NOTEBOOKS[name]].model_fields
    assert {n: (p["help"], p["default"]) for n, p in seen.items()} == {
        n: (field.description, "None") for n, field in fields.items()
    }
    often = [n for n in seen if n in OFTEN]
    if len(fields) >= LONG:
        assert list(seen)[: len(often)] == often, "what most runs want comes first in a long cell"


def test_a_parameter_that_was_not_given_says_what_holds_without_it() -> None:
    """The tables said "as found" and "as described above"."""
    shown = dict(ChosenParameters(CheckParams(host="box")).table().rows)
    assert shown["host"] == "box"
    assert shown["python"] == "not given: the workbook's own"
    assert shown["packages"] == "not given: all with native code"


@pytest.mark.parametrize("verb", [verb.split()[0] for verb in TOPICS] + ["tune", "diagnose"])
def test_a_verb_offers_its_parameters_with_help_and_default(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([verb, "--help"])
    said = " ".join(capsys.readouterr().out.split())
    model = TOPICS.get(verb, Params)
    names = [n for n in model.model_fields if re.search(rf"{flags_of(n, model.model_fields[n])[0]}[ ,]", said)]
    missing = (
        set(model.model_fields) - set(names) - {n for n, f in model.model_fields.items() if option_of(f).positional}
    )
    of_tune = {"workload_file", "metric", "metric_json", "higher_is_better", "command_timeout", "goal"}
    assert missing == {"run": of_tune, "diagnose": of_tune, "tune": {"snapshot", "workloads", "data_dir"}}.get(
        verb, set()
    )
    assert all(help_of(model.model_fields[n]) in said for n in names)


def test_options_are_read_as_the_same_values_elsewhere() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, Params)
    words = "--threads 1,2 --threads 4 --workloads [copy,triad] --no-unsupported --minutes 2 --set seed=7 -- echo a,b"
    profile = load(given(parser.parse_args(words.split()), Params))
    assert (profile.threads, profile.workloads, profile.unsupported) == ((1, 2, 4), ("copy", "triad"), False)
    assert (profile.minutes, profile.seed, profile.command) == (2, 7, ("echo", "a,b"))


def test_what_was_not_given_is_left_to_variables_and_profile() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, Params)
    assert given(parser.parse_args([]), Params) == {}


def test_an_entry_with_commas_stays_whole_where_it_may_have_some() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser, AuditParams)
    args = parser.parse_args(["--knob", "gpu.clocks=5001,1590", "--knob", "memory"])
    assert given(args, AuditParams) == {"knobs": ["gpu.clocks=5001,1590", "memory"]}


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
