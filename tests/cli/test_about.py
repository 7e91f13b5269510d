"""What is made from the command line's own texts, and the file to attach to a report of a fault."""

from __future__ import annotations

import getpass
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from hwdiag.cli import make_parser
from hwdiag.cli.bug_report import without_names, write_bug_report
from hwdiag.cli.texts import completion, manual, verbs_page
from hwdiag.host.archive import open_root
from hwdiag.host.read import read_host
from hwdiag.record import store
from tests.record.test_store import make_record

DOCS = Path(__file__).parents[2] / "docs"
MANUAL = DOCS / "hwdiag.1"
pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="argparse lays options out otherwise")
def test_the_pages_of_the_command_line_are_in_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where this fails: python tools/manual.py."""
    monkeypatch.setenv("COLUMNS", "80")
    assert MANUAL.read_text(encoding="utf-8") == manual(*make_parser())
    assert (DOCS / "verbs.md").read_text(encoding="utf-8") == verbs_page(make_parser()[1])


def test_the_manual_page_has_every_verb_and_what_help_leaves_out() -> None:
    text = MANUAL.read_text(encoding="utf-8").replace("\\-", "-")
    _, verbs = make_parser()
    assert [v for v in {sub.prog for sub in verbs.values()} if f"'{v}'" not in text] == []
    assert "is started again for every measurement" in text
    assert "hwdiag explain --pid 4711" in text


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completion_is_a_script_that_the_shell_reads(shell: str, tmp_path: Path) -> None:
    text = completion(shell, *make_parser())
    assert "--knob" in text
    assert "standard" in text  # a choice
    if shutil.which(shell):
        (tmp_path / "hwdiag").write_text(text)
        done = subprocess.run([shell, "-n", tmp_path / "hwdiag"], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_bash_completes_verbs_and_options(tmp_path: Path) -> None:
    (tmp_path / "hwdiag").write_text(completion("bash", *make_parser()))
    ask = f"""source {tmp_path}/hwdiag
    COMP_WORDS=($1 $2 $3); COMP_CWORD=$(( $# - 1 )); $(complete -p hwdiag | sed 's/.*-F \\([^ ]*\\).*/\\1/') hwdiag
    printf '%s\\n' "${{COMPREPLY[@]}}" """
    for words, wanted in ((["hwdiag", "es"], "estimate"), (["hwdiag", "audit", "--kn"], "--knob")):
        done = subprocess.run(["bash", "-c", ask, "-", *words], capture_output=True, text=True, timeout=60)
        assert wanted in done.stdout.split(), done.stderr


def test_a_bug_report_holds_facts_record_and_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWDIAG_HOME", str(tmp_path))
    folder = tmp_path / "outputs" / "box" / "20261201T000000Z"
    folder.mkdir(parents=True)
    store.save(make_record(verdict=f"On {os.uname().nodename} of {Path.home()}."), folder)
    file = tmp_path / "fault.tar.gz"
    assert write_bug_report(file, None) == ["host.tar.gz", "record.json", "versions.txt"]
    with tarfile.open(file) as archive:
        archive.extractall(tmp_path / "there", filter="data")
    there = tmp_path / "there" / "hwdiag-bugreport"
    assert "hwdiag " in (there / "versions.txt").read_text()
    assert "pydantic==" in (there / "versions.txt").read_text()
    assert read_host(open_root(str(there / "host.tar.gz"))).system.kernel == os.uname().release
    json.loads((there / "record.json").read_text())


def test_names_are_left_out_of_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "mustermann")
    monkeypatch.setenv("HOME", "/home/mustermann")
    text = f"{os.uname().nodename}-gpu /home/mustermann/x GPU-5e3b1c0a-1111-2222-3333-444455556666 mustermann".encode()
    said = without_names(text).decode()
    assert "mustermann" not in said
    assert "5e3b1c0a" not in said
    if len(os.uname().nodename) > 3:
        assert os.uname().nodename not in said
