"""launch-instances.sh is run for real: what starts, what stops when, and what nobody may slip in."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from hwdiag.core.finding import Recommendation
from hwdiag.core.jinja import systemd_word
from hwdiag.host.model import Host
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.process.launch import Allocator, InstancePlacement, Launch, MemoryPolicy
from hwdiag.tune.instances_script import render_instances_script, render_unit, unit_path
from hwdiag.tune.launch_script import script_path

USABLE = sorted(os.sched_getaffinity(0))
WHY = Recommendation(id="launch-overall", scope="overall", plan="two", title="Two", why="It's most.", instances=2)
EVIL = "$(touch pwned)`touch pwned`'\"\\\n touch pwned; %n ${HOME} \u2028#"
TWO = Launch(threads=1, instances=(InstancePlacement(cpus=(USABLE[0],)), InstancePlacement(cpus=(USABLE[-1],))))
NODES = Launch(
    threads=1,
    env={"MKL_NUM_THREADS": "1"},
    instances=(
        InstancePlacement(cpus=(USABLE[0],), memory=MemoryPolicy(mode="preferred", nodes=(0,))),
        InstancePlacement(cpus=(USABLE[-1],), memory=MemoryPolicy(mode="preferred", nodes=(0,))),
    ),
)
HOSTILE = TWO.model_copy(
    update={"env": {"X": EVIL}, "allocator": Allocator(name="jemalloc", path=f"/no/{EVIL}.so"), "preload": (EVIL,)}
)


@pytest.fixture(scope="module")
def here() -> Host:
    return read_host(Root.live())


def write(folder: Path, launch: Launch, host: Host, why: Recommendation = WHY) -> Path:
    path = folder / "launch-instances.sh"
    path.write_text(render_instances_script(launch, why, host, made_at="2026-11-20T10:00:00Z"))
    path.chmod(0o755)
    return path


def run(path: Path, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **env}
    return subprocess.run([path, *args], capture_output=True, text=True, env=env, cwd=path.parent, timeout=60)


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
@pytest.mark.parametrize("launch", [TWO, NODES, HOSTILE], ids=["plain", "nodes", "hostile"])
def test_it_passes_shellcheck(tmp_path: Path, here: Host, launch: Launch) -> None:
    done = subprocess.run(["shellcheck", write(tmp_path, launch, here)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("launch", [TWO, NODES], ids=["taskset", "numactl"])
def test_each_instance_runs_at_its_place_with_its_number(tmp_path: Path, here: Host, launch: Launch) -> None:
    show = 'echo "$HWDIAG_INSTANCE/$HWDIAG_INSTANCES $OMP_NUM_THREADS $(taskset -cp $$ | sed "s/.*: //") $1"'
    done = run(write(tmp_path, launch, here), "--", "sh", "-c", show, "sh", "a  b --show")
    expected = [f"{i}/2 1 {place.cpus[0]} a  b --show" for i, place in enumerate(launch.instances)]
    assert (sorted(done.stdout.splitlines()), done.returncode) == (expected, 0), done.stderr


@pytest.mark.skipif(shutil.which("numactl") is None, reason="numactl is not installed")
def test_the_memory_policy_takes_effect(tmp_path: Path, here: Host) -> None:
    done = run(write(tmp_path, NODES, here), "head", "-n1", "/proc/self/numa_maps")
    assert [line.split()[1] for line in done.stdout.splitlines()] == ["prefer:0"] * 2, done.stderr


def test_one_instance_alone_is_the_command_itself(tmp_path: Path, here: Host) -> None:
    path = write(tmp_path, TWO, here)
    for args, env in ((["--instance", "1"], {}), (["--local-rank"], {"LOCAL_RANK": "1"})):
        done = run(path, *args, "--", "sh", "-c", "echo $HWDIAG_INSTANCE; exit 7", **env)
        assert (done.stdout, done.returncode) == ("1\n", 7), done.stderr
    for number in ("2", "x", "-1", "1;id", "99999999999999999999"):
        refused = run(path, "--instance", number, "--", "echo", "ran")
        assert (refused.returncode, refused.stdout) == (2, "")
        assert f"there is no instance {number}, but 0 to 1" in refused.stderr
    assert "LOCAL_RANK is not set" in run(path, "--local-rank", "true", LOCAL_RANK="").stderr


def test_without_the_tools_it_warns_and_runs(tmp_path: Path, here: Host) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("bash", "env", "uname", "getconf", "sha256sum", "cut", "echo", "sleep"):
        (tools / tool).symlink_to(shutil.which(tool) or "/missing")
    done = run(write(tmp_path, NODES, here), "echo", "ran", PATH=str(tools))
    assert (done.stdout, done.returncode) == ("ran\nran\n", 0)
    assert "numactl is not installed" in done.stderr
    assert "the instances run unbound" in done.stderr
    (tools / "taskset").symlink_to(shutil.which("taskset") or "/missing")
    done = run(write(tmp_path, NODES, here), "taskset", "-cp", "0", PATH=str(tools))
    assert "the CPUs are bound, the memory is not" in done.stderr
    assert "unbound" not in done.stderr


def test_all_end_well_whatever_the_order(tmp_path: Path, here: Host) -> None:
    started = time.monotonic()
    done = run(write(tmp_path, TWO, here), "sh", "-c", 'sleep "$HWDIAG_INSTANCE"; echo "$HWDIAG_INSTANCE"')
    assert (done.stdout, done.stderr, done.returncode) == ("0\n1\n", "", 0)
    assert time.monotonic() - started > 1


def test_when_one_fails_the_others_are_stopped_and_its_status_is_given(tmp_path: Path, here: Host) -> None:
    text = '[ "$HWDIAG_INSTANCE" = 0 ] || exit 7; sleep 300 & echo $! > grandchild; wait'
    started = time.monotonic()
    done = run(write(tmp_path, TWO, here), "sh", "-c", text)
    assert done.returncode == 7
    assert done.stderr.splitlines()[-1] == (
        "launch-instances.sh: an instance ended with status 7: the others are stopped"
    )
    assert time.monotonic() - started < 15
    if (tmp_path / "grandchild").exists():
        assert not running(tmp_path / "grandchild")


def test_one_that_a_signal_kills_counts_as_failed(tmp_path: Path, here: Host) -> None:
    done = run(write(tmp_path, TWO, here), "sh", "-c", '[ "$HWDIAG_INSTANCE" = 0 ] && kill -9 $$; sleep 300')
    assert done.returncode == 128 + 9


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_reach_all_instances_and_what_they_started(
    tmp_path: Path, here: Host, number: signal.Signals, status: int
) -> None:
    path = write(tmp_path, TWO, here)
    text = f"""
