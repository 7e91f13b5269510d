"""Packages that hang, exit, print without end or are missing: each is a row, and none ends the check."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hwdiag.compat import children
from hwdiag.compat.check import chosen, survey
from hwdiag.compat.model import Compatibility, Interpreter, Package
from hwdiag.compat.packages import list_packages
from hwdiag.core.errors import UsageError
from hwdiag.process.model import Outcome
from tests.compat.conftest import Site
from tests.process.test_agent import is_running, wait_until


def checked(site: Site, *names: str, timeout_s: float = 60) -> dict[str, Compatibility]:
    return {r.package: r for r in survey(site.python, packages=names, timeout_s=timeout_s).results}


def test_no_package_can_end_the_check(site: Site) -> None:
    site.add("hangs", "import subprocess, time\nsubprocess.Popen(['sleep', '600'])\ntime.sleep(600)")
    site.add("leaves", "import os; os._exit(0)")
    site.add("exits", "import sys; sys.exit('not today')")
    site.add("raises", "raise RuntimeError('operator torchvision::nms does not exist')")
    site.add("aborts", "import os; os.abort()")
    site.add("killed", "import os; os.kill(os.getpid(), 9)")
    site.add("sends", "import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    site.add("needs", "import nosuchmodule")
    site.add("fine", 'print(\'{"event": "end"}\')')
    names = ("hangs", "leaves", "exits", "raises", "aborts", "killed", "sends", "needs", "fine", "absent")
    rows = checked(site, *names, timeout_s=3)
    ends = {name: (row.outcome.kind, row.outcome.detail) for name, row in rows.items()}
    assert ends["hangs"] == ("timeout", "no end after 3 s: killed")
    assert ends["leaves"] == ("error", "it ended the process, exit status 0")
    assert ends["exits"] == ("error", "SystemExit: not today")
    assert ends["raises"] == ("error", "RuntimeError: operator torchvision::nms does not exist")
    assert ends["aborts"] == ("signal", "killed by SIGABRT (aborted)")
    assert ends["killed"] == ("signal", "killed by SIGKILL (killed from outside, or out of memory)")
    assert ends["needs"] == ("import-error", "ModuleNotFoundError: No module named 'nosuchmodule'")
    assert ends["fine"] == ("ok", "")
    assert ends["absent"] == ("import-error", "ModuleNotFoundError: No module named 'absent'")
    sent = rows["sends"].culprit
    assert sent is not None
    assert (sent.signal, sent.instruction) == ("SIGILL", None)
    assert "sent by a process" in (sent.limited or "")


def test_one_that_prints_without_end_is_ended(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "MAX_PRINTED", 2**20)
    site.add("prints", "import os\nwhile True: os.write(2, b'x' * 65536)")
    started = time.monotonic()
    assert checked(site, "prints")["prints"].outcome.detail == "printed more than 1 MiB: killed"
    assert time.monotonic() - started < 20


@pytest.mark.parametrize("ended_by", ["SIGINT", "SIGKILL"])
def test_no_child_outlives_the_check(site: Site, tmp_path: Path, ended_by: str) -> None:
    pid_file = tmp_path / "pid"
    site.add("hangs", f"import os, time\nopen({str(pid_file)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)")
    code = f"from hwdiag.compat.check import survey; survey({site.python!r}, packages=['hangs'])"
    parent = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    wait_until(lambda: pid_file.exists() and pid_file.read_text() != "")
    child = int(pid_file.read_text())
    parent.send_signal(getattr(__import__("signal"), ended_by))
    parent.wait(10)
    wait_until(lambda: not is_running(child))
    assert not is_running(child)


def test_torch_is_asked_for_where_it_is_missing() -> None:
    interpreter = Interpreter(python="p", outcome=Outcome(kind="ok"), packages=(Package(name="numpy"),))
    assert [p.name for p in chosen(interpreter, ())] == ["torch", "numpy"]
    with_torch = interpreter.model_copy(update={"packages": (Package(name="numpy"), Package(name="Torch"))})
    assert [p.name for p in chosen(with_torch, ())] == ["Torch", "numpy"]


def test_packages_with_native_code_are_listed_with_their_import_names(site: Site, tmp_path: Path) -> None:
    native = tmp_path / "_core.abi3.so"
    native.write_bytes(b"\x7fELF")
    variant = tmp_path / "_core_avx2.abi3.so"
    variant.write_bytes(b"\x7fELF")
    site.add("opencv_like", "", native, variant, version="5.0")
    site.add("pure", "")
    found = list_packages(site.python)
    assert found.outcome.ok
    (package,) = [p for p in found.packages if p.name in ("opencv_like", "pure")]
    assert (package.version, package.imports) == ("5.0", ("opencv_like",))
    assert package.extensions == ("opencv_like._core",)
    assert package.shared_objects[0] == str(site.folder / "opencv_like" / "_core.abi3.so")
    numpy = next(p for p in found.packages if p.name == "numpy")
    assert numpy.imports == ("numpy",)
    assert "numpy._core._multiarray_umath" in numpy.extensions
    assert not any("test" in name for name in numpy.extensions)


def test_an_interpreter_that_does_not_start_is_one_clear_outcome(tmp_path: Path) -> None:
    path = tmp_path / "python"
    path.write_bytes(b"\x7fELF rubbish")
    path.chmod(0o755)
    found = survey(str(path))
    assert (found.interpreter.outcome.kind, found.results) == ("not-started", ())
    assert found.interpreter.outcome.detail == f"{path}: Exec format error"


@pytest.mark.parametrize("name", ["", "../x", "a b", "-x", "x;y", "a\nb"])
def test_a_name_that_is_no_package_stops_at_once(name: str) -> None:
    with pytest.raises(UsageError, match="is not a name of a package"):
        survey(sys.executable, packages=[name])


def test_progress_rises_to_the_end(site: Site) -> None:
    names = ["one", "two", "three"]
    for name in names:
        site.add(name, "")
    said: list[tuple[str, float]] = []
    survey(site.python, packages=names, progress=lambda text, share: said.append((text, share)))
    shares = [share for _, share in said]
    assert shares == sorted(shares)
    assert {text for text, _ in said} >= set(names)
    assert shares[-1] >= 0.9


def test_the_real_torch_and_numpy_run() -> None:
    env = {k: v for k, v in os.environ.items() if k != "OPENBLAS_CORETYPE"}
    found = survey(sys.executable, packages=["torch", "numpy"], env=env)
    assert {r.stage for r in found.results} >= {"import", "torch-matmul", "torch-sdpa", "numpy-matmul"}
    assert [(r.stage, r.outcome.detail) for r in found.failed] == []


RUNAWAY = """
import os, time
for _ in range(4):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            open({pids!r}, 'a').write(str(os.getpid()) + chr(10))
            time.sleep(600)
        time.sleep({parent_s})
        os._exit(0)
