"""Real crashes, each named to the instruction: natively, in threads, in operations, by a variable, under emulation."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hwdiag.compat.check import survey
from hwdiag.compat.children import Task, run_task
from hwdiag.compat.explain import explain
from hwdiag.compat.model import Compatibility
from hwdiag.compat.packages import list_packages
from tests.compat.conftest import IN_MEMORY, Site

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the crashing code is for x86-64")

LACKED = [  # instructions of CPUs that are not made any more, or that few have: (bytes, text, feature)
    ("c4e37969c120", "vfmaddpd xmm0, xmm0, xmm1, xmm2", "fma4"),
    ("8fe97880c1", "vfrczps xmm0, xmm1", "xop"),
    ("c4e2725cc3", "tdpbf16ps", "amx_bf16"),
]
C_FUNCTION = 'void multiply(void) {{ __asm__ volatile (".byte {code}"); }}'
CALL = "import ctypes, os\nctypes.PyDLL(os.path.join(os.path.dirname(__file__), {file!r})).multiply()\n"


def c_source(code: str) -> str:
    return C_FUNCTION.format(code=",".join(f"0x{b:02x}" for b in bytes.fromhex(code)))


def only(python: str, name: str, *, timeout_s: float = 60, env: dict[str, str] | None = None) -> Compatibility:
    """The one row of the one package."""
    (row,) = survey(python, packages=[name], timeout_s=timeout_s, env=env).results
    return row


@pytest.mark.parametrize(("code", "text", "feature"), LACKED)
def test_an_instruction_that_this_cpu_lacks_is_named(
    site: Site, shared_object: Callable[[str, str], Path], code: str, text: str, feature: str
) -> None:
    features = list_packages(site.python).features
    if features is None or feature in features:
        pytest.skip(f"this CPU has {feature}, or cannot be asked")
    file = shared_object("libold", c_source(code))
    site.add("old", CALL.format(file=file.name), file)
    row = only(site.python, "old")
    assert (row.stage, row.outcome.kind, row.version) == ("import", "signal", "1.0")
    assert row.culprit is not None
    culprit = row.culprit
    assert (culprit.signal, culprit.instruction, culprit.needs, culprit.cpu_has) == ("SIGILL", text, feature, False)
    assert culprit.object is not None
    assert Path(culprit.object) == site.folder / "old" / "libold.so"
    # The place is right: these bytes stand at that offset of the file, in that function.
    assert Path(culprit.object).read_bytes()[culprit.offset :].startswith(bytes.fromhex(code))
    assert (culprit.symbol, culprit.thread) == ("multiply", "main thread")
    assert culprit.stack[0].startswith("<module>, ")
    assert culprit.stack[0].endswith("old/__init__.py:2")
    assert culprit.code is not None
    assert culprit.code.startswith(code)
    assert [r.kind for r in culprit.remedies] == ["compile"]
    assert "libold.so + 0x" in explain(row)
    assert "(this CPU lacks it)" in explain(row)


def test_an_abort_on_purpose_is_not_called_a_wrong_build(site: Site) -> None:
    site.add("gives_up", IN_MEMORY.format(code="0f0b", kind="CFUNCTYPE") + "run()")
    row = only(site.python, "gives_up")
    assert row.culprit is not None
    assert row.culprit.deliberate
    assert row.culprit.needs is None
    assert row.culprit.remedies == ()
    assert "gave up on purpose" in explain(row)
    assert "code made at run time" in explain(row)


def test_a_crash_in_another_thread_is_seen_with_the_main_threads_stack(site: Site) -> None:
    code = IN_MEMORY.format(code="0f0b", kind="CFUNCTYPE")
    site.add("threaded", code + "import threading\nt = threading.Thread(target=run)\nt.start()\nt.join()")
    culprit = only(site.python, "threaded").culprit
    assert culprit is not None
    assert culprit.instruction == "ud2"
    assert culprit.thread is not None
    assert culprit.thread.startswith("thread ")
    assert culprit.stack[0].startswith("run, ")


STUCK_C = r"""
#include <pthread.h>
static void *die(void *x) { __asm__ volatile ("ud2"); return x; }
void wait_for_it(void) { pthread_t t; pthread_create(&t, 0, die, 0); pthread_join(t, 0); }
"""


def test_a_thread_that_cannot_get_the_lock_ends_early_with_the_reason(
    site: Site, shared_object: Callable[[str, str], Path]
) -> None:
    """PyDLL keeps the lock while it waits for the thread that dies: the handler there can never run."""
    file = shared_object("libstuck", STUCK_C)
    site.add("stuck", CALL.format(file=file.name).replace("multiply", "wait_for_it"), file)
    started = time.monotonic()
    row = only(site.python, "stuck", timeout_s=60)
    assert time.monotonic() - started < 20
    assert (row.outcome.kind, row.stage) == ("signal", "import")
    assert row.culprit is not None
    assert row.culprit.signal == "SIGILL"
    assert "could not get the interpreter's lock" in (row.culprit.limited or "")
    assert "only the package and the stage are known" in explain(row)


def test_a_segmentation_fault_has_its_place(site: Site, shared_object: Callable[[str, str], Path]) -> None:
    file = shared_object("libnull", "void multiply(void) { *(volatile int *)8 = 1; }")
    site.add("null", CALL.format(file=file.name), file)
    culprit = only(site.python, "null").culprit
    assert culprit is not None
    assert (culprit.signal, culprit.symbol) == ("SIGSEGV", "multiply")
    assert culprit.remedies == ()


def test_a_crash_in_an_operation_after_a_clean_import_says_so(site: Site) -> None:
    """The probe's own operations run: this numpy imports, and its matrix product dies."""
    dies = "class ndarray: pass\nclass random:\n    @staticmethod\n    def default_rng(seed):\n        run()\n"
    site.add("numpy", IN_MEMORY.format(code="c4e2725cc3", kind="CFUNCTYPE") + dies)
    rows = survey(site.python, packages=["numpy"], timeout_s=60).results
    assert [(r.stage, r.outcome.kind) for r in rows] == [("import", "ok"), ("numpy-matmul", "signal")]
    assert "imports, but dies in numpy-matmul" in explain(rows[1])


