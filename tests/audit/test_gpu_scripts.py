"""The GPU script against a stateful nvidia-smi that refuses, hangs and answers nonsense: nothing false is said.

The state of ``tests.simulation.nvml`` is the truth: what the script says is compared with it, not with its own reading.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hwdiag.audit.audit import audit
from hwdiag.audit.emit import settings_files
from hwdiag.host.root import Root
from tests.audit.fake_host import FakeHost, memory_folder, require_namespaces, settings_tree
from tests.simulation.nvml import GpuState, uuid

CHOICES = {
    "GB10": ("gpu.clock_lock=850,2000", "gpu.compute_mode", "gpu.boost_slider=1"),
    "RTX 3060": ("gpu.power_limit=120", "gpu.accounting", "gpu.clock_lock=1200,1800"),
    "A100 MIG": ("gpu.persistence", "gpu.ecc=Disabled", "gpu.power_limit=250", "gpu.clock_lock=600,1200"),
    "H100": ("gpu.boost_slider=1", "gpu.clock_lock=1200,1500", "gpu.compute_mode", "gpu.power_limit=500"),
}
FIELDS = {
    "gpu.persistence": "persistence_mode", "gpu.accounting": "accounting.mode", "gpu.compute_mode": "compute_mode",
    "gpu.ecc": "ecc.mode.pending", "gpu.power_limit": "power.limit", "gpu.clock_lock": "lock",
    "gpu.boost_slider": "vboost",
}  # fmt: skip
UNTOLD = ("lock", "vboost")
FAULTS = ("hang", "stuck", "refused", "lost", "unknown", "reset", "na", "gone", "mismatch", "junk", "ignored", "clamp",
          "killed")  # fmt: skip


@dataclass
class Said:
    """One run of the script."""

    status: int
    text: str

    def row(self, field: str) -> str:
        """The line about a field of the first GPU; empty where there is none."""
        return next((line for line in self.text.splitlines() if f"{uuid(0)} {field} " in line), "")


class Bench:
    """A host with one GPU, its script, and what it should be."""

    def __init__(self, folder: Path, profile: str, *knobs: str) -> None:
        self.there = FakeHost(folder, settings_tree(), {})
        self.state = GpuState(folder / "gpus", profile)
        self.knobs = knobs or CHOICES[profile]
        host = self.there.host(self.state.nvml)
        host = host.model_copy(update={"system": host.system.model_copy(update={"arch": os.uname().machine})})
        found = audit(Root.directory(folder), host, knobs=self.knobs)
        files = settings_files(found, host, made_at="2026-12-01T10:00:00Z")
        self.texts = {f.path.removeprefix("scripts/"): f.text for f in files}
        text = self.texts["gpu_optimize.sh"]
        assert "SMI_S=30 SMI_MORE_S=35" in text
        self.text = text.replace("SMI_S=30 SMI_MORE_S=35", "SMI_S=2 SMI_MORE_S=4")
        self.wanted = {FIELDS[r.knob]: r.wanted for r in found.chosen if r.group == "gpu"}
        self.before = self.truth()
        self.ignores = False
        """Whether a request may come to nothing without a word, which for what nothing tells back nobody can see."""

    def truth(self) -> dict[str, str | None]:
        return {field: self.state.get(0, field) for field in self.wanted}

    def run(self, verb: str, *faults: str) -> Said:
        """Run a verb; the number of a fault's call counts from its start."""
        (self.state.folder / "count").unlink(missing_ok=True)
        self.state.faults(*faults)
        done = self.there.run("g", self.text, verb)
        assert "unbound variable" not in done.stderr
        assert "warning" not in done.stderr
        return Said(done.returncode, done.stdout + done.stderr)

    def calls(self, verb: str) -> int:
        """How often a verb asks nvidia-smi."""
        before = len(self.state.calls)
        self.run(verb)
        return len(self.state.calls) - before

    def reset(self) -> None:
        """Put the GPU to what it was, and forget what was written down."""
        self.state.set(0, **self.before)
        for file in (self.there.folder / "var/lib/hwdiag").glob("*"):
            file.unlink()

    @property
    def journal(self) -> list[list[str]]:
        file = self.there.folder / "var/lib/hwdiag/gpu_optimize.journal"
        return [line.split("|") for line in file.read_text().splitlines()] if file.exists() else []


@pytest.fixture
def folder() -> Iterator[Path]:
    require_namespaces()
    with memory_folder() as found:
        yield found


def check_apply(bench: Bench, said: Said) -> None:
    """Nothing that apply says is false, and what it writes down is a value."""
    truth = bench.truth()
    for field, wanted in bench.wanted.items():
        row = said.row(field)
        if row.endswith(" set") or ("asked for; it cannot be read back" in row and not bench.ignores):
            assert truth[field] == wanted, (field, row)
        if "refused" in row and field in UNTOLD:
            assert truth[field] == bench.before[field], (field, row)
        if "unsupported" in row:
            assert truth[field] == bench.before[field], (field, row)
    if said.status == 0 and not bench.ignores:
        assert truth == bench.wanted, said.text
    for event, _, place, value, *_ in bench.journal:
        field = place.rpartition(" ")[2]
        assert "[" not in value, "no answer that is an error is ever written down"
        if event == "was":
            assert value == (bench.before[field] or "default")
        if event == "set" and not (bench.ignores and field in UNTOLD):
            assert value == truth[field], (place, value)


