"""Commands of the user's own: what they print becomes a number, what goes wrong one line, and nothing outlives them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from hwdiag.experiment.budget import BUDGETS
from hwdiag.experiment.campaign import Campaign
from hwdiag.experiment.commands import Commands
from hwdiag.experiment.lever import DEFAULT, Factor, Lever, Plan
from hwdiag.process.command import MetricError, Ran, Running, metric
from hwdiag.process.launch import Allocator, InstancePlacement, Launch, MemoryPolicy
from hwdiag.process.model import Command
from hwdiag.tune.tune import tune
from hwdiag.tune.user_workloads import command_workload

USABLE = sorted(os.sched_getaffinity(0))
AS_IT_IS = Launch()


def run(*argv: str, launch: Launch = AS_IT_IS, **more: Any) -> Ran:
    with Running(Command.model_validate({"argv": argv, "timeout_s": 20, **more}), launch) as running:
        return running.ran()


def failure(*argv: str, launch: Launch = AS_IT_IS, **more: Any) -> tuple[str, str]:
    ran = run(*argv, launch=launch, **more)
    assert ran.value is None
    assert "\n" not in ran.outcome.detail
    return ran.outcome.kind, ran.outcome.detail


@pytest.fixture
def nap() -> Iterator[Callable[[], str]]:
    """Gives ``sleep SECONDS`` with a number of seconds that nobody else sleeps; afterwards none of it may be left."""
    seconds = f"{600 + time.time() % 60:.6f}"

    def sleepers() -> list[psutil.Process]:
        return [p for p in psutil.process_iter(["cmdline"]) if seconds in (p.info["cmdline"] or ())]

    yield lambda: f"sleep {seconds}"
    left = sleepers()
    for process in left:
        process.kill()
    assert not left


# What it measures


def test_the_wall_time_is_that_of_the_command_alone() -> None:
    value = run("sleep", "0.3").value
    assert value == pytest.approx(0.3, abs=0.1)


def test_the_last_match_counts_on_either_output() -> None:
    text = "import sys; print('speed 1.5 it/s'); print('speed 2.5 it/s'); print('loss 7', file=sys.stderr)"
    assert run(sys.executable, "-c", text, metric=r"speed ([\d.]+)").value == 2.5
    assert run(sys.executable, "-c", text, metric=r"loss (\d+)").value == 7


def test_json_is_all_of_the_output_or_its_last_line() -> None:
    asked = Command(argv=("x",), metric_json="runs.1.fps")
    assert metric(asked, '{"runs": [{"fps": 1}, \n {"fps": "2.5"}]}', "", 1) == 2.5
    asked = Command(argv=("x",), metric_json="fps")
    assert metric(asked, 'warming up\n{"fps": 1}\n{"fps": 3}\n{"done": true}', "", 1) == 3
    for text in ("", "{", '{"fps": null}', "[1]", "fps"):
        with pytest.raises(MetricError, match="no JSON with a field 'fps'"):
            metric(asked, text, "", 1)
    with pytest.raises(MetricError, match="no number: 'True'"):
        metric(asked, '{"fps": true}', "", 1)


def test_units_and_the_direction_of_the_metric() -> None:
    rate = command_workload(Command(argv=("x",), metric=r"(?P<images_per_s>\d+)", higher_is_better=True))
    assert (rate.unit, rate.value(0.25)) == ("images_per_s", 4)
    assert command_workload(Command(argv=("x",), metric_json="result.fps")).unit == "fps"
    wall = command_workload(Command(argv=("x",)))
    assert (wall.unit, wall.value(0.25)) == ("s", 0.25)


def test_a_record_with_a_bad_expression_is_refused() -> None:
    for bad in ("(", "none", "(two)(groups)"):
        with pytest.raises(ValueError, match="metric"):
            Command.model_validate({"argv": ("x",), "metric": bad})


def test_the_launch_is_applied_and_seen(tmp_path: Path) -> None:
    cpu = USABLE[-1]
    show = f"env > {tmp_path}/env; grep Cpus_allowed_list /proc/self/status > {tmp_path}/cpus"
    ran = run("sh", "-c", show, launch=Launch(threads=1, cpus=(cpu,), env={"A": "b c"}))
    assert ran.outcome.ok, ran.outcome.detail
    assert ran.applied is not None
    assert ran.applied.cpus == (cpu,)
    assert {"OMP_NUM_THREADS=1", "A=b c"} <= set((tmp_path / "env").read_text().splitlines())
    assert (tmp_path / "cpus").read_text().split()[1] == str(cpu)


# What goes wrong: one line each, and nothing left


def test_a_command_that_fails_is_told_with_its_last_line() -> None:
    assert failure("sh", "-c", "echo first >&2; echo no such model >&2; exit 3") == (
        "error",
        "exit status 3: no such model",
    )
    assert failure("/no/such/program") == (
        "not-started",
        "the command cannot be started: /no/such/program: No such file or directory",
    )
    kind, detail = failure("sh", "-c", "kill -SEGV $$")
    assert (kind, detail) == ("signal", "killed by SIGSEGV (segmentation fault) in the command")


@pytest.mark.parametrize(
    ("printed", "message"),
    [
        ("done", "it prints nothing that matches 'speed (.+)': done"),
        ("speed nan", "its metric is nan: comparing needs a number above 0"),
        ("speed inf", "its metric is inf: comparing needs a number above 0"),
        ("speed 0", "its metric is 0: comparing needs a number above 0"),
        ("speed -1", "its metric is -1: comparing needs a number above 0"),
        ("speed fast", "its metric is no number: 'fast'"),
    ],
)
def test_a_metric_that_is_none(printed: str, message: str) -> None:
    assert failure("echo", printed, metric="speed (.+)") == ("error", message)


def test_a_command_that_hangs_is_killed_with_all_it_started(nap: Callable[[], str]) -> None:
    started = time.monotonic()
    detail = failure("sh", "-c", f"setsid {nap()} & (setsid {nap()} &) ; {nap()}", timeout_s=1)
    assert detail == ("timeout", "no end after 1 s: killed, with all it started")
    assert time.monotonic() - started < 10


def test_one_that_ignores_every_signal_is_killed_too(nap: Callable[[], str]) -> None:
    assert failure("sh", "-c", f"trap '' TERM INT HUP; {nap()}; {nap()}", timeout_s=0.5)[0] == "timeout"


def test_children_that_would_outlive_it_are_killed_and_its_value_counts(nap: Callable[[], str]) -> None:
    """In its group, in a session of their own, and as a daemon that forked twice and holds the output open."""
    text = f"{nap()} & setsid {nap()} & (setsid sh -c '{nap()} & {nap()}' &) ; sleep 0.2; echo speed 4"
    ran = run("sh", "-c", text, metric=r"speed (\d)")
    assert (ran.outcome.kind, ran.value) == ("ok", 4)


@pytest.mark.parametrize(
    "argv",
    [
        (sys.executable, "-c", "input('name? ')"),
        ("sh", "-c", "read name </dev/tty"),
        (sys.executable, "-c", "import os; os.get_terminal_size(0)"),
        ("stty", "raw"),
    ],
)
def test_one_that_needs_a_terminal_is_told_that_there_is_none(argv: tuple[str, ...]) -> None:
    kind, detail = failure(*argv)
    assert (kind, detail.endswith("(it wants a terminal, and has none here)")) == ("error", True), detail


def test_much_output_is_read_and_only_its_end_kept() -> None:
    text = "for i in range(200000): print('x' * 100)\nprint('speed 5')"
    assert run(sys.executable, "-c", text, metric=r"speed (\d)").value == 5


@pytest.mark.parametrize(
    ("launch", "message"),
    [
        (Launch(cpus=(USABLE[0], 4000)), rf"asked for CPUs {USABLE[0]},4000, may use {USABLE[0]}$"),
        (Launch(cpus=(4000,)), "^the binding failed with exit status 1: .*Invalid argument$"),
        (Launch(allocator=Allocator(name="jemalloc", path="/etc/passwd")), "^/etc/passwd was not loaded$"),
        (Launch(allocator=Allocator(name="jemalloc", path="/no/j.so")), "^/no/j.so was not loaded$"),
        (
            Launch(memory=MemoryPolicy(mode="bind", nodes=(63,))),
            "^the binding failed with exit status 1: (libnuma: .*node argument 63 is out of range|OSError: .*)$",
        ),
    ],
    ids=["an offline CPU", "only offline CPUs", "no shared object", "no file", "no such node"],
)
@pytest.mark.parametrize("tools", [True, False], ids=["tools", "no tools"])
def test_a_launch_that_cannot_be(
    launch: Launch, message: str, tools: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Bound by numactl and taskset, and by our own stand-in where they are not installed."""
    if not tools:
        monkeypatch.setenv("PATH", str(tmp_path))
    kind, detail = failure("/bin/true", launch=launch)
    assert kind == "not-applied"
    assert re.search(message, detail), detail


