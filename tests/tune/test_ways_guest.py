"""A unit of ``hwdiag emit`` under systemd, in a guest of two nodes: the process tells from inside what took effect."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwdiag.process.launch import InstancePlacement, Launch, MemoryPolicy
from hwdiag.tune.ways import ways
from tests.tune.test_ways import start
from tests.vm.guest import Guest

pytestmark = pytest.mark.vm_long

TELL = (
    'exec >"/root/told-${HWDIAG_INSTANCE:-alone}"; grep Cpus_allowed_list /proc/$$/status; '
    'grep -m1 heap "/proc/$$/numa_maps"; echo "threads=$OMP_NUM_THREADS x=$X"'
)
FAR = MemoryPolicy(mode="bind", nodes=(1,))
NEAR = MemoryPolicy(mode="preferred", nodes=(0,))


def told(guest: Guest, folder: Path, launch: Launch, units: str, names: list[str]) -> list[str]:
    """Install the units, start them, and return what each process told."""
    for file in ways()["systemd"].files(start(launch, "/bin/bash", "-c", TELL)):
        here = folder / file.path
        here.parent.mkdir(parents=True, exist_ok=True)
        here.write_text(file.text.replace("Restart=on-failure", "Type=oneshot"))
        there = f"/run/systemd/system/{file.path}"
        guest.run(f"mkdir -p {Path(there).parent}")
        guest.copy_in(here, there)
    done = guest.run(f"systemctl daemon-reload && systemctl start {units}")
    assert done.status == 0, done.stderr
    said = [guest.run(f"cat /root/told-{name}").stdout for name in names]
    guest.run("rm -rf /root/told-* /run/systemd/system/hwdiag-program*; systemctl daemon-reload")
    return said


def test_a_process_has_the_cpus_the_memory_and_the_variables_of_the_plan(guest: Guest, tmp_path: Path) -> None:
    launch = Launch(threads=2, cpus=(2, 3), memory=FAR, env={"X": 'a $b %n "c"'})
    (said,) = told(guest, tmp_path, launch, "hwdiag-program.service", ["alone"])
    assert "Cpus_allowed_list:\t2-3\n" in said
    assert " bind:1 " in said
    assert said.endswith('threads=2 x=a $b %n "c"\n')


def test_each_instance_is_where_it_was_measured(guest: Guest, tmp_path: Path) -> None:
    places = (InstancePlacement(cpus=(0, 1), memory=NEAR), InstancePlacement(cpus=(3,), memory=FAR))
    launch = Launch(threads=1, instances=places)
    first, second = told(guest, tmp_path, launch, "hwdiag-program@{0..1}.service", ["0", "1"])
    assert "Cpus_allowed_list:\t0-1\n" in first
    assert " prefer:0 " in first
    assert "Cpus_allowed_list:\t3\n" in second
    assert " bind:1 " in second
