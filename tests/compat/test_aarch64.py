"""Crashes on AArch64, whose signal frames are laid out otherwise: under user-mode emulation, on any host."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hwdiag.compat.check import survey
from hwdiag.compat.explain import explain
from tests.compat.conftest import IN_MEMORY, Site

pytestmark = pytest.mark.vm

RUN = IN_MEMORY.replace("bytes([0xc3])", "bytes.fromhex('c0035fd6')") + "run()"  # ret
CRASHES = [  # (machine code, text, feature, ends the program on purpose)
    ("2a050000", "udf #0x52a", None, True),
    ("2094824e", "sdot v0.4s, v1.16b, v2.16b", "asimddp", False),
    ("20a4824e", "smmla v0.4s, v1.16b, v2.16b", "i8mm", False),
    ("20fc426e", "bfdot v0.4s, v1.8h, v2.8h", "bf16", False),
    ("0000a004", "add z0.s, z0.s, z0.s", "sve", False),
    ("2000e0b8", "ldaddal w0, w0, [x1]", "atomics", False),
]


def test_an_instruction_that_a_cortex_a53_lacks_is_named(site: Site, arm: Callable[[str], str]) -> None:
    names = [site.add(f"dies{i}", RUN.format(code=code, kind="CFUNCTYPE")) for i, (code, *_) in enumerate(CRASHES)]
    found = survey(arm("cortex-a53"), packages=names, timeout_s=120)
    assert found.interpreter.machine == "aarch64"
    assert {"asimd", "aes", "crc32"} <= set(found.interpreter.features or ())
    for row, (code, text, feature, deliberate) in zip(found.results, CRASHES, strict=True):
        assert row.culprit is not None, row
        culprit = row.culprit
        assert (culprit.signal, culprit.instruction, culprit.needs) == ("SIGILL", text, feature)
        assert (culprit.deliberate, culprit.cpu_has) == (deliberate, None if feature is None else False)
        assert (culprit.code or "").startswith(code)
        assert culprit.thread == "main thread"
        assert culprit.stack[0].startswith("run, ")
        assert ("(this CPU lacks it)" in explain(row)) is not deliberate


def test_the_same_instructions_run_where_the_cpu_has_them(site: Site, arm: Callable[[str], str]) -> None:
    names = [site.add("sdot", RUN.format(code="2094824e", kind="CFUNCTYPE"))]
    found = survey(arm("max"), packages=names, timeout_s=120)
    assert {"asimddp", "i8mm", "bf16", "sve"} <= set(found.interpreter.features or ())
    assert [row.outcome.kind for row in found.results] == ["ok"]


def test_a_segmentation_fault_has_its_place(site: Site, arm: Callable[[str], str]) -> None:
    """In the C library, by its symbol: the mapping and the offset into the file are right there too."""
    site.add("null", "import ctypes\nctypes.PyDLL(None).strlen(ctypes.c_void_p(8))\n")
    (row,) = survey(arm("cortex-a53"), packages=["null"], timeout_s=120).results
    assert row.culprit is not None
    assert row.culprit.signal == "SIGSEGV"
    assert (row.culprit.object or "").endswith("libc.so.6")
    assert (row.culprit.code or "") != ""
