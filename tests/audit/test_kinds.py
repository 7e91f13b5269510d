"""A kind of settings is one module with its part of the scripts, and no emitter knows an entry by its id."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

import hwdiag.audit.kinds as folder
from hwdiag.audit import kind as kind_module
from hwdiag.audit import persist, scripts
from hwdiag.audit.audit import audit
from hwdiag.audit.emit import settings_files
from hwdiag.audit.kind import part
from hwdiag.audit.kinds import kinds
from hwdiag.audit.knobs import KNOBS
from hwdiag.audit.knobs.model import Knob
from hwdiag.audit.knobs.rules import fixed
from hwdiag.host.root import Root
from tests.audit.fake_host import FakeHost, memory_folder, require_namespaces, settings_tree

ROOT = Path(__file__).parents[2] / "hwdiag"
AUDIT = ROOT / "audit"


def words(path: Path) -> Iterator[str]:
    """Yield each string of a module, or each word of a template."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        yield from (
            n.value for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Constant) and isinstance(n.value, str)
        )
    else:
        yield from re.findall(r"[\w.]+", text)


def test_no_emitter_knows_an_entry_by_its_id() -> None:
    ids = {k.id for k in KNOBS}
    emitters = [p for p in AUDIT.rglob("*") if p.suffix in (".py", ".j2", ".sh") and p.parent.name != "knobs"]
    assert len(emitters) > 20
    known = {(p.name, word) for p in emitters for word in words(p) if word in ids or word.removeprefix("knob_") in ids}
    assert known == set()


def test_every_kind_is_used_and_every_part_is_called() -> None:
    used = {type(source) for knob in KNOBS for source in (knob.source, *knob.beside)}
    assert set(kinds()) == used
    names = {kind.name for kind in kinds()}
    assert len(names) == len(kinds())
    parts = {p.stem for p in (AUDIT / "kinds").glob("*.sh")}
    assert {p for p in parts if p not in names} == {"disk_rule"}


def test_what_a_script_sets_can_be_read_and_written_by_its_part() -> None:
    texts = "\n".join(part(kind.name) for kind in kinds())
    functions = set(re.findall(r"^(\w+)\(\)", texts, re.MULTILINE))
    for name in ("file", "gpu", "mount", "unit", "active", "pool"):
        assert {f"get_{name}", f"put_{name}"} <= functions


def test_a_means_of_another_kind_is_refused() -> None:
    knob = next(k for k in KNOBS if k.id == "limits.nofile")
    with pytest.raises(ValueError, match="settings of the kind limit are not kept by sysctl"):
        Knob(**{**dict(knob), "persists": "sysctl"})


MODULE = '''
from collections.abc import Iterator, Sequence
from hwdiag.audit.kind import Kind, Place
from hwdiag.host.model import Host
from hwdiag.host.root import Root
from hwdiag.host.settings import Setting, read_file


class Blinks(Kind):
    """Whether a lamp blinks, in a file of its own form."""

    name = "lamp"
    means = {"lamps": "/etc/lamps.conf"}
    lamp: str

    def read(self, root: Root, host: Host) -> Iterator[Setting]:
        now = read_file(root, f"/lamps/{self.lamp}")
        if now is not None:
            yield Setting(where=f"lamp {self.lamp}", now=now.partition("=")[2])

    def places(self, where: str, wanted: str, host: Host, disturbs: Sequence[str] = ()) -> Iterator[Place]:
        yield Place(kind="lamp", name=where.removeprefix("lamp "), wanted=wanted)

    def line(self, means: str, place: Place) -> str:
        return f"{place.name}: {place.wanted}"
'''
PART = """get_lamp() {
  local line=
  { IFS= read -r line <"/lamps/$1"; } 2>/dev/null || return 1
  VALUE=${line#*=}
}
put_lamp() { { printf 'blinks=%s\\n' "$2" >"/lamps/$1"; } 2>/dev/null; }
"""


def test_a_new_kind_is_one_module_and_its_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_namespaces()
    (tmp_path / "lamp.py").write_text(MODULE)
    (tmp_path / "lamp.sh").write_text(PART)
    monkeypatch.setattr(folder, "__path__", [*folder.__path__, str(tmp_path)])
    monkeypatch.setattr(kind_module, "part", lambda name: PART if name == "lamp" else part(name))
    for emitter in (scripts, persist):
        monkeypatch.setattr(emitter, "part", kind_module.part)
    blinks = next(kind for kind in kinds() if kind.name == "lamp")
    entry = Knob(id="io.lamp", group="io", what="A lamp.", source=blinks(lamp="red"), known="", evidence="documented",
                 link="lamp(4)", wanted=fixed("no"), takes="yes|no", persists="lamps")  # fmt: skip
    for module in ("hwdiag.audit.audit", "hwdiag.audit.scripts", "hwdiag.audit.knobs"):
        monkeypatch.setattr(sys.modules[module], "KNOBS", (*KNOBS, entry))
    monkeypatch.setitem(scripts.BY_ID, "io.lamp", entry)
    try:
        with memory_folder() as place:
            there = FakeHost(place, settings_tree() | {"/lamps/red": "blinks=yes\n"}, {})
            texts = emitted(there, "io.lamp")
            assert (there.run("s", texts["system_optimize.sh"], "apply").returncode, there.read("/lamps/red")) == (
                0,
                "blinks=no",
            )
            assert there.run("s", texts["system_optimize.sh"], "status").returncode == 0
            assert there.run("p", texts["make_persistent.sh"], "install").returncode == 0
            assert there.read("/etc/lamps.conf").endswith("\nred: no")
            assert (there.run("s", texts["system_optimize.sh"], "undo").returncode, there.read("/lamps/red")) == (
                0,
                "blinks=yes",
            )
    finally:
        sys.modules.pop("hwdiag.audit.kinds.lamp", None)


def emitted(there: FakeHost, *knobs: str) -> dict[str, str]:
    host = there.host()
    found = audit(Root.directory(there.folder), host, knobs=knobs)
    files: Sequence = settings_files(found, host, made_at="2026-11-20T10:00:00Z")
    return {f.path.removeprefix("scripts/"): f.text for f in files}


def test_the_files_of_older_kernels_are_read_and_set(tmp_path: Path) -> None:
    old = {path.replace("/cpufreq/policy", "/cpu"): text for path, text in settings_tree(cpus=6).items()}
    cpufreq = {re.sub(r"(/cpu\d+)/(scaling|energy)", r"\1/cpufreq/\2", path): text for path, text in old.items()}
    for path, text in cpufreq.items():
        place = tmp_path / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    root = Root.directory(tmp_path)
    from hwdiag.host.read import read_host

    host = read_host(root)
    assert host.cpu.governor == "powersave"
    found = audit(root, host, knobs=("cpu.governor",))
    (row,) = [r for r in found.rows if r.knob == "cpu.governor"]
    assert (len(row.where), row.now, row.wanted) == (6, "powersave", "performance")
    text = scripts.render_settings(found.rows, host, made_at="2026-11-20T10:00:00Z")["system_optimize.sh"]
    assert "for file in /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; do" in text