time.sleep(0.5)
"""


@pytest.mark.parametrize("parent_s", [0, 600], ids=["orphans", "with a parent"])
def test_what_a_package_starts_does_not_outlive_it(site: Site, tmp_path: Path, parent_s: int) -> None:
    """It forks, leaves the session, and forks again; so does what ends by a crash."""
    for name, end in (("daemons", ""), ("crashes", "os.abort()\n"), ("leaves", "os._exit(0)\n")):
        pids = tmp_path / f"{name}.pids"
        site.add(name, RUNAWAY.format(pids=str(pids), parent_s=parent_s) + end)
        row = checked(site, name)[name]
        assert row.outcome.kind == {"daemons": "ok", "crashes": "signal", "leaves": "error"}[name]
        started = [int(pid) for pid in pids.read_text().split()]
        assert len(started) == 4
        left = [pid for pid in started if is_running(pid)]
        for pid in left:
            os.kill(pid, 9)
        assert left == []


WRITES = """
import os
for file in range(3, 64):
    for said in (b'{"event": "done"}\\n', b'{"event": "failed", "stage": 3}\\n', b'\\xff\\n[[[', b'{"event": "end"}'):
        try:
            os.write(file, said)
        except OSError:
            pass
"""


def test_what_a_package_writes_into_inherited_files_is_not_its_report(site: Site) -> None:
    site.add("writes", WRITES)
    site.add("forges", WRITES + "raise ImportError('no')\n")
    site.add("floods", "import os\nfor f in range(3, 64):\n  try:\n    while True: os.write(f, b'x' * 65536)\n"
             "  except OSError: pass\n")  # fmt: skip
    site.add("closes", "import os\nos.closerange(3, 256)\nimport time\ntime.sleep(60)\n")
    rows = checked(site, "writes", "forges", "floods", "closes", timeout_s=30)
    assert rows["writes"].outcome == Outcome(kind="ok")
    assert rows["forges"].outcome == Outcome(kind="import-error", detail="ImportError: no")
    assert rows["floods"].outcome.detail == "printed more than 16 MiB: killed"
    assert rows["closes"].outcome.detail == "it closed files that are not its own: killed"
