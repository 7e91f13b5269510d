"""Observing a command: what is seen of it, what becomes of its streams and signals, and that nothing outlives it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from hwdiag.core.errors import UsageError
from hwdiag.host.root import Root
from hwdiag.host.sampling import Sampler
from hwdiag.process.observation.model import InsideReport, ObservedProcess, Program
from hwdiag.process.observation.observe import observe_command, observe_pid
from tests.process.test_command import nap

__all__ = ["nap"]

USABLE = tuple(sorted(os.sched_getaffinity(0)))
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may")


def python(code: str) -> list[str]:
    return [sys.executable, "-S", "-c", textwrap.dedent(code)]


def by_word(program: Program, word: str) -> ObservedProcess:
    return next(p for p in program.processes if any(word in w for w in p.command))


# What is seen


def test_a_command_is_seen_with_its_threads_memory_and_end() -> None:
    program = observe_command(
        python("""
            import sys, threading, time
            kept = bytearray(64 << 20)
            def work():
                end = time.monotonic() + 1
                while time.monotonic() < end: pass
            threads = [threading.Thread(target=work) for _ in range(3)]
            [t.start() for t in threads]
            [t.join() for t in threads]
            print("done"); print("bad", file=sys.stderr)
            sys.exit(3)
        """)
    )
    process = program.processes[0]
    assert (program.ending.status, program.ending.outcome.kind) == (3, "error")
    assert (program.ending.stdout, program.ending.stderr) == ("done\n", "bad\n")
    assert 1 < program.ending.seconds < 10
    assert process.most_threads == 4
    assert len(process.threads) == 4
    assert 0.1 < process.cpu_s < 3
    assert process.first_allowed == process.allowed == USABLE
    assert all(t.allowed == USABLE and set(t.ran_on) <= set(USABLE) for t in process.threads)
    assert max(point.anonymous_bytes for point in process.memory) > 64 << 20
    assert process.executable == os.path.realpath(sys.executable)
    assert process.limits.open_files == psutil.Process().rlimit(psutil.RLIMIT_NOFILE)[0]
    assert not process.hidden
    assert program.own_allowed == USABLE
    assert program.cost.looks > 10
    assert Program.model_validate_json(program.model_dump_json()) == program


def test_the_machine_is_sampled_beside_it() -> None:
    sampler = Sampler(Root.live())
    try:
        program = observe_command(["sleep", "1"], sampler=sampler)
    finally:
        sampler.close()
    assert 0 <= program.machine["cpu.use"] <= 100
    assert program.machine["memory.available"] > 0


@pytest.mark.skipif(len(USABLE) < 2, reason="needs two CPUs")
def test_who_narrowed_the_cpus_is_told_by_the_first_look_and_the_last() -> None:
    narrow = f"import os, time; time.sleep(0.7); os.sched_setaffinity(0, [{USABLE[-1]}]); time.sleep(0.7)"
    inside = observe_command([sys.executable, "-S", "-c", narrow]).processes[0]
    assert (inside.first_allowed, inside.allowed) == (USABLE, USABLE[-1:])
    outside = observe_command(["taskset", "-c", str(USABLE[0]), "sleep", "0.8"]).processes[0]
    assert (outside.first_allowed, outside.allowed) == (USABLE[:1], USABLE[:1])


def test_a_command_that_execs_another_program_is_told_as_that_one() -> None:
    program = observe_command(["sh", "-c", "sleep 0.5; A=1 OMP_NUM_THREADS=3 exec sleep 0.7"])
    process = by_word(program, "0.7")
    assert process.name == "sleep"
    assert process.environment["OMP_NUM_THREADS"] == "3"


def test_an_exec_of_the_same_program_is_noticed() -> None:
    program = observe_command(
        python("""
            import os, sys, time
            time.sleep(0.5)
            argv = [sys.executable, "-S", "-c", "import time; time.sleep(0.7)"]
            os.execve(sys.executable, argv, {"OMP_NUM_THREADS": "5"})
        """)
    )
    assert program.processes[0].command[-1] == "import time; time.sleep(0.7)"
    assert program.processes[0].environment == {"OMP_NUM_THREADS": "5"}


def test_a_command_that_ends_at_once_is_told_all_the_same() -> None:
    program = observe_command(["true"])
    assert program.ending.outcome.ok
    assert program.ending.status == 0
    assert all(p.command == ("true",) for p in program.processes)


def test_one_that_cannot_be_started_says_so() -> None:
    program = observe_command(["/no/such/program"])
    assert program.ending.outcome.kind == "not-started"
    with pytest.raises(UsageError, match="no command"):
        observe_command([])


def test_secrets_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    process = observe_command(["sleep", "0.5"]).processes[0]
    assert "HF_TOKEN" not in process.environment
    assert process.environment["TOKENIZERS_PARALLELISM"] == "false"


def test_what_a_witness_adds_does_not_show_as_the_persons(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", "/mine")
    monkeypatch.delenv("HWDIAG_WITNESS", raising=False)

    class Witness:
        variables = {"PYTHONPATH": f"{tmp_path}:/mine", "HWDIAG_WITNESS": str(tmp_path / "task")}

        def collect(self, *_: object) -> tuple[tuple[InsideReport, ...], str]:
            return (InsideReport(pid=1, command=(), state=Path(tmp_path, "left").read_text().strip()),), ""

    program = observe_command(["sh", "-c", f'echo "$PYTHONPATH" > {tmp_path}/left; sleep 0.5'], witness=Witness())
    assert program.inside[0].state == f"{tmp_path}:/mine"
    assert program.processes[0].environment["PYTHONPATH"] == "/mine"
    assert "HWDIAG_WITNESS" not in program.processes[0].environment


@pytest.mark.skipif(not hasattr(os, "posix_spawn"), reason="needs it")
def test_neighbours_are_told_by_name_and_hwdiag_is_none() -> None:
    with subprocess.Popen(["bash", "-c", "exec -a busy-neighbour sh -c 'while :; do :; done'"]) as other:
        try:
            program = observe_command(["sleep", "2.5"])
        finally:
            other.kill()
    found = next(n for n in program.neighbours if n.command.startswith("busy-neighbour"))
    assert found.cpus > 0.05
    assert found.user
    assert not [n for n in program.neighbours if "pytest" in n.command and str(os.getpid()) in n.command]


# Streams


def test_it_reads_the_persons_input() -> None:
    source, into = os.pipe()
    os.write(into, b"four words of input\n")
    os.close(into)
    out, target = os.pipe()
    program = observe_command(["sh", "-c", "read line; echo got: $line"], stdio=(source, target, target))
    os.close(source)
    os.close(target)
    assert os.read(out, 1000) == b"got: four words of input\n"
    assert program.ending.stdout == "got: four words of input\n"
    os.close(out)


def test_without_an_input_there_is_none() -> None:
    assert observe_command(["cat"]).ending.outcome.ok


def test_carriage_returns_go_through_a_terminal_as_they_are() -> None:
    ours, theirs = pty.openpty()
    attributes = termios.tcgetattr(theirs)
    attributes[1] &= ~termios.OPOST
    termios.tcsetattr(theirs, termios.TCSANOW, attributes)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 123, 0, 0))
    code = """
        import os, sys
        print(sys.stdout.isatty(), sys.stderr.isatty(), os.get_terminal_size(1).columns)
        print("1 %\\r2 %\\r", end="")
    """
    out, target = os.pipe()
    program = observe_command(python(code), stdio=(None, theirs, target))
    os.close(theirs)
    os.close(target)
    said = os.read(ours, 1000)
    os.close(ours)
    os.close(out)
    assert said == b"True False 123\n1 %\r2 %\r"
    assert program.ending.stdout.encode() == said


def test_a_gigabyte_of_output_costs_no_more_than_a_copy() -> None:
    size = 256 << 20
    make = ["sh", "-c", f"head -c {size} /dev/zero | tr '\\0' x"]
    start = time.monotonic()
    with open("/dev/null", "wb") as null, subprocess.Popen(make, stdout=subprocess.PIPE) as plain:
        subprocess.run(["cat"], stdin=plain.stdout, stdout=null, check=True)
        plain_s = time.monotonic() - start
        program = observe_command(make, stdio=(None, null.fileno(), None))
    assert program.ending.outcome.ok
    assert program.ending.stdout == "x" * (64 << 10)
    assert program.cost.cpu_s < 3
    assert program.ending.seconds < 3 * plain_s + 2


def test_whose_reader_goes_away_is_told_so_by_the_kernel() -> None:
    out, target = os.pipe()
    os.close(out)
    program = observe_command(["yes"], stdio=(None, target, None))
    os.close(target)
    assert program.ending.status in (-signal.SIGPIPE, 1)


def test_a_terminals_new_size_reaches_the_command() -> None:
    """A script in a terminal of its own observes a command, which says its terminal's size with each SIGWINCH."""
    inner = """
        import os, signal, time
        def tell(*_):
            columns = os.get_terminal_size(1).columns
            print("columns", columns, flush=True)
            if columns == 77: os._exit(0)
        signal.signal(signal.SIGWINCH, tell)
        print("waits", flush=True)
        time.sleep(30)
    """
    code = f"""
from hwdiag.process.observation.observe import observe_command
observe_command({python(inner)!r}, stdio=(0, 1, 2))
"""
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs) as observer:
        os.close(theirs)
        fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 66, 0, 0))
        assert b"waits" in read_until(ours, b"waits")
        time.sleep(0.3)
        fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 77, 0, 0))
        observer.send_signal(signal.SIGWINCH)
        assert b"columns 77" in read_until(ours, b"columns 77")
        assert observer.wait(10) == 0
    os.close(ours)


