"""``hwdiag tune`` as a person meets it: a command, a file, many instances, and what each mistake says."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from hwdiag.core.errors import UsageError
from hwdiag.core.home import home
from hwdiag.core.interval import Interval
from hwdiag.diagnose.run import Diagnosis
from hwdiag.experiment.model import Comparison, Measurement
from hwdiag.parameters.diagnosis import interpreter, load, user_file_path
from hwdiag.process.model import Outcome
from hwdiag.record import store
from hwdiag.record.model import Record
from hwdiag.record.tuning import tuning
from tests.conftest import make_host

pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own: params as they are, nothing in outputs."""
    shutil.copytree(home() / "params", tmp_path / "home" / "params")
    monkeypatch.setenv("HWDIAG_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def tune(*args: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hwdiag", "tune", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


# Parameters


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"metric": "(a)"}, "^metric is of a command, and there is none"),
        ({"command": ["x"], "metric": "speed"}, "metric must have one group in parentheses, .* has 0, got 'speed'"),
        ({"command": ["x"], "metric": "(a)(b)"}, "must have one group in parentheses, .* has 2"),
        ({"command": ["x"], "metric": "(a"}, "metric must be a regular expression"),
        ({"command": ["x"], "metric": "(" * 2000}, "metric must be a regular expression"),
        ({"command": ["x"], "metric": "(a{99999999999})"}, "metric must repeat a part at most 10000 times"),
        ({"command": ["x"], "metric": "(a)", "metric_json": "b"}, "give metric or metric_json, and not both"),
        ({"command": ["x"], "workload_file": "y.py"}, "give command or workload_file, and not both"),
        ({"command": ["x"], "higher_is_better": True}, "less time is always better"),
        ({"command": []}, "command must have at least 1 entry"),
        ({"command": "python 'x"}, "command must be the words of a command, got .*: no closing quotation"),
        ({"minutes": 0}, "minutes must be above 0 and at most 10080, got 0"),
        ({"goal": "both"}, "goal must be latency or throughput, got 'both'"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(given: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        load(given)
    assert "\n" not in str(caught.value)


def test_a_command_may_come_as_text_as_a_shell_would_split_it() -> None:
    assert load({"command": "python 'my script.py' -n 3"}).command == ("python", "my script.py", "-n", "3")
    assert load({"command": "[python, my script.py]"}).command == ("python", "my script.py")


def test_a_command_that_starts_with_a_python_runs_that_ones_torch(tmp_path: Path) -> None:
    python = tmp_path / "python3.12"
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    assert interpreter(load({"command": [str(python), "main.py"]})) == str(python)
    assert interpreter(load({"command": [str(python), "main.py"], "python": sys.executable})) == sys.executable
    assert interpreter(load({"command": ["/bin/sh", "main.sh"]})) == sys.executable


def test_the_file_is_looked_for_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"there is no Python file /no/where\.py"):
        user_file_path(load({"workload_file": "/no/where.py"}))
    (tmp_path / "mine.py").touch()
    assert user_file_path(load({"workload_file": str(tmp_path / "mine.py")})) == tmp_path / "mine.py"


# The command line


def test_wrong_usage_is_one_line_and_status_2(workshop: Path) -> None:
    for args, message in (
        ((), "tune what? Give a command after --, or --file FILE"),
        (("--file", "/no/where.py"), "there is no Python file /no/where.py"),
        (("--minutes", "0", "--", "true"), "minutes must be above 0 and at most 10080, got '0'"),
        (("--minutes", "0.01", "--", "sleep", "0.2"), "the search needs some"),
    ):
        done = tune(*args)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert message in done.stderr.splitlines()[-1]
    assert not list(workshop.rglob("record.json"))


def test_a_command_that_fails_is_the_verdict_and_status_1(workshop: Path) -> None:
    done = tune("--json", "--", "sh", "-c", "echo no such model >&2; exit 3")
    summary = json.loads(done.stdout)
    assert (done.returncode, summary["measured"]) == (1, False)
    assert summary["verdict"] == "Nothing could be measured: command: exit status 3: no such model."
    record = store.load(workshop / summary["record"])
    assert len(tuning(record).measurements) == 1  # it was not tried in other ways
    assert "no such model" in (workshop / summary["report"]).read_text()


def test_a_command_that_runs_well_once_only_is_refused_with_a_hint(workshop: Path, tmp_path: Path) -> None:
    """Its number of runs is said before the first."""
    place = tmp_path / "out"
    done = tune("--minutes", "1", "--", "sh", "-c", f"echo ran >&2; mkdir {place}")
    assert done.returncode == 2
    said = done.stderr.splitlines()
    assert "the command will run some" in next(line for line in said if line.startswith("hwdiag: "))
    assert "its second run did not: exit status 1: mkdir: cannot create directory" in said[-1]
    assert "clear what it leaves behind before each run" in said[-1]
    assert not list(workshop.rglob("launch.sh"))


@pytest.mark.usefixtures("workshop")
def test_an_interrupted_command_leaves_nothing_running() -> None:
    seconds = f"{700 + time.time() % 60:.6f}"
    command = [sys.executable, "-m", "hwdiag", "tune", "--", "sh", "-c", f"setsid sleep {seconds} & sleep {seconds}"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def sleepers() -> int:
        return sum(["sleep", seconds] == p.info["cmdline"] for p in psutil.process_iter(["cmdline"]))

    deadline = time.monotonic() + 60
    while sleepers() < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(2)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "hwdiag: interrupted; nothing is left running"
    assert sleepers() == 0


@pytest.mark.slow
def test_a_command_is_tuned_to_its_end(workshop: Path) -> None:
    """Not torch at all: it says that it is twice as fast where glibc keeps its heap."""
    code = "import os; print('rate', 2 if 'mmap_max' in os.environ.get('GLIBC_TUNABLES', '') else 1)"
    args = ("--minutes", "1", "--budget", "quick", "--metric", r"(?P<steps_per_s>\d)$", "--higher-is-better")
    done = tune(*args, "--json", "--", sys.executable, "-IS", "-c", code)
    summary = json.loads(done.stdout)
    assert "glibc.malloc.mmap_max=0" in summary["verdict"], done.stderr
    assert "2.00x (2.00 to 2.00) as fast with" in summary["verdict"]
    record = store.load(workshop / summary["record"])
    assert [w.name for w in tuning(record).workloads] == ["command"]
    assert tuning(record).workloads[0].unit == "steps_per_s"
    script = (workshop / summary["launch"]).read_text()
    assert "GLIBC_TUNABLES=glibc.malloc.mmap_max=0" in script
    report = (workshop / summary["report"]).read_text()
    assert "steps_per_s" in report


# Throughput, from the plan to the files, on a machine of eight cores that is not here


def measured(plan: str, seconds: float, latency: float | None, i: int) -> Measurement:
    return Measurement(
        id=f"m{i:04}", plan=plan, workload="command", phase="confirm", block=i, process=i,
        outcome=Outcome(kind="ok"), seconds=(seconds,), latency_s=latency,
    )  # fmt: skip


@pytest.mark.usefixtures("workshop")
def test_throughput_is_planned_recommended_and_emitted(monkeypatch: pytest.MonkeyPatch) -> None:
    host = make_host(nodes=2)
    monkeypatch.setattr("hwdiag.diagnose.run.read_host", lambda root: host)
    run = Diagnosis(load({"command": ["python3", "serve it.py"], "goal": "throughput"}))
    record = run.plan()
    (team,) = [plan for plan in tuning(record).plans if len(plan.launch.instances) == 2]
    gain = Interval(median=1.5, low=1.4, high=1.6, processes=16)
    facts: dict[str, Any] = {
        "measurements": (measured("default", 0.5, None, 1), measured(team.id, 1 / 3, 2 / 3, 2)),
        "comparisons": (
            Comparison(workload="overall", baseline="default", candidate=team.id, phase="confirm", speedup=gain,
                       p_value=0.0001, verdict="better", why="it is", measurements=("m0001", "m0002")),
        ),
    }  # fmt: skip
    study = tuning(record).model_copy(update=facts)
    run.record = record.model_copy(update={"studies": {"tune": study}})
    record = run.advise()
    first = record.recommendations[0]
    assert first.instances == 2
    assert record.verdict == (
        "Your command: 2 instances at the same time, 4 threads each, on CPUs 0-3; 4-7, each with the memory of "
        "its node, give 1.50x (1.40 to 1.60) the throughput of one process."
    )
    assert "One iteration of command: 0.667 s in each instance, 0.5 s in one process today." in first.why
    assert "2 processes hold that many times the memory of one." in first.risk
    run.emit()
    files = {f.path for f in run.record.files}
    assert files == {"scripts/launch-instances.sh", "scripts/hwdiag-worker@.service"}
    script = run.folder / "scripts" / "launch-instances.sh"
    assert "INSTANCES=2" in script.read_text()
    assert (
        f'"{script}" --instance %i -- "python3" "serve it.py"' in script.with_name("hwdiag-worker@.service").read_text()
    )
    record = run.finish()
    again = Record.model_validate_json((run.folder / "record.json").read_text())
    assert again.model_dump(mode="json") == record.model_dump(mode="json")
    assert tuning(again) == tuning(record)
    assert [len(plan.launch.instances) for plan in tuning(again).plans if plan.id == team.id] == [2]
    assert "launch-instances.sh" in (run.folder / "report.html").read_text()


def test_what_there_was_no_time_for_is_told() -> None:
    from hwdiag.diagnose.conclusions import untried
    from hwdiag.record.tuning import Tuning

    (check,) = untried(Tuning(started_at="", untried=("torch.compile",)))
    assert (check.state, check.title) == ("unchecked", "Not tried, as the time was used up: torch.compile")
    assert untried(Tuning(started_at="")) == ()