trap 'echo got > "got$HWDIAG_INSTANCE"; exit 0' {number.name[3:]}
sleep 300 & echo $! > "pid$HWDIAG_INSTANCE"; wait
"""
    process = subprocess.Popen([path, "sh", "-c", text], cwd=tmp_path, stderr=subprocess.DEVNULL)
    pids = [tmp_path / f"pid{i}" for i in range(2)]
    wait_until(lambda: all(p.exists() and p.read_text() for p in pids))
    process.send_signal(number)
    assert process.wait(20) == status
    assert [(tmp_path / f"got{i}").exists() for i in range(2)] == [True, True]
    wait_until(lambda: not any(map(running, pids)))
    assert not any(map(running, pids))


def test_one_that_ignores_the_signal_is_killed_after_a_while(tmp_path: Path, here: Host) -> None:
    path = write(tmp_path, TWO, here)
    path.write_text(path.read_text().replace("GRACE=10", "GRACE=1"))
    text = 'trap "" TERM; echo $$ > "pid$HWDIAG_INSTANCE"; while :; do sleep 1; done'
    process = subprocess.Popen([path, "sh", "-c", text], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    pids = [tmp_path / f"pid{i}" for i in range(2)]
    wait_until(lambda: all(p.exists() and p.read_text() for p in pids))
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143
    assert "killing what did not end within 1 s" in errors
    wait_until(lambda: not any(map(running, pids)))
    assert not any(map(running, pids))


def test_another_host_is_refused_in_one_line_unless_forced(tmp_path: Path, here: Host) -> None:
    other = here.model_copy(update={"cpu": here.cpu.model_copy(update={"online": tuple(range(777))})})
    path = write(tmp_path, TWO, other)
    for more in ((), ("--instance", "0")):
        refused = run(path, *more, "echo", "ran")
        assert (refused.returncode, refused.stdout, len(refused.stderr.splitlines())) == (2, "", 1)
        assert "777 CPUs), not on this host" in refused.stderr
    forced = run(path, "--force", "--", "echo", "ran")
    assert (forced.returncode, forced.stdout) == (0, "ran\nran\n")


def test_show_and_wrong_usage_run_nothing(tmp_path: Path, here: Host) -> None:
    path = write(tmp_path, TWO, here)
    shown = run(path, "--show", "touch", "ran")
    assert shown.stdout.count("Runs: env OMP_NUM_THREADS=1") == 2
    assert "Why:  It's most." in shown.stdout
    wrong = run(path, "--shwo")
    assert (wrong.returncode, len(wrong.stderr.splitlines())) == (2, 1)
    assert (run(path).returncode, run(path, "--instance").returncode) == (2, 2)
    assert "torchrun --standalone --nproc-per-node 2 --no-python" in run(path, "--help").stdout
    assert not (tmp_path / "ran").exists()


def test_nothing_from_outside_is_ever_executed(tmp_path: Path, here: Host) -> None:
    system = here.system.model_copy(update={"hostname": EVIL})
    host = here.model_copy(update={"system": system})
    path = write(tmp_path, HOSTILE, host, WHY.model_copy(update={"title": EVIL, "why": EVIL}))
    done = run(path, "--force", "sh", "-c", 'printf "%s|" "$X"')
    assert done.stdout == f"{EVIL}|{EVIL}|"
    assert run(path, "--force", "--show").returncode == 0
    assert not (tmp_path / "pwned").exists()


@pytest.mark.slow
def test_torchrun_starts_them_with_its_ranks(tmp_path: Path, here: Host) -> None:
    pytest.importorskip("torch")
    path = write(tmp_path, TWO, here)
    code = "import os; open(os.environ['RANK'], 'w').write(f'{sorted(os.sched_getaffinity(0))}')"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    done = subprocess.run(
        [*command, path, "--local-rank", "--", sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert [(tmp_path / str(i)).read_text() for i in range(2)] == [f"[{USABLE[0]}]", f"[{USABLE[-1]}]"]


# The systemd unit


def unit(folder: Path, here: Host, *command: str, script: str = "/srv/run/launch-instances.sh") -> Path:
    path = folder / "hwdiag-worker@.service"
    text = render_unit(TWO, WHY, here, script=Path(script), command=command, made_at="2026-11-20T10:00:00Z")
    path.write_text(text)
    return path


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
@pytest.mark.parametrize("command", [(), ("python3", "serve.py", EVIL)], ids=["placeholder", "hostile"])
def test_systemd_accepts_the_unit(tmp_path: Path, here: Host, command: tuple[str, ...]) -> None:
    path = unit(tmp_path, here, *command, script=f"/srv/{EVIL}/launch-instances.sh")
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True)
    assert str(path.name) not in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr


def test_the_unit_names_the_script_the_instance_and_the_command(tmp_path: Path, here: Host) -> None:
    (line,) = [x for x in unit(tmp_path, here, "python3", "a b.py").read_text().splitlines() if "ExecStart" in x]
    assert line == ('ExecStart=/bin/bash "/srv/run/launch-instances.sh" --instance %i -- "python3" "a b.py"')
    text = unit(tmp_path, here).read_text()
    assert "Put your own command behind" in text
    assert "systemctl --user start hwdiag-worker@{0..1}.service" in text


def test_words_of_a_unit_cannot_break_out_of_it() -> None:
    assert systemd_word('a"b\\c%n$d\ne\u2028') == '"a\\"b\\\\c%%n$$d\\x0ae\\xe2\\x80\\xa8"'


def test_names() -> None:
    assert (script_path(WHY), unit_path(WHY)) == ("scripts/launch-instances.sh", "scripts/hwdiag-worker@.service")
    single = WHY.model_copy(update={"scope": "gpt2"})
    assert script_path(single) == "scripts/launch-instances-gpt2.sh"
    assert unit_path(single) == "scripts/hwdiag-worker-gpt2@.service"


def running(pid_file: Path) -> bool:
    try:
        return psutil.Process(int(pid_file.read_text())).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
