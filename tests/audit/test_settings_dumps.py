"""The scripts on hosts made of what real ones told: CPUs and disks of the dumps, GPUs as nvidia-smi printed them.

No dump holds ZFS or sysctls: those are in ``fake_host.settings_tree``, with the defaults of their manuals.
"""

from __future__ import annotations

import os
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hwdiag.audit.audit import audit, read_everything
from hwdiag.audit.emit import settings_files
from hwdiag.audit.kinds.file import Files
from hwdiag.audit.knobs import KNOBS
from hwdiag.audit.model import Audit
from hwdiag.audit.scripts import render_settings
from hwdiag.host.model import Host
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from tests.audit.fake_host import FakeHost, memory_folder, require_namespaces, settings_tree
from tests.audit.test_settings_scripts import changes, everything_of
from tests.host.conftest import unpacked
from tests.host.test_host_gpu import GB10, XMLS, FakeNvml, NVMLError, fake, said

__all__ = ["unpacked"]

CLOCKS = (
    "zen1-2x-epyc7451-8numa",
    "vm-vmware-opteron6328-4numa",
    "rpl-i7-1370p-hybrid",
    "dgx-spark-gb10",
    "arm-biglittle-x3-a715-a710-a510",
    "xeon-2s-snc2-pmem-sysfs-only",
)
DISKS = ("snb-2x-e5-2680-avx-only", "storage-sata-nvme", "storage-lvm-dm")
MADE_AT = "2026-11-20T10:00:00Z"


@pytest.fixture
def folder() -> Iterator[Path]:
    require_namespaces()
    with memory_folder() as found:
        yield found


def files_of(root: Root, host: Host) -> dict[str, str]:
    """What the audit reads of a dump and what the kernel changes along with it, as the dump has it."""
    beside = [
        f"{k.source.path.rpartition('/')[0]}/{d}" for k in KNOBS if isinstance(k.source, Files) for d in k.disturbs
    ]
    wanted = {where for where in read_everything(root, host)[1] if where.startswith("/sys/")}
    for disk in host.disks:
        wanted |= {path.replace("*", disk.name) for path in beside}
        wanted |= {f"/sys/block/{disk.name}/size", f"/sys/block/{disk.name}/device/model"}
    texts = {path: root.text(path) for path in sorted(wanted)}
    return {path: text for path, text in texts.items() if text is not None and text.strip()}  # some were not readable


def on_this_machine(host: Host, there: FakeHost) -> Host:
    """The same host with the identity of the files that the script will find."""
    found = there.host()
    told = {"arch": os.uname().machine, "machine_hash": found.system.machine_hash, "product": found.system.product}
    system = host.system.model_copy(update=told)
    return host.model_copy(update={"system": system, "cpu": found.cpu, "memory": found.memory, "numa": found.numa})


def other_governor(files: dict[str, str]) -> str:
    """One that is offered everywhere and is not set."""
    now = {t.strip() for p, t in files.items() if p.endswith("/scaling_governor")}
    offered = [set(t.split()) for p, t in files.items() if p.endswith("/scaling_available_governors")]
    return min(set.intersection(*offered) - now - {"userspace"})


@pytest.mark.parametrize("name", [*CLOCKS, *DISKS])
def test_cpus_and_disks(folder: Path, unpacked: Callable[[str], Path], name: str) -> None:
    root = Root.directory(unpacked(name))
    host = read_host(root)
    files = files_of(root, host)
    there = FakeHost(folder, settings_tree(cpus=0, disks={}) | files, {})
    knobs = ["io.scheduler=none", "io.nr_requests=77", "io.read_ahead=4096"]  # old kernels have no scheduler "none"
    if name in CLOCKS:
        knobs = ["cpu.energy_preference=performance", "cpu.idle_latency=10", f"cpu.governor={other_governor(files)}"]
    found = audit(Root.directory(folder), host, knobs=knobs)
    places = {w for r in found.chosen for w in r.where if r.now != r.wanted}
    assert len(places) >= (3 if name in CLOCKS else 2)
    text = render_settings(found.rows, on_this_machine(host, there), made_at=MADE_AT)["system_optimize.sh"]
    before = there.everything()
    began = time.monotonic()
    applied = there.run("s", text, "apply")
    assert applied.returncode == 0, applied.stdout + applied.stderr
    print(f"{len(places)} places in {time.monotonic() - began:.2f} s")
    assert set(changes(before, there.everything())) == places
    assert there.run("s", text, "status").returncode == 0
    assert there.run("s", text, "undo").returncode == 0
    assert changes(before, there.everything()) == {}


# --- GPUs ------------------------------------------------------------------------------------------------------------

FIELDS = {
    "persistence_mode": "persistence_mode",
    "accounting.mode": "accounting_mode",
    "compute_mode": "compute_mode",
    "ecc.mode.pending": "ecc_mode/pending_ecc",
}
"""Elements of 'nvidia-smi -q -x' by what '--query-gpu' calls them."""


def smi_fields(element: ET.Element) -> dict[str, str]:
    """What 'nvidia-smi --query-gpu' would print of this GPU; what it does not support is not there."""
    texts = {field: said(element, path) for field, path in FIELDS.items()}
    limit = fake(element)["nvmlDeviceGetEnforcedPowerLimit"]
    texts["power.limit"] = None if isinstance(limit, NVMLError) else f"{limit / 1000:.2f}"
    return {field: text for field, text in texts.items() if text is not None}