def test_an_interruption_leaves_nothing_running(nap: Callable[[], str]) -> None:
    def interrupted() -> None:
        with Running(Command(argv=("sh", "-c", f"setsid {nap()} & {nap()}")), AS_IT_IS):
            time.sleep(0.5)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()


def test_a_parent_that_is_killed_leaves_nothing_running(nap: Callable[[], str], tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    code = (
        "from hwdiag.process.command import *\n"
        f"Running(Command(argv=('sh', '-c', 'setsid {nap()} & touch {ready}; {nap()}')), Launch()).ran()"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    wait_until(ready.exists)
    assert ready.exists()
    parent.send_signal(signal.SIGKILL)
    parent.wait(10)
    seconds = nap().split()[1]
    wait_until(lambda: not any(seconds in " ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])))


def wait_until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)


# In a search


def variable(name: str) -> Lever:
    return Lever(id=name.lower(), factor="q", title=name, launch=Launch(env={name: "1"}))


def campaign_of(total_s: float = 120) -> Campaign:
    budget = BUDGETS["quick"].model_copy(update={"total_s": total_s})
    return Campaign(sys.executable, budget, seed=1, child_timeout_s=20, runner=Commands())


def test_a_search_finds_what_makes_a_command_faster() -> None:
    """A command that says how fast it was: the variable makes it 1.5 times as fast, more or less."""
    text = "import os, random; print('rate', (3 if os.environ.get('FAST') else 2) * random.gauss(1, 0.01))"
    workload = command_workload(
        Command(argv=(sys.executable, "-IS", "-c", text), metric="rate (.+)", higher_is_better=True)
    )
    factors = [Factor("q", (variable("SLOW"), variable("FAST")))]
    campaign = campaign_of()
    tuned = tune(campaign, factors, [workload], ["command"], 0.03)
    (overall,) = [c for c in tuned.comparisons if c.phase == "confirm" and c.workload == "overall"]
    assert (overall.candidate, overall.verdict) == ("fast", "better")
    assert overall.speedup.median == pytest.approx(1.5, abs=0.05)
    assert len({m.process for m in campaign.measurements}) == len(campaign.measurements)  # each in a fresh process


def test_where_the_default_fails_nothing_else_is_tried(tmp_path: Path) -> None:
    log = tmp_path / "log"
    workload = command_workload(Command(argv=("sh", "-c", f"echo run >> {log}; exit 1")))
    campaign = campaign_of()
    tuned = tune(campaign, [Factor("q", (variable("A"),))], [workload], ["command"], 0.03)
    assert tuned.comparisons == ()
    assert len(log.read_text().split()) == 2  # today's default, and its twin


def test_with_no_time_nothing_is_decided() -> None:
    workload = command_workload(Command(argv=("true",)))
    campaign = campaign_of(total_s=0)
    tuned = tune(campaign, [Factor("q", (variable("A"),))], [workload], ["command"], 0.03)
    assert (tuned.comparisons, tuned.noise) == ((), None)
    assert not campaign.measurements


def test_a_team_of_commands_runs_at_the_same_time() -> None:
    both = Launch(instances=(InstancePlacement(cpus=(USABLE[0],)), InstancePlacement(cpus=(USABLE[-1],))))
    team = Plan.of(Lever(id="two", factor="instances", title="two instances", launch=both))
    sleeper = command_workload(Command(argv=("sleep", "0.5")))
    alone, two = campaign_of().run([DEFAULT, team], [sleeper], "screen")
    by_plan = {m.plan: m for m in (alone, two)}
    # Two of half a second at the same time are one in a quarter of a second; each took half a second.
    assert by_plan["default"].median_s / by_plan["two"].median_s == pytest.approx(2, abs=0.5)
    assert by_plan["two"].latency_s == pytest.approx(0.5, abs=0.15)
    speaker = command_workload(Command(argv=("echo", "rate 8"), metric="rate (.)", higher_is_better=True))
    (said,) = campaign_of().run([team], [speaker], "screen")
    assert (said.median_s, said.latency_s) == (1 / 16, 1 / 8)
