"""Watching the machine: what it costs, that it stays small, and what becomes of a command, signals and a full disk."""

from __future__ import annotations

import json
import math
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from pyarrow import parquet

from hwdiag.core.errors import HwdiagError, UsageError
from hwdiag.host.gpu import read_gpus
from hwdiag.host.model import Host
from hwdiag.host.root import Root
from hwdiag.host.sampling import Sampler
from hwdiag.host.source import Column
from hwdiag.monitor import recording
from hwdiag.monitor.measure import monitor
from hwdiag.monitor.model import COMMAND_ENDS, COMMAND_STARTS, Monitored
from hwdiag.monitor.recording import MARK, TIME, Recorder, read_columns
from hwdiag.monitor.rules import answers
from hwdiag.monitor.show import absent_table
from tests.conftest import make_host
from tests.host.conftest import unpacked
from tests.process.test_command import nap
from tests.simulation.large_host import CPUS, DUMP, GPUS, LargeHost, Simulated
from tests.simulation.nvml import GpuState

__all__ = ["nap", "unpacked"]


def watch(path: Path, sampler: Sampler | None = None, **more: Any) -> Monitored:
    sampler = sampler or Sampler(Root.live())
    try:
        return monitor(sampler, path, make_host(), name="test", **{"hz": 10, **more})[0]
    finally:
        sampler.close()


@pytest.fixture
def large(unpacked: Callable[[str], Path], tmp_path: Path) -> LargeHost:
    return LargeHost(unpacked(DUMP), tmp_path / "large")


# What it costs


def test_an_hour_of_a_large_host_takes_under_one_percent_of_a_core_and_no_more_memory(
    large: LargeHost, tmp_path: Path
) -> None:
    sampler = Sampler(large.root(), nvml=large.nvml())
    kinds = [c.name.partition(".")[2] for c in sampler.columns]
    assert (kinds.count("clock"), kinds.count("temperature")) == (CPUS + GPUS, GPUS)
    sizes: list[tuple[float, int]] = []

    def see(seconds: float, _: Any) -> None:
        if len(sizes) < seconds // 60:
            sizes.append((seconds, psutil.Process().memory_info().rss))

    done = watch(tmp_path / "hour.parquet", sampler, hz=2, seconds=3600, clock=Simulated(), see=see)
    assert done.samples == 7200
    assert done.cost.share < 0.01
    early = max(rss for seconds, rss in sizes if seconds < 1200)
    late = max(rss for seconds, rss in sizes if seconds > 2400)
    assert late - early < 2 << 20, "memory grows"
    assert done.cost.file_bytes < 4 << 20
    table = parquet.read_table(tmp_path / "hour.parquet")
    assert table.num_rows == 7200
    assert table.column(TIME)[-1].as_py() == pytest.approx(3600)


def test_live_samples_come_in_time_and_are_cheap(tmp_path: Path) -> None:
    done = watch(tmp_path / "m.parquet", seconds=1)
    assert 8 <= done.samples <= 10
    assert done.seconds == pytest.approx(1, abs=0.3)
    assert 0 < done.cost.sampling_cpu_s <= done.cost.cpu_s
    assert done.cost.file_bytes == (tmp_path / "m.parquet").stat().st_size
    use = done.summary("cpu.use")
    assert use is not None
    assert 0 <= use.p5 <= use.median <= use.p95 <= use.most <= 100


def test_the_busy_core_is_seen(tmp_path: Path) -> None:
    spin = "import os, time; os.sched_setaffinity(0, {0})\nwhile time.process_time() < 1.2: pass"
    done = watch(tmp_path / "m.parquet", argv=[sys.executable, "-S", "-c", spin])
    busy = done.summary("cpu0.use")
    assert busy is not None
    assert busy.median > 80


# What is written


def test_the_file_says_what_its_columns_are(tmp_path: Path) -> None:
    watch(tmp_path / "m.parquet", seconds=0.4)
    schema = parquet.read_schema(tmp_path / "m.parquet")
    assert schema.names[0] == TIME
    assert schema.names[-1] == MARK
    assert schema.field("memory.used").metadata == {b"unit": b"B", b"title": b"memory that is not available"}
    assert schema.metadata[b"hz"] == b"10"


def test_groups_are_written_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "ROWS", 4)
    recorder = Recorder(tmp_path / "m.parquet", [Column(name="x", unit="", title="x")], {})
    for n in range(10):
        recorder.add(float(n), [float(n) if n != 5 else math.nan], "five" if n == 5 else None)
    assert recorder.written == 8
    recorder.close()
    file = parquet.ParquetFile(tmp_path / "m.parquet")
    assert file.num_row_groups == 3
    assert file.read([TIME]).column(0).to_pylist() == [float(n) for n in range(10)]
    assert file.read([MARK]).column(0).to_pylist()[5] == "five"
    values = dict(read_columns(tmp_path / "m.parquet", ["x"]))["x"]
    assert math.isnan(values[5])
    assert values[9] == 9