def check_status(bench: Bench, said: Said) -> None:
    truth = bench.truth()
    for field, wanted in bench.wanted.items():
        if said.row(field).endswith("as wanted"):
            assert truth[field] == wanted
        if said.row(field).endswith("asked for; it cannot be read back") and not bench.ignores:
            assert truth[field] == wanted
    if said.status == 0 and not bench.ignores:
        assert truth == bench.wanted, said.text


def check_undo(bench: Bench, said: Said) -> None:
    truth = bench.truth()
    for field in bench.wanted:
        row = said.row(field)
        if row.endswith("restored") or ("reset to the default" in row and not bench.ignores):
            assert truth[field] == bench.before[field], row
    if bench.ignores and any(truth[f] != bench.before[f] for f in UNTOLD if f in truth):
        return
    if said.status == 0 or "nothing more to undo" in said.text:
        assert truth == bench.before, said.text
    if truth != bench.before:
        assert said.status != 0
        assert bench.journal, "what is still changed stays written down"


def walk(bench: Bench, call: int | str, fault: str) -> None:
    """Let one call go wrong in apply, then in status and undo; what is undone after it is as it was."""
    line = f"{call}|*|{fault}"
    bench.ignores = fault in ("ignored", "junk")
    check_apply(bench, bench.run("apply", line))
    check_status(bench, bench.run("status"))
    undone = bench.run("undo")
    check_undo(bench, undone)
    assert undone.status == 0 or bench.ignores, undone.text  # or what was accepted without effect is not offered
    assert bench.truth() == bench.before
    bench.reset()
    bench.run("apply")
    check_status(bench, bench.run("status", line))
    check_undo(bench, bench.run("undo", line))
    again = bench.run("undo")
    assert again.status == 0, again.text
    assert bench.truth() == bench.before or bench.ignores
    bench.reset()


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("profile", CHOICES)
def test_any_call_goes_wrong_and_nothing_false_is_said(folder: Path, profile: str, fault: str) -> None:
    bench = Bench(folder, profile)
    for call in range(1, max(bench.calls("apply"), bench.calls("undo")) + 1):
        bench.reset()
        walk(bench, call, fault)


SAMPLE = (
    ("RTX 3060", 2, "unknown"), ("RTX 3060", 5, "stuck"), ("A100 MIG", "*", "reset"), ("H100", 8, "refused"),
    ("GB10", "*", "lost"),
)  # fmt: skip


@pytest.mark.parametrize(("profile", "call", "fault"), SAMPLE)
def test_some_calls_go_wrong_and_nothing_false_is_said(folder: Path, profile: str, call: int | str, fault: str) -> None:
    bench = Bench(folder, profile)
    bench.reset()
    walk(bench, call, fault)


def test_a_lock_that_cannot_be_reset_is_not_said_to_be_and_stays_written_down(folder: Path) -> None:
    bench = Bench(folder, "RTX 3060", "gpu.clock_lock=1200,1800")
    assert bench.run("apply").status == 0
    refused = bench.run("undo", "*|-rgc|refused")
    assert refused.status == 1
    assert "could not be reset: refused: Unable to set lock" in refused.row("lock")
    assert "nothing more to undo" not in refused.text
    assert bench.journal
    assert bench.run("undo").status == 0
    assert bench.state.get(0, "lock") == "default"
    assert not bench.journal


@pytest.mark.parametrize("fault", ["unknown", "reset", "junk", "lost"])
def test_an_answer_that_is_an_error_is_never_a_value(folder: Path, fault: str) -> None:
    bench = Bench(folder, "RTX 3060", "gpu.persistence=Disabled", "gpu.power_limit=120")
    said = bench.run("apply", f"1|*|{fault}")
    assert said.status == 1
    assert said.row("persistence_mode").endswith("not set: its value was not known before")
    assert [place.rpartition(" ")[2] for event, _, place, *_ in bench.journal if event == "was"] == ["power.limit"]
    assert bench.truth() == {"persistence_mode": "Enabled", "power.limit": "120.00"}
    assert bench.run("undo").status == 0
    assert bench.truth() == bench.before


def test_a_journal_of_before_with_an_error_as_its_value_sets_nothing(folder: Path) -> None:
    bench = Bench(folder, "RTX 3060", "gpu.persistence=Disabled")
    bench.run("apply")
    journal = bench.there.folder / "var/lib/hwdiag/gpu_optimize.journal"
    journal.write_text(journal.read_text().replace("|Enabled|", "|[Unknown Error]|"))
    asked = len(bench.state.calls)
    said = bench.run("undo")
    assert said.status == 1
    assert "not a value that it can have" in said.row("persistence_mode")
    assert not [c for c in bench.state.calls[asked:] if " -pm " in c]