def test_stages_after_a_crash_are_still_tried(site: Site) -> None:
    dies = "def randn(*size):\n    if size == (96, 96): run()\n    raise ValueError('no more')\n"
    site.add("torch", IN_MEMORY.format(code="0f0b", kind="CFUNCTYPE") + dies)
    rows = {r.stage: r.outcome.kind for r in survey(site.python, packages=["torch"], timeout_s=60).results}
    assert rows["torch-matmul"] == "signal"
    assert (rows["import"], rows["torch-bf16"]) == ("ok", "error")
    assert {"torch-conv", "torch-sdpa", "torch-svd", "torch-quantized"} <= set(rows)


def test_an_inherited_variable_that_kills_is_named_and_confirmed(site: Site) -> None:
    code = IN_MEMORY.format(code="0f0b", kind="CFUNCTYPE")
    site.add("blas", code + "import os\nif os.environ.get('OPENBLAS_CORETYPE') == 'Zen9': run()")
    env = {"PATH": "/usr/bin:/bin", "OPENBLAS_CORETYPE": "Zen9", "ATEN_CPU_CAPABILITY": "avx2"}
    row = only(site.python, "blas", env=env)
    assert row.outcome.kind == "signal"
    assert row.culprit is not None
    assert row.culprit.variable == "OPENBLAS_CORETYPE=Zen9"
    assert (row.culprit.remedies[0].kind, row.culprit.remedies[0].works) == ("unset", True)
    assert "that variable is the cause" in explain(row)


def test_a_variable_that_is_not_the_cause_is_not_blamed(site: Site) -> None:
    site.add("blas", IN_MEMORY.format(code="0f0b", kind="CFUNCTYPE") + "run()")
    row = only(site.python, "blas", env={"PATH": "/usr/bin:/bin", "OPENBLAS_CORETYPE": "Zen9"})
    assert row.culprit is not None
    assert row.culprit.variable is None


