"""Kernel, distribution, product, hypervisor and container."""

from __future__ import annotations

import hashlib
import itertools
import re

from hwdiag.host.cpuinfo import CpuInfo
from hwdiag.host.model import System
from hwdiag.host.root import Root

DMI = ("/sys/class/dmi/id", "/sys/devices/virtual/dmi/id")

_PLACEHOLDER = re.compile(
    r"to be filled by o\.?e\.?m\.?|default string|system (manufacturer|product name|version)|not (specified|applicable)"
    r"|unknown|none|n/a|o\.?e\.?m\.?|x+|0+|\.*",
    re.IGNORECASE,
)
"""What board makers leave in DMI fields."""

_HYPERVISORS = (
    ("vmware", "VMware"),
    ("virtualbox", "VirtualBox"),
    ("innotek", "VirtualBox"),
    ("microsoft corporation virtual machine", "Hyper-V"),
    ("xen", "Xen"),
    ("parallels", "Parallels"),
    ("bhyve", "bhyve"),
    ("apple virtualization", "Apple Virtualization"),
    ("google compute engine", "KVM"),
    ("amazon ec2", "KVM"),
    ("openstack", "KVM"),
    ("kvm", "KVM"),
    ("qemu", "QEMU"),
)
"""Words of DMI vendor and product, and the hypervisor that writes them. The first match counts."""

_NO_METAL = ("VirtualBox", "VMware", "Parallels", "QEMU", "bhyve")
"""Makers of no machines: VirtualBox, as on Windows, does not always set the CPU flag."""

_CONTAINERS = (
    ("kubepods", "kubernetes"),
    ("libpod", "podman"),
    ("docker", "docker"),
    ("lxc", "lxc"),
    ("containerd", "containerd"),
)
"""Words in the path of a process's cgroup, and the manager that makes such paths."""


def read_system(root: Root, info: CpuInfo) -> System:
    """Return the facts of the system as a whole; ``info`` tells the architecture of a dump and the hypervisor flag."""
    uname = root.uname
    machine_id = root.word("/etc/machine-id")
    return System(
        hostname=(uname.nodename if uname else _dump_hostname(root)) or "unknown",
        arch=uname.machine if uname else _dump_arch(root, info),
        kernel=uname.release if uname else _dump_kernel(root),
        distribution=_distribution(root),
        product=_product(root),
        hypervisor=_hypervisor(root, info),
        container=_container(root),
        machine_hash=hashlib.sha256(f"hwdiag:{machine_id}".encode()).hexdigest() if machine_id else None,
        boot_id=root.word("/proc/sys/kernel/random/boot_id"),
        cmdline=kernel_options(root.word("/proc/cmdline")),
        compilers=root.commands("g++", "c++", "clang++", "gcc", "cc", "clang"),
    )


def kernel_options(cmdline: str | None) -> str | None:
    """Return the command line's options that are the kernel's own, without those of init and those handed to it (after
    ``--``; Documentation/admin-guide/kernel-parameters.rst)."""
    if cmdline is None:
        return None
    words = itertools.takewhile(lambda word: word != "--", cmdline.split())
    return " ".join(word for word in words if not word.startswith(("init=", "rdinit="))) or None


# A dump has no uname


def _dump_arch(root: Root, info: CpuInfo) -> str:
    """Return the architecture that the dump's note names (hwloc-gather-topology leaves one), else by the dialect of its
    cpuinfo."""
    noted = _noted(root, "Architecture")
    if noted:
        return noted
    if info.first("CPU implementer"):
        return "aarch64" if info.first("CPU architecture") in ("8", "AArch64") else "arm"
    if info.first("vendor_id") == "IBM/S390":
        return "s390x"
    flags = info.first("flags")
    if flags:
        return "x86_64" if "lm" in flags.split() else "i686"
    isa = info.first("isa") or ""
    if isa.startswith("rv"):
        return "riscv64" if isa.startswith("rv64") else "riscv32"
    if "Loongson-64bit" in (info.first("CPU Family") or ""):
        return "loongarch64"
    words = f"{isa} {info.first('cpu model')}".lower()
    if "mips" in words or "loongson" in words:
        return "mips64" if "mips64" in words or "loongson" in words else "mips"
    return "ppc64" if (info.first("cpu") or "").startswith("POWER") else "unknown"