def read_until(file: int, word: bytes, seconds: float = 15.0) -> bytes:
    said, deadline = b"", time.monotonic() + seconds
    while word not in said and time.monotonic() < deadline:
        if select.select([file], [], [], 0.2)[0]:
            said += os.read(file, 1000)
    return said


# Ends


def run_observer(code: str) -> subprocess.Popen[str]:
    program = f"""
import sys, time
from hwdiag.process.observation.observe import observe_command
program = observe_command({code}, stdio=(0, 1, 2), started=lambda: print("started", flush=True))
ending = program.ending
print("END", ending.status, ending.outcome.kind, ending.asked_to_end, *program.notes, flush=True)
"""
    return subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ask_to_end(observer: subprocess.Popen[str], number: int, after_s: float = 0.5) -> tuple[str, float]:
    assert observer.stdout is not None
    assert "started" in observer.stdout.readline()
    time.sleep(after_s)
    start = time.monotonic()
    observer.send_signal(number)
    said, _ = observer.communicate(timeout=30)
    return said, time.monotonic() - start


def test_ctrl_c_ends_it_as_it_ends_without_hwdiag(nap: Callable[[], str]) -> None:
    said, took = ask_to_end(run_observer(f"{nap().split()}"), signal.SIGINT)
    assert "END -2 signal 2" in said
    assert took < 3