AVX2 = "c5fdfec1"
"""``vpaddd ymm0, ymm0, ymm1``."""


@pytest.mark.parametrize(
    ("cpu", "needs"), [("IvyBridge", "avx2"), pytest.param("Haswell", None, marks=pytest.mark.long)]
)
def test_under_emulation_the_emulated_cpu_counts(
    site: Site, shared_object: Callable[[str, str], Path], qemu: str, cpu: str, needs: str | None
) -> None:
    """/proc/cpuinfo there shows this host's flags; CPUID, which the probe asks, shows the emulated CPU's."""
    file = shared_object("libnew", c_source(AVX2))
    site.add("new", CALL.format(file=file.name), file)
    found = survey(site.emulated(qemu, cpu), packages=["new"], timeout_s=120)
    row, *libraries = found.results
    assert [(r.stage, r.outcome.ok) for r in libraries] == ([("libraries", True)] if needs is None else [])
    assert found.interpreter.features is not None
    assert ("avx2" in found.interpreter.features) is (needs is None)
    if needs is None:
        assert row.outcome.ok, row.outcome.detail
    else:
        assert row.culprit is not None
        assert (row.culprit.signal, row.culprit.needs, row.culprit.cpu_has) == ("SIGILL", needs, False)
        assert (row.culprit.instruction, row.culprit.symbol) == ("vpaddd ymm0, ymm0, ymm1", "multiply")
        assert Path(row.culprit.object or "") == site.folder / "new" / "libnew.so"


MANY_C = r"""
#include <pthread.h>
static void *die(void *x) { for (;;) __asm__ volatile ("ud2"); return x; }
void multiply(void) {
    pthread_t t[8];
    for (int i = 0; i < 8; i++) pthread_create(t + i, 0, die, 0);
    pthread_join(*t, 0);
}
"""


def test_threads_that_die_at_once_give_one_report(site: Site, shared_object: Callable[[str, str], Path]) -> None:
    """OpenBLAS's threads all die together: the others wait until the first one's report is out and has ended them."""
    file = shared_object("libmany", MANY_C)
    site.add("many", CALL.format(file=file.name).replace("PyDLL", "CDLL"), file)
    task = Task("many", site.python, {"do": "probe.run", "imports": ["many"]}, dict(os.environ))
    for _ in range(5):
        end = run_task(task, timeout_s=60)
        assert [event["code"][:4] for event in end.all("crash")] == ["0f0b"]
        assert (end.returncode, end.stuck) == (-signal.SIGILL, None)


SECOND = """
import ctypes, os, threading
from hwdiag.agent.crash_witness import CrashWitness
witness = CrashWitness(lambda event, **values: os.write(1, b"it tells"))
witness.claim.acquire()  # by a thread that has not told all yet
sent = ctypes.addressof(ctypes.create_string_buffer(128))
second = threading.Thread(target=witness.handle, args=(4, sent, sent), daemon=True)
second.start()
second.join(0.5)
os.write(1, b"it waits" if second.is_alive() else b"it came back")
os._exit(0)
"""


def test_a_thread_that_dies_while_another_reports_waits_for_it() -> None:
    """It must neither write into the other's report nor end the process before that is out."""
    done = subprocess.run([sys.executable, "-c", SECOND], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "it waits"), done.stderr


def test_a_variable_is_named_where_it_only_hides_the_next_failure(
    site: Site, shared_object: Callable[[str, str], Path]
) -> None:
    file = shared_object("libforced", c_source("0f0b"))
    call = CALL.format(file=file.name).replace("ctypes.PyDLL", "os.environ.get('OPENBLAS_CORETYPE') and ctypes.PyDLL")
    site.add("forced", call + "raise RuntimeError('another fault')", file)
    row = only(site.python, "forced", env={"PATH": "/usr/bin:/bin", "OPENBLAS_CORETYPE": "Zen9"})
    assert row.culprit is not None
    assert row.culprit.variable == "OPENBLAS_CORETYPE=Zen9"
    assert "got past this crash, and ended elsewhere" in row.culprit.remedies[0].text
    assert row.culprit.remedies[0].works is None