def test_a_full_disk_leaves_a_valid_file_and_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "ROWS", 5)
    room = [2]

    def fallocate(*_: int) -> None:
        room[0] -= 1
        if room[0] < 0:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", fallocate)
    done = watch(tmp_path / "m.parquet", seconds=100, clock=Simulated())
    assert done.cut == "the disk that m.parquet is on is full (No space left on device)"
    assert done.samples == 10, "it ends by itself, where there is no command"
    assert parquet.read_table(tmp_path / "m.parquet").num_rows == 10


def test_a_file_that_cannot_be_closed_is_removed_and_said(tmp_path: Path) -> None:
    code = f"""
import resource
from pathlib import Path
from hwdiag.host.source import Column
from hwdiag.monitor.recording import Recorder
import os
os.posix_fallocate = lambda *a: None  # as on a file system that cannot keep room
recorder = Recorder(Path({str(tmp_path / "m.parquet")!r}), [Column(name="x", unit="", title="x")], {{}})
recorder.add(1.0, [1.0])
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (8, 8))
try:
    recorder.close()
except Exception as error:
    print(type(error).__name__, error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.startswith("HwdiagError cannot write ")
    assert said.count("\n") == 1
    assert not (tmp_path / "m.parquet").exists()


def test_no_room_at_the_start_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(HwdiagError, match=r"cannot write .*m\.parquet"):
        Recorder(tmp_path / "no" / "m.parquet", [], {})


@pytest.mark.parametrize("text", ["", "PAR1", "not Parquet at all"])
def test_what_is_no_recording_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "m.parquet").write_text(text)
    with pytest.raises(UsageError, match="is not a recording"):
        [*read_columns(tmp_path / "m.parquet")]


# The command


def test_marks_are_on_the_time_axis(tmp_path: Path) -> None:
    said = (
        'sleep 0.3; echo "epoch 1" > "$HWDIAG_MARKS"; sleep 0.4; printf "\\033[31mred\\n" > "$HWDIAG_MARKS"; sleep 0.3'
    )
    done = watch(tmp_path / "m.parquet", argv=["sh", "-c", said])
    began, ended = done.when(COMMAND_STARTS), done.when(COMMAND_ENDS)
    first, second = done.when("epoch 1"), done.when("[31mred")
    assert None not in (began, ended, first, second)
    # sleep(1) takes no less than it is told, and on a busy machine the shell starts late.
    assert 0.25 < first - began < 0.8  # type: ignore[operator]
    assert 0.35 < second - first < 0.8  # type: ignore[operator]
    assert 0.25 < ended - second < 0.8  # type: ignore[operator]
    assert done.marks[0].text == COMMAND_STARTS
    written = parquet.read_table(tmp_path / "m.parquet").to_pydict()
    at = next(t for t, mark in zip(written[TIME], written[MARK], strict=True) if mark and "epoch 1" in mark)
    assert first <= at <= first + 0.2, "in the first sample after it"  # type: ignore[operator]


def test_summaries_are_of_the_command_alone(tmp_path: Path) -> None:
    done = watch(tmp_path / "m.parquet", argv=["sleep", "0.5"])
    use = done.summary("memory.used")
    assert use is not None
    assert 3 <= use.samples <= 6
    assert (done.status, done.outcome) == (0, "")


@pytest.mark.parametrize(
    ("argv", "status", "outcome"),
    [
        (["sh", "-c", "exit 5"], 5, "exit status 5"),
        (["sh", "-c", "kill -SEGV $$"], -11, "killed by SIGSEGV (segmentation fault) in the command"),
        (["/no/such/program"], 127, "the command cannot be started: /no/such/program: No such file or directory"),
    ],
)
def test_how_it_ended(tmp_path: Path, argv: list[str], status: int, outcome: str) -> None:
    done = watch(tmp_path / "m.parquet", argv=argv)
    assert (done.status, done.outcome) == (status, outcome)


def test_a_time_limit_kills_it_and_all_it_started(tmp_path: Path, nap: Callable[[], str]) -> None:
    done = watch(tmp_path / "m.parquet", argv=["sh", "-c", f"setsid {nap()} & {nap()}"], seconds=0.6)
    assert done.outcome == "no end after 1 s: killed, with all it started"
    assert done.status is None


# As a person meets it


def hwdiag(*args: str, **more: Any) -> subprocess.Popen[str]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-m", "hwdiag", "monitor", *args], text=True, **{**pipes, **more})


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_input_output_and_status_are_the_commands(tmp_path: Path, nap: Callable[[], str]) -> None:
    command = ["sh", "-c", f"{nap()} & read line; echo got $line; echo said >&2; sleep 0.5; exit 3"]
    process = hwdiag("--hz", "10", "--out", str(tmp_path), "--", *command)
    out, err = process.communicate("hello\n", timeout=60)
    assert process.returncode == 3
    assert out == "got hello\n", "nothing of hwdiag's is in what the command prints"
    assert "said\n" in err
    assert "1 finding: The command failed: exit status 3" in err or "findings: The command failed: exit status 3" in err
    assert {p.name for p in tmp_path.iterdir()} == {"monitor.parquet", "record.json", "monitor.svg"}
    assert json.loads((tmp_path / "record.json").read_text())["studies"]["monitor"]["monitored"]["status"] == 3


TRAPS = 'trap "echo trapped >> {0}" {1}; touch {0}; while :; do sleep 0.05; done'


def test_ctrl_c_is_the_commands_first_and_leaves_a_valid_file(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    process = hwdiag("--out", str(tmp_path), "--", "sh", "-c", f"touch {ready}; exec sleep 100")
    wait_for(ready)
    time.sleep(0.7)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "killed by SIGINT" in err
    assert "Traceback" not in err
    assert parquet.read_table(tmp_path / "monitor.parquet").num_rows >= 1


def test_a_command_that_traps_signals_is_killed_with_the_third(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    process = hwdiag("--out", str(tmp_path), "--", "sh", "-c", TRAPS.format(ready, "INT"))
    wait_for(ready)
    for _ in range(3):
        time.sleep(0.4)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 137
    assert ready.read_text() == "trapped\ntrapped\n"
    assert parquet.read_table(tmp_path / "monitor.parquet").num_rows >= 1


def test_usr1_reaches_the_command_and_ends_nothing(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f'trap "exit 9" USR1; touch {ready}; while :; do sleep 0.05; done'
    process = hwdiag("--out", str(tmp_path), "--", "sh", "-c", script)
    wait_for(ready)
    process.send_signal(signal.SIGUSR1)
    process.communicate(timeout=60)
    assert process.returncode == 9


def test_alone_it_watches_until_ctrl_c(tmp_path: Path) -> None:
    process = hwdiag("--hz", "10", "--out", str(tmp_path))
    wait_for(tmp_path / "monitor.parquet")
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "all CPUs busy" in out
    assert "Watching took" in out
    assert parquet.read_table(tmp_path / "monitor.parquet").num_rows >= 3


def test_a_killed_monitor_takes_the_command_with_it(tmp_path: Path, nap: Callable[[], str]) -> None:
    ready = tmp_path / "ready"
    process = hwdiag("--out", str(tmp_path), "--", "sh", "-c", f"touch {ready}; {nap()}")
    wait_for(ready)
    process.kill()
    process.wait()
    time.sleep(0.5)


def test_a_full_disk_does_not_end_the_command(tmp_path: Path) -> None:
    def little_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    process = hwdiag("--out", str(tmp_path), "--", "sh", "-c", "echo done", preexec_fn=little_room)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.count("\n") == 1
    assert err.startswith("hwdiag: cannot write ")


def test_the_phases_of_our_own_commands_are_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from hwdiag.report.progress import lines, marking

    pipe = tmp_path / "marks"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
    monkeypatch.setenv("HWDIAG_MARKS", str(pipe))
    progress = marking(lines(sys.stderr))
    for text in ("noise: default, twin", "noise: default, twin", "screen: 2 threads"):
        progress(text, 0.1)
    assert os.read(reader, 1000) == b"noise\nscreen\n"
    os.close(reader)
    progress("confirm: x", 0.2)  # nobody reads any more: that does not matter


def test_a_gpu_that_goes_away_is_one_row_and_a_finding_and_the_rest_is_recorded(tmp_path: Path) -> None:
    state = GpuState(tmp_path / "gpus", "RTX 3060")
    state.set(0, **{"utilization.gpu": "90", "clocks.sm": "800", "reasons": "4", "power.limit": "100"})

    def see(seconds: float, _: Any) -> None:
        if seconds > 2:
            state.faults("*|GPU-*|lost")

    sampler = Sampler(Root.live(), nvml=state.nvml)
    done = watch(tmp_path / "m.parquet", sampler, hz=2, seconds=5, clock=Simulated(), see=see)
    assert [(g.what, g.why) for g in done.lost if "GPU" in g.what] == [("GPU 0", "GPU is lost")]
    assert done.samples == 10
    use, busy = done.summary("gpu0.use"), done.summary("memory.used")
    assert use is not None
    assert busy is not None
    assert (use.samples, use.median, busy.samples) == (5, 90, 10)
    assert "GPU 0" in repr(absent_table(done))
    host = make_host().model_copy(update={"gpus": read_gpus(Root.live(), nvml=GpuState(tmp_path / "gpus").healthy)[0]})
    found = {a.id: a for a in answers(done, tmp_path / "m.parquet", host)}
    assert "GPU 0 is lost" in found["gpu-lost:GPU 0"].title
    assert "lowered from 170 W" in found["gpu-clock:GPU 0"].title


def test_host_is_what_the_summary_names(tmp_path: Path) -> None:
    host: Host = make_host()
    done = watch(tmp_path / "m.parquet", seconds=0.3)
    assert (done.cpu_model, done.cpus, done.memory_bytes) == (host.cpu.model, 4, 64 << 30)