def test_one_that_ignores_ctrl_c_and_never_ends_is_killed_within_three_seconds(nap: Callable[[], str]) -> None:
    said, took = ask_to_end(run_observer(f"['sh', '-c', 'trap \"\" INT TERM; {nap()}; {nap()}']"), signal.SIGINT)
    assert "END -2 signal 2" in said
    assert "s after Ctrl-C, and was killed." in said
    assert took < 3


def test_one_that_traps_ctrl_c_ends_in_its_own_way() -> None:
    said, took = ask_to_end(
        run_observer("['bash', '-c', 'trap \"echo saved; exit 7\" INT; while :; do sleep 0.1; done']"), signal.SIGINT
    )
    assert "saved" in said
    assert "END 7 error 2" in said
    assert took < 3


def test_one_that_saves_its_state_at_a_sigterm_gets_the_time_for_it() -> None:
    """A batch system asks with SIGTERM and waits for half a minute: so must hwdiag."""
    saves = "trap 'sleep 3; echo saved; exit 9' TERM; while :; do sleep 0.1; done"
    said, took = ask_to_end(run_observer(f"['bash', '-c', {saves!r}]"), signal.SIGTERM)
    assert "saved" in said
    assert "END 9 error 15" in said
    assert took > 2.5


def test_ctrl_c_while_torch_is_imported_leaves_nothing(tmp_path: Path, nap: Callable[[], str]) -> None:
    slow = tmp_path / "torch.py"
    slow.write_text(f"import subprocess, time\nsubprocess.Popen({nap().split()})\ntime.sleep(600)\n")
    said, took = ask_to_end(
        run_observer(f"['env', 'PYTHONPATH={tmp_path}', {sys.executable!r}, '-c', 'import torch']"), signal.SIGINT
    )
    assert "END" in said
    assert took < 3


