"""docs/settings-proof.md: what was proven in a guest, put together from parts that may have run at different times.

Each part keeps its figures in pytest's cache, with a checksum of the code that it tested. The table is written where
HWDIAG_WRITE_PROOF is set, from the parts of today's code; one that did not run yet is said to be missing.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from hwdiag.audit.knobs import BY_ID

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "settings-proof.md"
TESTED = (
    "audit/kind.py",
    "audit/kinds/*",
    "audit/knobs/*.py",
    "audit/scripts.py",
    "audit/persist.py",
    "audit/emit.py",
    "core/jinja.py",
    "host/script.py",
    *(f"audit/templates/{name}.sh.j2" for name in ("optimize", "make_persistent", "_environment", "_state")),
    "core/templates/*identity.sh.j2",
)
"""What makes the scripts: parts of an earlier state of it are of no use."""
SLICES = 4
"""Parts that the kills of one verb come in."""
CELLS = {
    "alone": ("Set and read back", "Undone, bit for bit"),
    "reboot": ("As wanted after a reboot", "As before after uninstall and another"),
}
"""Columns of the table of settings, by the part that fills them."""
SENTENCES = {
    "killed_apply": "`apply` killed by SIGKILL before each of its writes, then `undo`: as before in {as_before} of "
    "{times} cases ({slices} slices of the writes ran).",
    "killed_undo": "`undo` killed by SIGKILL before each of its writes, then `undo` again: as before in {as_before} of "
    "{times} cases ({slices} slices of the writes ran).",
    "power": "Power cut between the journal and a write, in the middle of the writes, and in the middle of `install`, "
    "then `uninstall` and `undo`: as before in {as_before} of {times} cases.",
    "remount": "A mount with nosuid, nodev and noexec, set to noatime and taken back; made read-only, or given other "
    "flags, by hand in between, and then left alone and named: as it should be in {as_before} of {times} cases.",
    "choice": "A changed choice: `status` named {earlier} files of the earlier one, `install` took back those that are "
    "not chosen any more, and `uninstall` and `undo` of the new scripts what both had set, but for what was changed by "
    "hand, which was named.",
    "hostile": "Journals with {lines} lines that name other files and units, a link in place of a new file: nothing "
    "of it was written, removed, started or stopped.",
    "times": "All {settings} settings in {places} places: `apply` took {apply} s, `undo` {undo} s (best of {runs}; the "
    "aim is 2 s). The guest's CPU is emulated in software: a loop of bash takes {slower} times as long there as here.",
    "ansible": "`complete_optimize.yml` over ssh: applied, rebooted by `do_reboot=true` and verified after it, played "
    "again with {changed_again} changes, undone as before.",
}
"""What the other parts say."""


class Proof:
    """The parts so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, part: str, **figures: Any) -> None:
        """Keep what a part found, and write the table anew where that is asked for."""
        text = json.dumps({"code": checksum(part), **figures})
        (self.folder / f"{part}.json").write_text(text, encoding="utf-8")
        if os.environ.get("HWDIAG_WRITE_PROOF"):
            TABLE.write_text(table(self.parts()), encoding="utf-8")

    def parts(self) -> dict[str, dict[str, Any]]:
        """What is known of today's code."""
        found = {p.stem: json.loads(p.read_text(encoding="utf-8")) for p in self.folder.glob("*.json")}
        return together({part: figures for part, figures in found.items() if figures["code"] == checksum(part)})


def together(parts: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The slices of the kills as one."""
    for verb in ("killed_apply", "killed_undo"):
        slices = [parts[f"{verb}_{n}"] for n in range(SLICES) if f"{verb}_{n}" in parts]
        if slices:
            parts[verb] = {name: sum(s[name] for s in slices) for name in ("as_before", "times")}
            parts[verb]["slices"] = f"{len(slices)} of {SLICES}"
    return parts


def checksum(part: str) -> str:
    """Of the files that make what this part tested: the scripts, and for Ansible the playbooks too."""
    patterns = (*TESTED, "audit/templates/ansible/*.yml") if part == "ansible" else TESTED
    files = sorted(f for pattern in patterns for f in (ROOT / "hwdiag").glob(pattern) if f.is_file())
    return hashlib.sha256(b"".join(f.read_bytes() for f in files)).hexdigest()


@pytest.fixture(scope="session")
def proof(request: pytest.FixtureRequest) -> Proof:
    return Proof(Path(request.config.cache.mkdir("settings-proof")))  # type: ignore[union-attr]


def table(parts: Mapping[str, Mapping[str, Any]]) -> str:
    """The document."""
    guests = [f"{p['guest']}." for p in parts.values() if "guest" in p]
    lines = [
        "# Host settings: what was proven in a guest",
        "",
        "Written by `HWDIAG_WRITE_PROOF=1 make test-vm`. " + (guests[0] if guests else ""),
        '"Bit for bit" compares every file near the settings, all mounts and all of /etc with how they were.',
        "Limits act on later logins, and the GPU is a stand-in: of these only what is kept is looked at (—).",
        "",
        *settings_table(parts),
        "",
    ]
    for part, sentence in SENTENCES.items():
        lines.append(f"- {sentence.format(**parts[part])}" if part in parts else f"- Not run: {part}.")
    return "\n".join(lines) + "\n"


def settings_table(parts: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    """A row for each setting, a column for each thing that was asked of it."""
    header = ["Setting", *(name for names in CELLS.values() for name in names), "Kept by"]
    yield row(header)
    yield row(["---"] * len(header))
    rows = {part: parts[part]["rows"] if part in parts else {} for part in CELLS}
    for knob in dict.fromkeys(k for of_part in rows.values() for k in of_part):
        cells = (
            said(fine) if part in parts else "not run"
            for part, names in CELLS.items()
            for fine in rows[part].get(knob, [None] * len(names))
        )
        yield row([knob, *cells, BY_ID[knob].persists or ""])


def row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def said(fine: bool | None) -> str:
    return "—" if fine is None else "yes" if fine else "NO"
