"""Wrong invocations: each is one clear line on the standard error, before anything is measured or written."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hwdiag.cli import main, make_parser

pytestmark = pytest.mark.usefixtures("clean_environment")

WRONG = [
    # verbs
    ("hsot", 2, "there is no verb 'hsot': did you mean \"host\"? (hwdiag --help lists all)"),
    ("xyzzy", 2, "there is no verb 'xyzzy' (hwdiag --help lists all)"),
    ("help hsot", 2, "there is no verb 'hsot': did you mean \"host\"?"),
    ("--budget quick run", 2, "options stand behind the verb: hwdiag VERB --budget (hwdiag --help)"),
    # options: the verb's own usage
    ("run --budgt quick", 2, "unknown option '--budgt': did you mean \"--budget\"? (usage: hwdiag run [OPTIONS]; "),
    ("host --jsn", 2, "unknown option '--jsn': did you mean \"--json\"? (usage: hwdiag host [OPTIONS]; hwdiag host"),
    ("devices --workloads x", 2, "unknown option '--workloads' (usage: hwdiag devices [OPTIONS]"),
    ("run --budget", 2, "--budget needs a value (usage: hwdiag run [OPTIONS]"),
    ("monitor --out", 2, "--out needs a value (usage: hwdiag monitor [OPTIONS] [-- COMMAND ...]; hwdiag monitor --"),
    ("run --json=1", 2, "--json takes no value"),
    ("run --m 3", 2, "--m may be --min-effect, --minutes: write it in full"),
    ("run -q -v", 2, "give --verbose or --quiet, not both"),
    ("run --wait soon", 2, "argument --wait: must be 0 to 10080 minutes, got 'soon'"),
    ("devices --wait nan", 2, "argument --wait: must be 0 to 10080 minutes, got 'nan'"),
    # words
    ("run extra", 2, "nothing takes 'extra' (usage: hwdiag run [OPTIONS]"),
    ("snapshot a b", 2, "nothing takes 'b' (usage: hwdiag snapshot [OPTIONS] [FILE]"),
    ("profile --seconds 0 -- true", 2, "seconds must be above 0 and at most 600, got '0'"),
    ("tune --minutes 0 -- true", 2, "minutes must be above 0 and at most 10080, got '0'"),
    ("init", 2, "DIR is missing (usage: hwdiag init [OPTIONS] DIR; hwdiag init --help)"),
    ("init-host", 2, "NAME is missing"),
    ("init-host ../x", 2, "'../x' cannot name a profile: letters, digits, - and _ only"),
    ("completion", 2, "SHELL is missing"),
    ("completion fsh", 2, "there is no completion for shell 'fsh'"),
    # nothing that it is about
    ("report", 2, "report what? Give a record or its folder, or --host NAME"),
    ("tune", 2, "tune what? Give a command after --, or --file FILE"),
    ("explain", 2, "explain what? Give a command after --, or --pid PID of a process that runs"),
    ("profile", 2, "profile what? Give a command after --, or --file FILE"),
    ("estimate", 2, "which net? For example: hwdiag estimate resnet50"),
    # parameters, in our words
    ("run --minutes abc", 2, "minutes must be a number, got 'abc'"),
    ("run --minutes 0", 2, "minutes must be above 0 and at most 10080, got '0'"),
    ("run --budget quik", 2, "budget must be quick, standard or thorough, got 'quik': did you mean \"quick\"?"),
    ("diagnose --host dxg", 2, "no host profile 'dxg' in "),
    ("run --set thraeds=4", 2, "unknown parameter 'thraeds': did you mean \"threads\"?"),
    ("run --set threads", 2, "--set takes NAME=VALUE, not 'threads'"),
    ("run --workloads gpt3", 2, "workloads: there is no workload 'gpt3': did you mean \"gpt2\"?"),
    ("monitor --hz abc", 2, "hz must be a number, got 'abc'"),
    ("monitor --seconds 0", 2, "seconds must be above 0 and at most 1000000, got '0'"),
    ("monitor --hz 100", 2, "hz must be at least 1 and at most 10, got '100'"),
    ("tune --metric a -- ls", 2, "metric must have one group in parentheses"),
    ("tune --file x.py -- ls", 2, "give command or workload_file, and not both of them"),
    ("audit --knob nosuch", 2, "there is no setting 'nosuch'"),
    ("audit --knob vm.swappiness=abc", 2, "vm.swappiness takes 0 to 200, not 'abc'"),
    ("compat --static foo", 2, "unknown level 'foo' (known: x86-64-v2"),
    ("estimate nosuchnet", 2, "no net 'nosuchnet' (known: "),
    ("estimate resnet50 --part nosuch", 2, "no part 'nosuch' in the catalogue"),
    # programs, processes and files that are not there
    ("monitor -- nosuch", 127, "'nosuch' cannot be started: look at its path and its rights"),
    ("explain -- nosuch", 127, "'nosuch' cannot be started"),
    ("profile -- ./nosuch", 127, "'./nosuch' cannot be started"),
    ("tune -- nosuch", 127, "'nosuch' cannot be started"),
    ("dataloader -- nosuch", 127, "'nosuch' cannot be started"),
    ("explain --pid 2147483646", 2, "there is no process 2147483646"),
    ("dataloader --pid 2147483646", 2, "there is no process 2147483646"),
    ("run --python /no/where", 2, "parameter python: there is no file /no/where"),
    *((f"{verb} --python /bin/ls", 2, "parameter python: /bin/ls is no Python: it does not run a line of it")
      for verb in ("run", "diagnose", "devices", "compat", "dataloader", "estimate --check")),
    ("diagnose --python /no/where", 2, "parameter python: there is no file /no/where"),
    ("profile --file /no/such.py", 2, "there is no file /no/such.py"),
    ("profile --file /dev/null --python /no/python", 2, "there is no file /dev/null"),
    ("tune --file x.py", 2, "there is no Python file "),
    ("dataloader --file x.py", 2, "there is no Python file x.py"),
    ("host --snapshot /no/where", 2, "there is no snapshot /no/where"),
    ("host --drawing /no/where/x.svg", 1, "cannot write /no/where/x.svg: No such file or directory"),
    ("report /no/where", 2, "no record at /no/where"),
    ("report --host nobody", 2, "no record of nobody in "),
    ("compare /no/where", 2, "no record at /no/where"),
    ("bugreport --record /no/where", 2, "no record at /no/where"),
    ("monitor --out /dev/null/x --seconds 1", 1, "cannot write to /dev/null/x: Not a directory"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "status", "message"), WRONG, ids=[w for w, *_ in WRONG])
def test_a_wrong_invocation_is_one_clear_line(
    words: str,
    status: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "stdin", sys.__stdin__)
    monkeypatch.setenv("HWDIAG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == status
    said = capfd.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith("hwdiag: ")
    assert message in line
    assert "Traceback" not in line
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize("words", [[], ["help"], ["--help"]])
def test_help_of_all_fits_on_a_screen_with_examples(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "usage: hwdiag VERB [OPTIONS]"
    assert len(lines) <= 42
    listed = {line.split()[0] for line in lines if line.startswith("  ")}
    assert {"host", "diagnose", "tune", "dataloader", "bugreport", "completion"} <= listed
    assert any("hwdiag explain -- python train.py" in line for line in lines)
    assert any("hwdiag bugreport" in line for line in lines)  # where support is


VERBS = list(make_parser()[1])


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_verb_is_short_and_the_manual_has_all_of_it(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    said = []
    for words in ([verb, "--help"], ["help", verb]):
        with pytest.raises(SystemExit):
            main(words)
        said.append(capsys.readouterr().out.splitlines())
    short, whole = said
    name = {"check": "compat", "feed": "dataloader"}.get(verb, verb)
    assert short[0].startswith(f"usage: hwdiag {name} [OPTIONS]")
    assert len(short) <= 52
    assert set(short) <= set(whole)
    if verb in ("tune", "explain", "dataloader", "profile"):
        assert len(whole) > len(short)


def test_a_fault_of_its_own_is_one_line_and_verbose_shows_where(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: object) -> None:
        raise KeyError("lost")

    monkeypatch.setattr("hwdiag.host.read.read_host", broken)
    assert main(["host"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("hwdiag: a fault of hwdiag: KeyError in test_wrong_usage.py, line ")
    assert "hwdiag bugreport" in line
    with pytest.raises(KeyError):
        main(["host", "-v"])