@pytest.mark.parametrize("fault", ["", "*|boost-slider|refused"])
def test_a_refused_boost_is_not_written_down_as_set_and_fails_once(folder: Path, fault: str) -> None:
    """A GB10 has no slider, which nvidia-smi tells as a warning with exit status 0; others refuse with one of their
    own."""
    bench = Bench(folder, "H100" if fault else "GB10", "gpu.boost_slider=1", "gpu.clock_lock=850,1200")
    faults = (fault,) if fault else ()
    first = bench.run("apply", *faults)
    assert first.status == 1
    assert "refused: " in first.row("vboost")
    assert "set" not in {event for event, _, place, *_ in bench.journal if place.endswith("vboost")}
    assert bench.run("status").status == 1
    assert bench.run("diff", *faults).status == 0, "another apply would change nothing"
    for _ in range(2):  # the unit at boot, the timer every five minutes
        again = bench.run("apply", *faults)
        assert again.status == 3, again.text
        assert "still refused: " in again.row("vboost")
    bench.there.write("/proc/sys/kernel/random/boot_id", "99999999-2222-3333-4444-555555555555\n")
    booted = bench.run("apply", *faults)
    assert booted.status == 3, booted.text
    assert "1 settings of an earlier boot were gone" in booted.text
    asked = len(bench.state.calls)
    assert bench.run("undo", *faults).status == 0
    assert not [c for c in bench.state.calls[asked:] if "boost" in c], "what was never set is not reset"
    persistent = bench.texts["make_persistent.sh"]
    assert persistent.count("SuccessExitStatus=3") == (1 if fault else 2)


def test_status_of_a_clock_that_was_chosen(folder: Path) -> None:
    bench = Bench(folder, "RTX 3060", "gpu.clock_lock=1200,1800")
    assert bench.run("status").status == 2
    bench.run("apply")
    asked = bench.run("status")
    assert asked.status == 0, asked.text
    assert asked.row("lock").endswith("asked for; it cannot be read back")
    bench.state.set(0, **{"clocks.sm": "2010"})
    assert bench.run("status").status == 1
    assert bench.run("status").row("lock").endswith("its clock is 2010 MHz")
    bench.state.set(0, **{"clocks.sm": "1800", "persistence_mode": "Disabled"})
    forgotten = bench.run("status")
    assert forgotten.status == 2
    assert "without persistence mode the driver forgets it" in forgotten.row("lock")


def test_one_call_that_hangs_is_the_last_that_is_waited_for(folder: Path) -> None:
    bench = Bench(folder, "A100 MIG")
    calls = bench.calls("apply")
    bench.run("undo")
    bench.reset()
    asked = len(bench.state.calls)
    said = bench.run("apply", "2|*|stuck")
    assert said.status == 1
    assert "nvidia-smi does not answer" in said.text
    assert len(bench.state.calls) - asked == 2 < calls
    locked = bench.run("undo")  # and the stuck one does not hold the lock
    assert locked.status == 0, locked.text


def test_nvidia_smi_is_found_below_wsl2(folder: Path) -> None:
    bench = Bench(folder, "RTX 3060", "gpu.clock_lock=1200,1800")
    wsl = bench.there.folder / "libexec/wsl"
    wsl.mkdir(parents=True)
    (bench.there.folder / "local/nvidia-smi").rename(wsl / "nvidia-smi")
    bench.text = bench.text.replace("/usr/lib/wsl/lib", "/usr/libexec/wsl")
    assert bench.run("apply").status == 0


def test_what_a_reload_of_systemd_may_cut_off_is_said_before(folder: Path) -> None:
    bench = Bench(folder, "RTX 3060", "gpu.clock_lock=1200,1800")
    (bench.there.folder / "run/systemd/system").mkdir(parents=True)
    order = 'echo "reloaded" >&2'
    bench.there.write(
        "/local/systemctl", f"#!/bin/bash\ncase $1 in daemon-reload) {order} ;; is-enabled) echo enabled;; esac\n"
    )
    (bench.there.folder / "local/systemctl").chmod(0o755)
    bench.there.write("/scripts/gpu_optimize.sh", bench.texts["gpu_optimize.sh"])
    assert "nvidia-container-toolkit" not in bench.there.run("p", bench.texts["make_persistent.sh"], "install").stderr
    shutil.copy2(bench.there.folder / "local/systemctl", bench.there.folder / "local/nvidia-ctk")
    for verb in ("uninstall", "install"):
        told = bench.there.run("p", bench.texts["make_persistent.sh"], verb).stderr
        assert told.index("nvidia-container-toolkit issue 48") < told.index("reloaded"), told
    assert "can cut running containers off" in bench.there.run("p", bench.texts["make_persistent.sh"], "--help").stdout
