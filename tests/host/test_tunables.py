"""Each tunable of the host is read in one place: the facts and the audit say the same of every machine."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from hwdiag.audit.audit import read_everything
from hwdiag.host import Root, read_host
from tests.host.conftest import DUMPS, MakeTree, small_machine

PACKAGE = Path(__file__).parents[2] / "hwdiag"
TUNABLES = {
    "governor": r"scaling_governor$",
    "turbo": r"/no_turbo$",
    "boost": r"/boost$",
    "huge pages": r"transparent_hugepage/enabled$",
    "scheduler": r"(queue/|^/)scheduler$",
    "read-ahead": r"/read_ahead_kb$",
    "limits": r"^/proc/self/limits$",
}
"""Ends of the paths that these are read from."""
TALKS_OF_IT = {"snapshot.py": "/proc/self/limits"}
"""Modules that name such a path and do not read it."""


@cache
def constants(path: Path) -> set[str]:
    """Return the strings of a module but for its docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docs = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    return {n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)
            and id(n) not in docs}  # fmt: skip


@pytest.mark.parametrize("name", TUNABLES)
def test_one_module_names_the_files_of_a_tunable(name: str) -> None:
    modules = [path for path in PACKAGE.rglob("*.py") if "agent" not in path.parts]
    told = {path.name for path in modules for text in constants(path)
            if re.search(TUNABLES[name], text) and TALKS_OF_IT.get(path.name) != text}  # fmt: skip
    assert told == {"settings.py"}


def agree(root: Root) -> set[str]:
    """Hold the facts against what the audit read; return what was there to compare."""
    host = read_host(root)
    found, _ = read_everything(root, host)
    seen = set()

    def same(what: str, fact: object, *knobs: str) -> None:
        values = {s.now for k in knobs for s in found[k] if s.now}
        if values or fact is not None:
            seen.add(what)
        assert fact == (",".join(sorted(values)) or None), what

    same("governor", host.cpu.governor, "cpu.governor")
    same("huge pages", host.memory.transparent_hugepages, "vm.thp")
    switches = {(k, s.now) for k in ("cpu.no_turbo", "cpu.boost") for s in found[k] if s.now}
    if switches:
        seen.add("boost")
        assert host.cpu.boost == bool(switches & {("cpu.no_turbo", "0"), ("cpu.boost", "1")})
    for disk in host.disks:
        for what, fact, knob in (("scheduler", disk.scheduler, "io.scheduler"),
                                 ("read-ahead", disk.read_ahead_kb, "io.read_ahead")):  # fmt: skip
            told = next((s.now for s in found[knob] if s.target == disk.name), None)
            if told is not None:
                seen.add(what)
                assert str(fact) == told, (what, disk.name)
    if host.limits.nofile is not None:
        soft = host.limits.nofile[0]
        same("nofile", "unlimited" if soft is None else str(soft), "limits.nofile")
    return seen


def test_facts_and_audit_say_the_same_of_a_small_machine(tree: MakeTree) -> None:
    root = tree(small_machine() | {
        "/sys/devices/system/cpu/intel_pstate/no_turbo": "1\n",
        "/sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
        "/sys/block/sda/size": "1000\n",
        "/sys/block/sda/queue/scheduler": "[mq-deadline] none\n",
        "/sys/block/sda/queue/read_ahead_kb": "128\n",
        "/proc/self/limits": "Limit Soft Hard Units\nMax open files            1024   unlimited   files \n",
    })  # fmt: skip
    assert agree(root) == {"governor", "huge pages", "boost", "scheduler", "read-ahead", "nofile"}


@pytest.mark.parametrize("name", sorted(p.name.removesuffix(".tar.gz") for p in DUMPS.glob("*.tar.gz")) or [None])
def test_facts_and_audit_say_the_same_of_real_machines(unpacked: Callable[[str], Path], name: str | None) -> None:
    if name is None:
        pytest.skip(f"the dumps of real machines are not here: {DUMPS}")
    agree(Root.directory(unpacked(name)))


def test_a_setting_without_a_choice_is_unknown_and_told(tree: MakeTree) -> None:
    root = tree({"/sys/kernel/mm/transparent_hugepage/enabled": "always madvise never\n"})
    host = read_host(root)
    assert host.memory.transparent_hugepages is None
    assert ("/sys/kernel/mm/transparent_hugepage/enabled", "nothing chosen in 'always madvise never'") in {
        (g.what, g.why) for g in host.gaps
    }
