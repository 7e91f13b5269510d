"""Variables and libraries of an observed program: each judged by what was seen of the process."""

from __future__ import annotations

from typing import Any

import pytest

from hwdiag.explain.probes import environment, libraries
from hwdiag.process.observation.inside_model import InsideReport
from tests.explain.observed import case, checks, findings, process, thread

TORCH = (
    "/v/lib/python3.11/site-packages/torch/lib/libtorch_cpu.so",
    "/v/lib/python3.11/site-packages/torch/lib/libgomp-a34b3233.so.1",
    "/v/lib/python3.11/site-packages/numpy.libs/libscipy_openblas64_-1.so",
)
INTEL = "/v/lib/python3.11/site-packages/intel/libiomp5.so"


def busy(pid: int = 100, cpu_s: float = 38.0, **more: Any) -> Any:
    return process(pid, thread(cpu_s), **{"libraries": TORCH, **more})


def test_a_healthy_program_gets_no_finding() -> None:
    seen = case(busy(environment={"OMP_NUM_THREADS": "4", "PYTHONUNBUFFERED": "1", "HOME": "/root"}))
    answers = [*environment.look(seen), *libraries.look(seen)]
    assert not findings(answers)
    assert {c.id: c.state for c in checks(answers).values()} == {"environment": "fine", "libraries": "fine"}
    assert "GNU OpenMP (libgomp) and OpenBLAS" in checks(answers)["libraries"].title


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("OMP_NUM_THREADS=all", "not a valid number"),
        ("PYTHONMALLOC=debug", "checks every memory block"),
        ("MALLOC_PERTURB_=7", "overwrites every memory block"),
        ("ATEN_CPU_CAPABILITY=AVX2", "in lower case"),
        ("LD_PRELOAD=/nowhere/libtcmalloc.so.4", "does not exist"),
        ("LD_PRELOAD=libtcmalloc.so.4", "did not find"),
        ("MALLOC_CONF=thp:always", "no such library is in this process"),
        ("KMP_BLOCKTIME=0", "nothing here reads it"),
        ("MKL_THREADING_LAYER=INTEL", "no libmkl_rt"),
    ],
)
def test_a_variable_of_the_process_is_judged(setting: str, words: str) -> None:
    name, value = setting.split("=", 1)
    (found,) = findings(list(environment.look(case(busy(environment={name: value}))))).values()
    assert words in found.title + found.detail
    assert f"unset {name}" in found.detail


def test_one_thread_each_is_right_for_ranks_that_share_the_cpus() -> None:
    one = {"OMP_NUM_THREADS": "1"}
    ranks = [busy(pid, 9.0, environment=one) for pid in (100, 101, 102, 103)]
    assert not findings(list(environment.look(case(*ranks))))
    (alone,) = findings(list(environment.look(case(busy(100, 3.0, environment=one))))).values()
    assert "1 of 4 CPUs" in alone.title


def test_a_count_that_the_program_changed_is_not_blamed_on_the_variable() -> None:
    inside = InsideReport(pid=100, command=(), state="written", facts={"threads": 1})
    seen = case(busy(environment={"OMP_NUM_THREADS": "4"}), inside=(inside,))
    assert not findings(list(environment.look(seen)))


def test_a_process_that_hides_its_variables_is_not_called_fine() -> None:
    hidden = process(libraries=(), hidden=("its environment: look as its owner",))
    answers = [*environment.look(case(hidden)), *libraries.look(case(hidden))]
    assert {c.state for c in checks(answers).values()} == {"unchecked"}
    assert "look as its owner" in checks(answers)["environment"].detail


def test_two_openmp_runtimes_are_named_with_their_files_and_owners() -> None:
    (found,) = findings(list(libraries.look(case(busy(libraries=(*TORCH, INTEL)))))).values()
    assert found.title == ("Two OpenMP runtimes are in one process: GNU OpenMP (libgomp) and Intel OpenMP (libiomp5)")
    assert f"{INTEL} (of intel)" in found.detail
    assert f"LD_PRELOAD={INTEL}" in found.detail


def test_a_second_copy_of_the_same_runtime_is_usual() -> None:
    second = "/v/lib/python3.11/site-packages/scikit_learn.libs/libgomp-24e2ab19.so.1"
    assert not findings(list(libraries.look(case(busy(libraries=(*TORCH, second))))))


def test_a_runtime_that_is_preloaded_answers_for_both() -> None:
    seen = busy(libraries=(*TORCH, INTEL), environment={"LD_PRELOAD": INTEL})
    assert not findings(list(libraries.look(case(seen))))


def test_the_reference_blas_is_named() -> None:
    slow = busy(libraries=("/usr/lib/x86_64-linux-gnu/blas/libblas.so.3.11.0",))
    (found,) = findings(list(libraries.look(case(slow)))).values()
    assert "reference BLAS" in found.title
    assert "libopenblas0" in found.detail
    fine = busy(libraries=("/usr/lib/x86_64-linux-gnu/openblas-pthread/libblas.so.3",))
    assert not findings(list(libraries.look(case(fine))))


def test_a_sanitizer_is_named() -> None:
    (found,) = findings(list(libraries.look(case(busy(libraries=(*TORCH, "/usr/lib/libasan.so.8")))))).values()
    assert found.title.startswith("AddressSanitizer")
