"""The timer's service of docs/fleet/ under systemd, in a guest that loses a CPU."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.vm.guest import Guest

pytestmark = pytest.mark.vm_long

FLEET = Path(__file__).parents[2] / "docs" / "fleet"
JOURNAL = "journalctl -u hwdiag-verify -o cat --no-pager"
RECORD = f"""
from pathlib import Path
from hwdiag.host import Root, read_host
from hwdiag.record.store import load, save
record = load(Path({str(FLEET.parents[1] / "outputs" / "example")!r}))
folder = Path("/root/records/here")
folder.mkdir(parents=True)
save(record.model_copy(update={{"host": read_host(Root.live()), "name": "here"}}), folder)
"""


def test_the_service_fails_when_a_cpu_is_gone_and_passes_again(guest: Guest, tmp_path: Path) -> None:
    guest.copy_in(FLEET / "hwdiag-verify", "/usr/local/sbin/hwdiag-verify")
    unit = tmp_path / "unit"
    text = (FLEET / "hwdiag-verify.service").read_text()
    setting = f"HWDIAG_VENV={sys.prefix} HWDIAG_RECORDS=/root/records/here HWDIAG_LIMIT=290"
    text = text.replace("TimeoutStartSec=60\n", f"TimeoutStartSec=300\nEnvironment={setting}\n")
    unit.write_text(text.replace("sbin/hwdiag-verify\n", "sbin/hwdiag-verify --facts-only --timeout 280\n"))
    guest.copy_in(unit, "/run/systemd/system/hwdiag-verify.service")
    guest.copy_in(FLEET / "hwdiag-verify.timer", "/run/systemd/system/hwdiag-verify.timer")
    made = guest.run(f"{sys.executable} -", stdin=RECORD.encode(), env={"PYTHONPATH": str(FLEET.parents[1])})
    assert made.status == 0, made.stderr
    try:
        assert guest.run("systemctl daemon-reload && systemctl start hwdiag-verify.timer").status == 0
        assert guest.run("systemctl start hwdiag-verify").status == 0, guest.run(JOURNAL).stdout
        guest.run("echo 0 >/sys/devices/system/cpu/cpu3/online")
        assert guest.run("systemctl start hwdiag-verify").status != 0
        said = guest.run(JOURNAL).stdout
        assert "PASS " in said
        assert "CRITICAL " in said
        assert "1 CPU offline that was online" in said
    finally:
        guest.run(
            "echo 1 >/sys/devices/system/cpu/cpu3/online; systemctl stop hwdiag-verify.timer; systemctl reset-failed "
            "hwdiag-verify; rm -rf /root/records /run/systemd/system/hwdiag-verify.*; systemctl daemon-reload"
        )
