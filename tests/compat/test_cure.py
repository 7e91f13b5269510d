"""What a run does about a stack that needs a variable set or unset: only what was seen to help, in the child."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from hwdiag.compat.advice import consult, needed_plan, with_cure
from hwdiag.compat.check import PackageCheck, survey
from hwdiag.compat.model import Compatibility, Culprit, Cure, Interpreter, Package, Remedy, Survey
from hwdiag.core.finding import Check, Finding
from hwdiag.diagnose.run import Diagnosis
from hwdiag.parameters.diagnosis import load
from hwdiag.process.launch import Launch
from hwdiag.process.model import Outcome
from hwdiag.process.supervised import child_environment
from tests.compat.conftest import IN_MEMORY, Site
from tests.compat.test_crashes import CALL, c_source
from tests.conftest import script

BARE = {"PATH": "/usr/bin:/bin"}
AMX = "c4e2725cc3"
ILLEGAL = IN_MEMORY.format(code="0f0b", kind="CFUNCTYPE")


@pytest.mark.parametrize("has_effect", [True, False])
def test_a_cap_is_a_cure_only_if_it_has_an_effect(
    site: Site, shared_object: Callable[[str, str], Path], has_effect: bool
) -> None:
    file = shared_object("libtorch_cpu", c_source(AMX))
    spared = "default" if has_effect else "nothing"
    call = CALL.format(file=file.name)
    code = call.replace("ctypes.PyDLL", f"if os.environ.get('ATEN_CPU_CAPABILITY') != '{spared}': ctypes.PyDLL")
    site.add("kernels", code, file)
    found = survey(site.python, packages=["kernels"], timeout_s=60, env=BARE)
    (row,) = found.results
    if row.outcome.ok:
        pytest.skip("this CPU has AMX")
    cap = next(r for r in row.culprit.remedies if r.kind == "cap") if row.culprit else None
    assert cap is not None
    assert cap.works is has_effect
    cure = Cure(env={"ATEN_CPU_CAPABILITY": "default"}, stages=("kernels: import",))
    assert found.cure == (cure if has_effect else None)


def test_a_cure_that_breaks_what_ran_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def row(stage: str, kind: Any, *remedies: Remedy) -> Compatibility:
        culprit = Culprit(signal="SIGILL", remedies=remedies) if kind == "signal" else None
        return Compatibility(package="torch", stage=stage, outcome=Outcome(kind=kind), culprit=culprit)

    unset = Remedy(kind="unset", text="", source="", unset=("X",), works=True)
    before = [row("import", "ok"), row("torch-conv", "ok"), row("torch-matmul", "signal", unset)]
    check = PackageCheck(Interpreter(python="p", outcome=Outcome(kind="ok")), {"X": "1"}, 60, lambda text, share: None)
    for conv in ("ok", "error"):
        after = [row("import", "ok"), row("torch-conv", conv), row("torch-matmul", "ok")]

        def rows(
            self: PackageCheck, packages: Sequence[Package], after: list[Compatibility] = after
        ) -> list[Compatibility]:
            assert self.env == {}
            assert [p.name for p in packages] == ["torch"]
            return after

        monkeypatch.setattr(PackageCheck, "rows", rows)
        cure = check.cure([Package(name="torch"), Package(name="numpy")], before)
        assert (cure is not None) == (conv == "ok")


def test_a_launch_takes_a_variable_away_from_its_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    cured = with_cure(Launch(threads=2), Cure(unset=("OPENBLAS_CORETYPE",), env={"A": "1"}))
    assert "OPENBLAS_CORETYPE" not in child_environment(cured)
    assert child_environment(cured)["A"] == "1"
    assert cured.describe() == "2 threads, A=1, without OPENBLAS_CORETYPE"
    assert not cured.is_default
    assert with_cure(cured, None) == cured


@pytest.mark.usefixtures("clean_environment")
def test_a_run_on_a_host_that_needs_it_hands_over_a_script_that_does_it(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.add("torch", ILLEGAL + "import os\nif os.environ.get('OPENBLAS_CORETYPE') == 'Zen9': run()")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Zen9")
    run = Diagnosis(load({"python": site.python, "host": "auto"}), outputs=tmp_path / "outputs")
    for step in (run.probe_software, run.plan, run.measure, run.advise, run.emit, run.finish):
        step()
    assert run.record.verdict == "Needed here: unset OPENBLAS_CORETYPE."
    assert "compat-torch-import" in {f.id for f in run.record.findings}
    report = (run.folder / "report.html").read_text()
    assert "Will the packages run?" in report
    assert "SIGILL" in report
    launch = run.folder / "scripts" / "launch.sh"
    command = [site.python, "-c", "import os, torch; print(os.environ.get('OPENBLAS_CORETYPE'))"]
    assert subprocess.run(command).returncode == -4
    done = subprocess.run([launch, "--", *command], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "None\n"), done.stderr


OLD = ("pni", "ssse3", "sse4_1", "sse4_2", "popcnt")
"""What every CPU has that PyTorch's wheels run on."""


def test_a_cpu_type_that_hides_what_every_cpu_has_is_named_with_the_type_to_choose() -> None:
    def found(*features: str) -> list[Finding]:
        interpreter = Interpreter(
            python="p", outcome=Outcome(kind="ok"), machine="x86_64", features=features, cpu="Common KVM processor"
        )
        said = consult(Survey(started_at="", seconds=1, interpreter=interpreter))
        return [s for s in said if isinstance(s, Finding)]

    (hidden,) = found("pni")
    assert "Common KVM processor, lacks SSSE3, SSE4.1, SSE4.2 and POPCNT" in hidden.title
    assert "kvm64" in hidden.title
    assert "CPU type 'host'" in hidden.detail
    assert not found(*OLD)


def test_what_runs_without_avx2_says_that_it_does_not_need_it() -> None:
    def found(*features: str) -> list[Finding | Check]:
        interpreter = Interpreter(python="p", outcome=Outcome(kind="ok"), machine="x86_64", features=(*OLD, *features))
        ran = Compatibility(package="torch", version="2.13.0", stage="import", outcome=Outcome(kind="ok"))
        gone = Compatibility(package="numpy", stage="import", outcome=Outcome(kind="import-error"))
        return list(consult(Survey(started_at="", seconds=1, interpreter=interpreter, results=(ran, gone))))

    (old,) = found("avx")
    (new,) = found("avx", "avx2")
    assert isinstance(old, Check)
    assert isinstance(new, Check)
    assert old.title == "torch 2.13.0 runs on this CPU"
    assert old.detail.endswith("This CPU has no AVX2: torch 2.13.0 does not need it.")
    assert "AVX2" not in new.detail


@pytest.mark.slow
def test_openblas_forced_above_an_emulated_cpu_is_unset_and_then_runs(tmp_path: Path, qemu: str) -> None:
    pytest.importorskip("numpy")
    python = script(tmp_path / "python", f'exec {qemu} -cpu IvyBridge {sys.executable} "$@"')
    found = survey(python, packages=["numpy"], env={**os.environ, "OPENBLAS_CORETYPE": "Haswell"})
    (died,) = found.crashed
    assert died.culprit is not None
    assert (died.stage, died.culprit.needs) == ("numpy-matmul", "fma")
    assert found.cure == Cure(unset=("OPENBLAS_CORETYPE",), stages=("numpy: numpy-matmul",))
    plan, recommendation = needed_plan(found.cure)
    assert (recommendation.plan, plan.launch.unset) == (plan.id, ("OPENBLAS_CORETYPE",))
    assert recommendation.title == "Needed here: unset OPENBLAS_CORETYPE"
