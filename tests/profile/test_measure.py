"""Scripts under torch.profiler that know nothing of it: how they end, and that each way leaves one clear line."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hwdiag.process.trace import analyse, read_trace

pytestmark = pytest.mark.usefixtures("clean_environment")

pytest.importorskip("torch", reason="no torch in this Python")

TRAIN = """
import sys, torch
if __name__ == "__main__":
    net = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    data = torch.utils.data.TensorDataset(torch.randn(64, 64), torch.randint(0, 10, (64,)))
    for x, y in torch.utils.data.DataLoader(data, batch_size=16, num_workers=int(sys.argv[1]),
                                            multiprocessing_context=sys.argv[2] if int(sys.argv[1]) else None):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    print("trained")
"""
SUM = "import torch; (torch.ones(300) + 1).sum();"


def profile(folder: Path, *args: str, **more: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hwdiag", "profile", "--out", str(folder), *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **more)


def found(folder: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((folder / "record.json").read_text())["studies"]["profile"]
    return loaded


@pytest.mark.parametrize("workers", [("2", "fork"), pytest.param(("2", "spawn"), marks=pytest.mark.long)])
def test_a_training_runs_unchanged_and_leaves_its_trace(tmp_path: Path, workers: tuple[str, str]) -> None:
    script = tmp_path / "train.py"
    script.write_text(TRAIN)
    out = tmp_path / "out"
    done = profile(out, "--seconds", "60", "--", sys.executable, str(script), *workers)
    assert (done.returncode, done.stdout) == (0, "trained\n")
    assert "no GPU took part." in done.stderr
    traces = [p for p in out.iterdir() if p.name.endswith(".pt.trace.json")]
    assert [p.name for p in traces] == [found(out)["trace"]], "workers are not recorded"
    traced = analyse(read_trace(traces[0]))
    calls = {o.name: o.calls for o in traced.operations}
    assert calls["aten::addmm"] == 8, "two layers, four steps"
    assert traced.cpu["input"] > 0
    assert not [*out.glob("*.report.json*"), *out.glob("*.started")]
    assert (out / "memory.svg").read_text().startswith("<svg")
    assert "USDT" not in done.stderr
    assert "Error" not in done.stderr


@pytest.mark.parametrize(
    ("code", "status", "note"),
    [
        ("import os; os._exit(3)", 3, "ended by os._exit; the trace was written just before that"),
        ("import os; os.execv('/bin/sh', ['sh', '-c', 'exit 5'])", 5, "ended by os.execv; the trace was written"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", 143, "ended by SIGTERM; the trace was written"),
        (
            "import os, signal, time; pid = os.fork() or time.sleep(99); time.sleep(0.5); "
            "os.kill(pid, signal.SIGTERM); raise SystemExit(os.wait()[1])",
            signal.SIGTERM,
            "recorded: ",
        ),
    ],
)
def test_each_way_to_end_leaves_a_trace_and_a_line(tmp_path: Path, code: str, status: int, note: str) -> None:
    done = profile(tmp_path, "--", sys.executable, "-c", f"{SUM} {code}")
    assert done.returncode == status
    assert sum(note in line for line in done.stderr.splitlines()) == 1
    assert "aten::sum" in {o["name"] for o in found(tmp_path)["traced"]["operations"]}


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        ([sys.executable, "-c", "print(1)"], "nothing was traced: the command never imported torch"),
        ([sys.executable, "-I", "-c", "import torch"], "nothing was traced: the command started no Python that reads "),
        (["true"], "nothing was traced: the command started no Python that reads PYTHONPATH"),
        ([sys.executable, "-c", f"{SUM} import os; os.kill(os.getpid(), 9)"], "no trace: the process was killed, or"),
    ],
)
def test_what_leaves_no_trace_is_one_line(tmp_path: Path, argv: list[str], line: str) -> None:
    done = profile(tmp_path, "--", *argv)
    assert done.returncode == 1
    assert done.stderr.startswith(f"hwdiag: {line}")
    assert done.stderr.count("\n") == 1


def test_a_script_that_traps_signals_keeps_its_traps(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    code = f"""
import signal, sys, time, torch
signal.signal(signal.SIGTERM, lambda *_: sys.exit(6))
torch.ones(3) + 1
open({str(ready)!r}, "w").close()
time.sleep(60)
"""
    command = [sys.executable, "-m", "hwdiag", "profile", "--out", str(tmp_path), "--", sys.executable, "-c", code]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not ready.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 6, err
    assert "It ended with: exit status 6." in err


def test_a_long_script_is_recorded_for_a_while_and_goes_on(tmp_path: Path) -> None:
    """Without a net, it is recorded from when its operations are seen to follow each other."""
    loop = "while time.time() < until: (x @ x).sum(); time.sleep(0.003)"
    code = f"import time, torch\nx = torch.ones(64, 64)\nuntil = time.time() + 6\n{loop}"
    done = profile(tmp_path, "--seconds", "0.8", "--", sys.executable, "-c", f"{code}\nprint('on')")
    assert done.stdout == "on\n"
    assert "the recording ended after its time, as it was meant to; the script went on" in done.stderr
    assert found(tmp_path)["traced"]["seconds"] < 5, "of six seconds"


def test_the_clock_starts_at_the_first_operation(tmp_path: Path) -> None:
    """A script that loads data for longer than is recorded lost its whole trace."""
    code = f"import time, torch\ntime.sleep(2.5)\nfor _ in range(5): {SUM} time.sleep(0.05)"
    done = profile(tmp_path, "--seconds", "1", "--", sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    assert {o["name"]: o["calls"] for o in found(tmp_path)["traced"]["operations"]}["aten::ones"] == 5


@pytest.mark.long
def test_many_events_are_cut_and_said(tmp_path: Path) -> None:
    code = "import torch\nfor _ in range(2000): torch.ones(3)"
    done = profile(tmp_path, "--events", "1000", "--", sys.executable, "-c", code)
    assert done.returncode == 0
    assert len([line for line in done.stderr.splitlines() if "the trace is cut: its first " in line]) == 1
    kept = read_trace(tmp_path / found(tmp_path)["trace"])["traceEvents"]
    assert 500 < len([e for e in kept if "ts" in e]) <= 1000
    assert found(tmp_path)["traced"]["events"] == len(kept)


@pytest.mark.long
def test_a_recording_can_begin_later(tmp_path: Path) -> None:
    later = "for _ in range(9): torch.ones(3).cos(); time.sleep(0.05)"
    code = f"import time, torch\ntorch.ones(3).neg()\ntime.sleep(1)\n{later}"
    profile(tmp_path, "--after", "0.6", "--", sys.executable, "-c", code)
    names = {o["name"] for o in found(tmp_path)["traced"]["operations"]}
    assert "aten::cos" in names
    assert "aten::neg" not in names


def test_a_full_disk_under_the_trace_is_one_clear_line(tmp_path: Path) -> None:
    def little_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    code = "import torch\nfor _ in range(300): torch.ones(3) + 1"
    done = profile(tmp_path, "--", sys.executable, "-c", code, preexec_fn=little_room)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"hwdiag: cannot write to {tmp_path}: File too large"
    assert not [p for p in tmp_path.iterdir() if p.name.endswith(".json")]


# A file with build()


def test_a_file_is_called_warm_and_often(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    build = "net = torch.nn.Linear(64, 64); return (lambda: net(torch.ones(8, 64))), (lambda: True)"
    file.write_text(f"import torch\ndef build(): {build}\n")
    done = profile(tmp_path / "out", "--file", str(file), "--seconds", "0.5")
    assert (done.returncode, done.stderr) == (0, "")
    told = found(tmp_path / "out")
    assert f"{told['steps']} calls of what build() gives" in done.stdout
    assert {o["name"]: o["calls"] for o in told["traced"]["operations"]}["aten::addmm"] == told["steps"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("def build(): raise ValueError('wrong')", "own.py fails: ValueError: wrong"),
        ("def build(): return lambda: 1 / 0", "own.py fails: ZeroDivisionError: division by zero"),
    ],
)
def test_a_file_that_fails_is_named(tmp_path: Path, text: str, line: str) -> None:
    (tmp_path / "own.py").write_text(text)
    done = profile(tmp_path / "out", "--file", str(tmp_path / "own.py"))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"hwdiag: no trace could be written: {line}")