def test_daemons_that_it_forks_do_not_outlive_it(nap: Callable[[], str]) -> None:
    daemon = f"setsid sh -c 'setsid {nap()} &' & sleep 0.8"
    program = observe_command(["sh", "-c", daemon])
    assert program.ending.outcome.ok
    assert [p for p in program.processes if p.name == "sleep" and p.command[1] != "0.8"], "the daemon was not seen"


def test_the_time_can_be_limited(nap: Callable[[], str]) -> None:
    program = observe_command(nap().split(), seconds=1)
    assert program.ending.outcome.kind == "timeout"
    assert program.ending.status is None
    assert 0.9 < program.seconds < 4


@needs_root
def test_one_that_drops_its_privileges_is_seen_to_the_end() -> None:
    drop = "import os, time; os.setgid(65534); os.setuid(65534); time.sleep(0.8)"
    process = observe_command([sys.executable, "-S", "-c", drop]).processes[0]
    assert process.uid == 65534
    assert process.command[-1] == drop


# A process that runs already


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sh", "-c", "sleep 300 & wait"], start_new_session=True) as process:
        time.sleep(0.3)
        yield process
        os.killpg(process.pid, signal.SIGKILL)


def test_a_running_process_is_looked_at_with_what_it_started(sleeper: subprocess.Popen[bytes]) -> None:
    program = observe_pid(sleeper.pid, 1.0)
    assert {p.name for p in program.processes} == {"sh", "sleep"}
    assert program.pid == sleeper.pid
    assert program.command == ("sh", "-c", "sleep 300 & wait")
    assert program.ending.outcome.detail == "it runs on"
    assert 0.9 < program.seconds < 20  # a busy machine may hold up a look
    assert sleeper.poll() is None


def test_one_that_ends_meanwhile_says_so() -> None:
    with subprocess.Popen(["sleep", "0.7"]) as process:
        program = observe_pid(process.pid, 20.0)
    assert program.seconds < 5
    assert any("ended after" in note for note in program.notes)
    assert program.processes[0].name == "sleep"


def test_what_cannot_be_looked_at_says_why_in_one_line() -> None:
    with subprocess.Popen(["true"]) as gone:
        time.sleep(0.2)
        with pytest.raises(UsageError, match=rf"process {gone.pid} \(true\) is a zombie.*{os.getpid()}"):
            observe_pid(gone.pid, 1)
    with pytest.raises(UsageError, match=f"there is no process {gone.pid}"):
        observe_pid(gone.pid, 1)
    with pytest.raises(UsageError, match="there is no process -1"):
        observe_pid(-1, 1)
    with pytest.raises(UsageError, match="hwdiag itself"):
        observe_pid(os.getpid(), 1)


