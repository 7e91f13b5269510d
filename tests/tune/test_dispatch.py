"""Remedies for libraries that don't take the CPU's kernels: offered where they can help, and nowhere else."""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path

import pytest

from hwdiag.experiment.lever import Lever
from hwdiag.host.model import Host, Isa
from hwdiag.tune.dispatch import build_vendor_check, dispatch
from tests.conftest import make_host, make_software

LIBRARY = Path("/run/libhwdiag-mkl.so")


def host(vendor: str, *features: str) -> Host:
    base = make_host()
    isa = Isa(level="x86-64-v3", features=features, missing=())
    return base.model_copy(update={"cpu": base.cpu.model_copy(update={"vendor": vendor, "isa": isa})})


def options(vendor: str, *features: str, environment: dict[str, str] | None = None, mkl: bool = True) -> list[Lever]:
    software = make_software(environment=environment or {}, mkl=mkl)
    return [*dispatch(host(vendor, *features), software, LIBRARY).levers]


def test_the_vendor_check_is_answered_only_for_mkl_on_another_vendors_cpu_that_has_more() -> None:
    (offer,) = options("AuthenticAMD", "AVX2")
    assert offer.launch.preload == (str(LIBRARY),)
    assert "Intel does not support it" in offer.risk
    assert not options("GenuineIntel", "AVX2")
    assert not options("AuthenticAMD", "AVX")
    assert not options("AuthenticAMD", "AVX2", mkl=False)


def test_every_inherited_cap_is_tried_without() -> None:
    inherited = {"OPENBLAS_CORETYPE": "Haswell", "MKL_CBWR": "COMPATIBLE", "OMP_NUM_THREADS": "4"}
    assert {o.launch.unset for o in options("GenuineIntel", "AVX2", environment=inherited)} == {
        ("OPENBLAS_CORETYPE",),
        ("MKL_CBWR",),
    }


def test_avx2_is_tried_where_there_is_avx512_and_never_more_than_the_cpu_has() -> None:
    assert [o.title for o in options("GenuineIntel", "AVX2", "AVX512F")] == ["no AVX-512"]
    assert not any("512" in value.lower() for o in options("GenuineIntel", "AVX2") for value in o.launch.env.values())


@pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler")
def test_the_function_is_built_and_says_yes(tmp_path: Path) -> None:
    library = build_vendor_check(tmp_path)
    assert library is not None
    assert ctypes.CDLL(str(library)).mkl_serv_intel_cpu_true() == 1


def test_without_a_compiler_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert build_vendor_check(tmp_path) is None
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    assert build_vendor_check(tmp_path) is None