def choice(element: ET.Element) -> tuple[str, ...]:
    """Every setting, to another value than it has."""
    fields = smi_fields(element)
    other = {"Enabled": "Disabled", "Disabled": "Enabled"}
    least = fake(element)["nvmlDeviceGetPowerManagementLimitConstraints"]
    watts = 100 if isinstance(least, Exception) else least[0] // 1000 + 1
    return (
        f"gpu.persistence={other[fields['persistence_mode']]}",
        f"gpu.accounting={other[fields.get('accounting.mode', 'Enabled')]}",
        f"gpu.compute_mode={'Exclusive_Process' if fields['compute_mode'] == 'Default' else 'Default'}",
        f"gpu.ecc={other[fields.get('ecc.mode.pending', 'Disabled')]}",
        f"gpu.power_limit={watts}",
        "gpu.clock_lock=300,600",
    )


@pytest.mark.parametrize("file", XMLS or [None], ids=lambda f: f and f.stem)
def test_gpus(folder: Path, file: Path | None) -> None:
    if file is None:
        pytest.skip("no outputs of nvidia-smi here")
    elements = [e for e in ET.parse(file).getroot().findall("gpu") if said(e, "persistence_mode") and said(e, "uuid")]
    if not elements:
        pytest.skip(f"{file.name} is only an excerpt, or of Windows")
    uuids = [e.findtext("uuid") or "" for e in elements]
    there = FakeHost(folder, settings_tree(), dict(zip(uuids, map(smi_fields, elements), strict=True)))
    host = on_this_machine(there.host(FakeNvml([fake(e) for e in elements])), there)
    found = audit(Root.directory(folder), host, knobs=choice(elements[0]))
    told = {(uuid, field) for uuid, e in zip(uuids, elements, strict=True) for field in smi_fields(e)}
    differing = {
        tuple(w.split(" ")[1:]) for r in found.chosen for w in r.where if r.now != r.wanted and "clocks" not in w
    }
    assert differing <= told
    assert (uuids[0], "persistence_mode") in differing
    text = render_settings(found.rows, host, made_at=MADE_AT)["gpu_optimize.sh"]
    before = there.everything()
    applied = there.run("g", text, "apply")
    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert set(changes(before, there.everything())) == {
        f"/gpus/{uuid}/{field}" for uuid, field in {*differing, *((uuid, "lock") for uuid in uuids)}
    }
    assert there.run("g", text, "undo").returncode == 0
    assert changes(before, there.everything()) == {}


# --- a GB10, which may forget its clocks ------------------------------------------------------------------------------

SPARK = {"persistence_mode": "Enabled", "compute_mode": "Default"}
"""What a GB10 tells of these; the others are [N/A] (its tables in the dumps' nvidia-smi texts)."""


@pytest.fixture
def spark(folder: Path) -> tuple[FakeHost, Any]:
    there = FakeHost(folder, settings_tree(), {GB10["nvmlDeviceGetUUID"]: SPARK})
    return there, FakeNvml([{**GB10, "nvmlDeviceGetComputeMode": 0}])


def emitted(there: FakeHost, nvml: Any, *knobs: str) -> tuple[Audit, dict[str, str]]:
    host = on_this_machine(there.host(nvml), there)
    found = audit(Root.directory(there.folder), host, knobs=knobs)
    return found, {f.path.removeprefix("scripts/"): f.text for f in settings_files(found, host, made_at=MADE_AT)}


def test_its_clocks_are_asked_for_again_by_a_timer(spark: tuple[FakeHost, Any]) -> None:
    there, nvml = spark
    everything_of(there)  # puts systemctl there
    _, texts = emitted(there, nvml, "gpu.clock_lock=2000,2400", "gpu.persistence")
    there.write("/scripts/gpu_optimize.sh", texts["gpu_optimize.sh"])
    before = there.everything()
    done = there.run("p", texts["make_persistent.sh"], "install")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "hwdiag-gpu-again.timer" in done.stdout
    units = "/etc/systemd/system/hwdiag-gpu-again"
    assert "apply --only gpu.clock_lock\n" in f"{there.read(f'{units}.service')}\n"
    assert "OnUnitActiveSec=5min" in there.read(f"{units}.timer")
    assert "apply --only gpu.persistence,gpu.clock_lock" in there.read("/etc/systemd/system/hwdiag-gpu.service")
    assert there.run("p", texts["make_persistent.sh"], "status").returncode == 0
    assert there.run("p", texts["make_persistent.sh"], "uninstall").returncode == 0
    assert changes(before, there.everything()) == {}


def test_a_gpu_with_its_own_memory_needs_no_timer(folder: Path) -> None:
    there = FakeHost(folder, settings_tree(), {})
    texts = everything_of(there, "gpu.clock_lock=1200,1800")
    assert "hwdiag-gpu.service" in texts["make_persistent.sh"]
    assert "OnUnitActiveSec" not in texts["make_persistent.sh"]


def test_asking_again_and_again_asks_each_time_and_writes_it_down_once(spark: tuple[FakeHost, Any]) -> None:
    there, nvml = spark
    _, texts = emitted(there, nvml, "gpu.clock_lock=2000,2400")
    text = texts["gpu_optimize.sh"]
    assert there.run("g", text, "diff").returncode == 1
    for _ in range(3):
        assert there.run("g", text, "apply").returncode == 0
    assert there.run("g", text, "diff").returncode == 0  # it was asked for since the host was started
    journal = (there.folder / "var/lib/hwdiag/gpu_optimize.journal").read_text().splitlines()
    assert [line.split("|")[0] for line in journal] == ["was", "set"]
    calls = (there.folder / "gpus/calls").read_text().splitlines()
    assert sum("-lgc 2000,2400" in c for c in calls) == 3
    assert there.run("g", text, "undo").returncode == 0
    assert "-rgc" in (there.folder / "gpus/calls").read_text().splitlines()[-1]
