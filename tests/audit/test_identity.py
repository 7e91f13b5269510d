"""Emitted scripts know the host that they were made for from a clone of its disk on other hardware."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.process.launch import Launch
from hwdiag.tune.launch_script import render_launch_script
from tests.audit.fake_host import FakeHost, memory_folder, require_namespaces, settings_tree
from tests.audit.test_settings_scripts import scripts
from tests.host.conftest import DUMPS, unpacked
from tests.tune.test_launch_script import KEEP

__all__ = ["unpacked"]

AMD = (
    "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC 9654  96-Core\n"
    "stepping\t: 1\nflags\t\t: fpu lm sse2\n\n"
)
INTEL = (
    "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 143\nmodel name\t: Intel(R) Xeon(R) 8490H\n"
    "stepping\t: 8\nflags\t\t: fpu lm sse2\n\n"
)
CPU = "/sys/devices/system/cpu"


def both(text: str) -> str:
    return text + text.replace("processor\t: 0", "processor\t: 1")


@pytest.fixture
def fake() -> Iterator[FakeHost]:
    """An AMD machine with two cores on one node."""
    require_namespaces()
    topology = {
        f"{CPU}/cpu{n}/topology/{name}": f"{value}\n"
        for n in (0, 1)
        for name, value in (("physical_package_id", 0), ("core_cpus_list", n))
    }
    files = {
        **settings_tree(cpus=2),
        **topology,
        f"{CPU}/present": "0-1\n",
        "/sys/devices/system/node/node0/cpumap": "00000000,00000003\n",
        "/sys/class/dmi/id/sys_vendor": "Supermicro\n",
        "/sys/class/dmi/id/product_name": "AS-1115CS  TNR\n",
        "/proc/cpuinfo": both(AMD),
    }
    with memory_folder() as folder:
        yield FakeHost(folder, files, {})


def test_on_the_host_itself_it_runs(fake: FakeHost) -> None:
    host = fake.host()
    assert (host.cpu.sockets, host.cpu.cores, host.system.product) == (1, 2, "Supermicro AS-1115CS TNR")
    host = host.model_copy(update={"system": host.system.model_copy(update={"arch": os.uname().machine})})
    text = render_launch_script(Launch(), KEEP, host, made_at="2026-11-20T10:00:00Z")
    fake.write("/proc/meminfo", "MemTotal: 16200000 kB\nMemAvailable: 12582912 kB\n")  # another kernel reserves more
    done = fake.run("launch.sh", text, "echo", "ran")
    assert (done.returncode, done.stdout, done.stderr) == (0, "ran\n", "")


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("/proc/cpuinfo", both(INTEL), "the CPU Intel(R) Xeon(R) 8490H instead of AMD EPYC 9654 96-Core"),
        ("/proc/cpuinfo", both(AMD.replace(": 17", ": 1")), "CPU family 25/1/1 instead of 25/17/1"),
        (f"{CPU}/cpu1/topology/physical_package_id", "1\n", "sockets 2 instead of 1"),
        (f"{CPU}/cpu1/topology/core_cpus_list", "0\n", "cores 1 instead of 2"),
        (f"{CPU}/present", "0-3\n", "CPUs 4 instead of 2"),
        ("/sys/devices/system/node/node1/cpumap", "2\n", "NUMA nodes 2 instead of 1"),
        ("/proc/meminfo", "MemTotal: 8388608 kB\n", "MiB of memory 8192 instead of 16384"),
        ("/sys/class/dmi/id/product_name", "X13DEI\n", "the product X13DEI instead of Supermicro AS-1115CS TNR"),
    ],
)
def test_a_clone_with_the_same_machine_id_is_refused_with_what_differs(
    fake: FakeHost, path: str, value: str, said: str
) -> None:
    host = fake.host()
    host = host.model_copy(update={"system": host.system.model_copy(update={"arch": os.uname().machine})})
    launch = render_launch_script(Launch(), KEEP, host, made_at="2026-11-20T10:00:00Z")
    settings = scripts(fake, "vm.swappiness", host=host)["system_optimize.sh"]
    fake.write(path, value)
    refused = fake.run("launch.sh", launch, "echo", "ran")
    assert (refused.returncode, refused.stdout, len(refused.stderr.splitlines())) == (2, "", 1)
    assert said in refused.stderr
    forced = fake.run("launch.sh", launch, "--force", "echo", "ran")
    assert (forced.stdout, said in forced.stderr) == ("ran\n", True)
    refused = fake.run("system_optimize.sh", settings, "apply")
    assert (refused.returncode, said in refused.stderr) == (2, True)
    assert fake.read("/proc/sys/vm/swappiness") == "60"
    assert fake.run("system_optimize.sh", settings, "apply", "--force").returncode == 0


NAMES = ("cpu/cpu*/topology/*", "cpu/present", "cpu/online", "node/node*/cpu*")
PLACES = ("sys/class/dmi/id", "sys/devices/virtual/dmi/id")
FILES = ("/proc/cpuinfo", "/proc/meminfo", "/proc/device-tree/model", "/etc/machine-id")


@pytest.mark.parametrize("name", sorted(p.name.removesuffix(".tar.gz") for p in DUMPS.glob("*.tar.gz")))
def test_on_a_real_machine_the_script_finds_what_hwdiag_found(unpacked: Callable[[str], Path], name: str) -> None:
    """Bash and Python read the same of the same files: nobody is told that their own host is another one."""
    require_namespaces()
    dump = unpacked(name)
    host = read_host(Root.directory(dump))
    found = list(FILES)
    found += [f"/{p.relative_to(dump)}" for n in NAMES for p in dump.glob(f"sys/devices/system/{n}")]
    files = {path: (dump / path[1:]).read_text(errors="replace") for path in found if (dump / path[1:]).is_file()}
    for product in (dump / place / name for place in PLACES for name in ("product_name", "board_name")):
        if product.is_file():
            files[f"/sys/class/dmi/id/{product.name}"] = product.read_text(errors="replace")
    text = render_launch_script(Launch(), KEEP, host, made_at="2026-11-20T10:00:00Z")
    with memory_folder() as folder:
        done = FakeHost(folder, files, {}).run("launch.sh", text, "--force", "--show")
    assert done.returncode == 0, done.stderr
    assert "; " not in done.stderr  # other than the architecture and the number of CPUs of this machine