def _dump_kernel(root: Root) -> str | None:
    match = re.match(r"Linux version (\S+)", root.text("/proc/version") or "")
    return root.word("/proc/sys/kernel/osrelease") or (match[1] if match else _noted(root, "OSRelease"))


def _dump_hostname(root: Root) -> str | None:
    return root.word("/proc/sys/kernel/hostname") or root.word("/etc/hostname")


def _noted(root: Root, key: str) -> str | None:
    match = re.search(rf"^{key}: (\S+)$", root.text("/proc/hwloc-nofile-info") or "", re.MULTILINE)
    return match[1] if match else None


# What is around the kernel


def _distribution(root: Root) -> str | None:
    """Return PRETTY_NAME of os-release(5)."""
    text = root.text("/etc/os-release") or root.text("/usr/lib/os-release") or ""
    match = re.search(r"^PRETTY_NAME=(.+)$", text, re.MULTILINE)
    return match[1].strip().strip("\"'") or None if match else None


def _product(root: Root) -> str | None:
    """Return the vendor and product of the machine, of the board where the maker left those empty, or the device-tree's
    model."""
    for vendor_file, product_file in (("sys_vendor", "product_name"), ("board_vendor", "board_name")):
        vendor, product = _dmi(root, vendor_file), _dmi(root, product_file)
        if product and vendor and not product.lower().startswith(vendor.lower().split()[0]):
            return f"{vendor} {product}"
        if product:
            return product
    return root.word("/proc/device-tree/model") or root.word("/sys/firmware/devicetree/base/model")


def _dmi(root: Root, name: str) -> str | None:
    for folder in DMI:
        word = root.word(f"{folder}/{name}")
        if word and not _PLACEHOLDER.fullmatch(word):
            return " ".join(word.split())
    return None


def _hypervisor(root: Root, info: CpuInfo) -> str | None:
    """Return the hypervisor's name where something tells it. On x86 the CPU flag decides: a bare-metal cloud host has
    the same DMI."""
    flags = info.first("flags")
    flagged = flags is not None and "hypervisor" in flags.split()
    named = root.word("/sys/hypervisor/type")
    if named:
        return {"xen": "Xen", "kvm": "KVM"}.get(named, named)
    if "microsoft" in (root.text("/proc/version") or "").lower():
        return "Hyper-V"  # the Windows Subsystem for Linux
    if (below := _firmware_hypervisor(root)) is not None:
        return below
    words = " ".join(_dmi(root, n) or "" for n in ("sys_vendor", "product_name", "bios_vendor")).lower()
    for word, name in _HYPERVISORS:
        if word in words and ".metal" not in words and (flags is None or flagged or name in _NO_METAL):
            return name
    return "unknown" if flagged else None


def _firmware_hypervisor(root: Root) -> str | None:
    """Return what divides a mainframe, or a machine of POWER, into partitions.

    Sources: arch/s390/kernel/sysinfo.c of Linux; lscpu-virt.c of util-linux.
    """
    system = root.text("/proc/sysinfo") or ""
    control = re.search(r"^VM00 Control Program:\s*(\S+)", system, re.MULTILINE)
    if control:
        return control[1]
    if re.search(r"^LPAR (Number|Name):", system, re.MULTILINE):
        return "PR/SM"
    tree = "/proc/device-tree"
    if "kvm" in (root.text(f"{tree}/hypervisor/compatible") or ""):
        return "KVM"
    if root.exists(f"{tree}/ibm,partition-name") and not root.exists(f"{tree}/chosen/qemu,graphic-width"):
        return "PowerVM"
    return None


def _container(root: Root) -> str | None:
    """Return the container's kind by the marks that managers leave (systemd's container interface, Docker, Podman,
    cgroup paths)."""
    paths = root.text("/proc/self/cgroup") or ""
    for word, name in _CONTAINERS:
        if word in paths:
            return name
    if named := root.word("/run/systemd/container"):
        return named
    if root.exists("/.dockerenv"):
        return "docker"
    return "podman" if root.exists("/run/.containerenv") else None