def test_a_thread_is_told_from_a_process() -> None:
    code = """
        import threading, time
        thread = threading.Thread(target=time.sleep, args=(60,))
        thread.start()
        print(thread.native_id, flush=True)
    """
    with subprocess.Popen(python(code), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        tid = int(process.stdout.readline())
        with pytest.raises(
            UsageError, match=f"{tid} is a thread of the process {process.pid}: use --pid {process.pid}"
        ):
            observe_pid(tid, 1)
        process.kill()


@needs_root
def test_another_users_process_shows_less_and_says_so() -> None:
    """A process of root's, looked at as nobody."""
    with subprocess.Popen(["sleep", "60"]) as other:
        time.sleep(0.2)
        source, into = os.pipe()
        child = os.fork()
        if not child:
            try:
                os.setgid(65534)
                os.setuid(65534)
                program = observe_pid(other.pid, 0.5)
                os.write(into, "\n".join([*program.notes, *program.processes[0].hidden]).encode())
            finally:
                os._exit(0)
        os.close(into)
        os.waitpid(child, 0)
        other.kill()
    said = os.read(source, 10000).decode()
    os.close(source)
    assert "belongs to root" in said
    assert "its program, environment, libraries and open files" in said


@needs_root
def test_a_process_in_another_pid_namespace_is_seen_and_named_so() -> None:
    with subprocess.Popen(["unshare", "--pid", "--fork", "--mount-proc", "sleep", "60"]) as outer:
        time.sleep(0.5)
        inner = psutil.Process(outer.pid).children()
        try:
            assert inner, "unshare has started nothing"
            program = observe_pid(inner[0].pid, 0.5)
        finally:
            for process in inner:
                process.kill()
            outer.kill()
    assert program.processes[0].name == "sleep"
    assert any("PID namespace" in note and "it is PID 1" in note for note in program.notes)


# Many of them


def test_of_many_processes_the_busiest_are_told_and_the_work_is_bounded() -> None:
    program = observe_command(
        ["sh", "-c", "for i in $(seq 300); do sleep 7 & done; while :; do :; done & sleep 7; kill $!"]
    )
    assert len(program.processes) == 256
    assert program.processes[0].cpu_s > 0.1
    assert program.cost.share < 0.25  # early looks at 400 new processes cannot be free


def test_of_many_threads_those_that_used_most_time_are_told() -> None:
    program = observe_command(
        python("""
            import threading, time
            def work(): time.sleep(5)
            def busy():
                end = time.monotonic() + 5
                while time.monotonic() < end: pass
            threads = [threading.Thread(target=work) for _ in range(300)] + [threading.Thread(target=busy)]
            [t.start() for t in threads]
            [t.join() for t in threads]
        """)
    )
    (process,) = program.processes
    assert process.most_threads == 302
    assert len(process.threads) == 128
    assert max(t.cpu_s for t in process.threads) > 0.1


# File systems


@needs_root
def test_a_small_shared_memory_of_its_own_mounts_is_told() -> None:
    inner = "mount -t tmpfs -o size=8m tmpfs /dev/shm && head -c 5000000 /dev/zero > /dev/shm/kept; sleep 1.2"
    program = observe_command(["unshare", "-m", "sh", "-c", inner])
    assert program.shared_memory.size_bytes == 8 << 20
    assert (program.shared_memory.peak_bytes or 0) >= 5_000_000


@needs_root
def test_a_full_disk_that_it_writes_on_is_told(tmp_path: Path) -> None:
    inner = f"mount -t tmpfs -o size=1m tmpfs {tmp_path} && cd {tmp_path} && exec 5> kept; cat /dev/zero >&5; sleep 1.5"
    program = observe_command(["unshare", "-m", "sh", "-c", inner])
    assert program.ending.full_disks == (str(tmp_path),)


def test_a_disk_with_room_is_not_told() -> None:
    assert observe_command(["sleep", "1.2"]).ending.full_disks == ()
