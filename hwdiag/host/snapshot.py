"""A snapshot of this host: everything that the readers ask for, written down while they ask, without names."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from hwdiag import __version__
from hwdiag.host.archive import Failure, Manifest, Uname, write_archive
from hwdiag.host.model import Host
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.host.system import kernel_options


class RecordingRoot(Root):
    """A machine that remembers every answer that it gave: the live one, or an unpacked dump."""

    def __init__(self, folder: str | None = None) -> None:
        super().__init__(folder)
        self.files: dict[str, bytes] = {}
        self.folders: dict[str, tuple[str, ...]] = {}
        self.links: dict[str, str] = {}
        self.present: set[str] = set()
        self.failures: dict[str, Failure] = {}
        self.outputs: dict[str, str] = {}

    def exists(self, path: str) -> bool:
        found = super().exists(path)
        if found:
            self.present.add(path)
        return found

    def link(self, path: str) -> str | None:
        target = super().link(path)
        if target is not None:
            self.links[path] = target
        return target

    def output(self, *command: str) -> str | None:
        text = super().output(*command)
        if text is not None:
            self.outputs[" ".join(command)] = text
        return text

    def _list(self, path: str) -> list[str]:
        try:
            names = super()._list(path)
        except OSError as error:
            self._fail(path, error)
            raise
        self.folders[path] = tuple(sorted(names))
        return names

    def _read(self, path: str, limit: int) -> bytes:
        try:
            data = super()._read(path, limit)
        except OSError as error:
            self._fail(path, error)
            raise
        self.files[path] = data
        return data

    def _fail(self, path: str, error: OSError) -> None:
        # What is not there is told by its absence.
        if error.errno is not None and not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            self.failures[path] = Failure(number=error.errno, text=error.strerror or "")


def make_snapshot(
    path: str | os.PathLike[str],
    *,
    with_names: bool = False,
    also: Callable[[Root, Host], object] = lambda root, host: None,
) -> Host:
    """Write a snapshot of this host to a file, and give the Host that was read for it.

    Left out unless ``with_names``: host name, machine id, boot id, serial numbers, GPU UUIDs, MAC addresses, user and
    container names in cgroup paths, mounts, and what identifies disks and other hosts on the kernel's command line.
    ``also`` reads what else is to be in it.

    Raises:
        HwdiagError: the file cannot be written.
    """
    recorder = RecordingRoot()
    host = read_host(recorder)
    also(recorder, host)
    manifest, files = package(recorder, host, with_names=with_names)
    write_archive(path, manifest, files)
    return host


def package(recorder: RecordingRoot, host: Host, *, with_names: bool = False) -> tuple[Manifest, dict[str, bytes]]:
    """Return the content of the archive: the manifest, and the files under root-relative names."""
    shared, free = host.limits.shared_memory_bytes, host.limits.shared_memory_free_bytes
    uname, rename = recorder.uname, _plain if with_names else _aliases(recorder)
    secrets = () if with_names else secrets_of(recorder)
    files = {}
    for path, data in recorder.files.items():
        kept = data if with_names else _without_names(path, data, rename, secrets)
        if kept is not None:
            files[rename(path).lstrip("/")] = kept
    manifest = Manifest(
        made_by=__version__,
        made_at=host.read_at,
        with_names=with_names,
        uname=uname
        and Uname(
            system=uname.sysname,
            node=uname.nodename if with_names else "",
            release=uname.release,
            machine=uname.machine,
        ),
        affinity=recorder.affinity,
        page_bytes=recorder.page_bytes,
        shared_memory=None if shared is None or free is None else (shared, free),
        compilers=host.system.compilers,
        gpus=tuple(g if with_names else g.model_copy(update={"uuid": None}) for g in host.gpus),
        gpu_note=host.gpu_note,
        gpu_gaps=tuple(gap for gap in host.gaps if gap.kind in ("lost", "reset", "mismatch", "hang", "error")),
        folders={rename(k): v for k, v in recorder.folders.items()},
        links={rename(k): v if with_names else scrub(v.encode(), secrets).decode() for k, v in recorder.links.items()},
        present=tuple(sorted(rename(p) for p in recorder.present)),
        failures={rename(k): v for k, v in recorder.failures.items()},
        outputs={k: "\n".join(m[0] for m in KEPT_OUTPUT.finditer(v)) for k, v in recorder.outputs.items()},
    )
    return manifest, files


# What identifies a machine or a person


def _plain(path: str) -> str:
    return path


NEVER = re.compile(
    r"/etc/machine-id|/etc/hostname|/etc/rc\.local|/etc/sysctl\.conf|/etc/\w+\.d/.*|/proc/sys/kernel/(hostname|random/boot_id)|.*(serial|uuid|unique_id|asset_tag|wwid|address)[^/]*"
    r"|/(usr|opt)/.*/(pci|amdgpu)\.ids"
)
"""Files whose whole content is a name, and lists of names that are no facts of the host."""

KEPT_LINES = {
    "/proc/self/status": re.compile(r"(Cpus|Mems)_allowed_list:.*"),
    "/proc/self/limits": re.compile(r"(Limit|Max ).*"),
    "/proc/self/mountinfo": re.compile(r".* - (cgroup2?|cpuset) .*"),
    "/proc/self/mounts": re.compile(r"\S+ \S+ (cgroup2?|cpuset) .*"),
    "/proc/mounts": re.compile(r"\S+ \S+ (cgroup2?|cpuset) .*"),
    "/proc/sysinfo": re.compile(r"(VM00 Control Program|LPAR Number):.*"),
    "/proc/hwloc-nofile-info": re.compile(r"(Architecture|OSRelease): .*"),
    "/etc/os-release": re.compile(r"(PRETTY_NAME|ID|VERSION_ID)=.*"),
    "/usr/lib/os-release": re.compile(r"(PRETTY_NAME|ID|VERSION_ID)=.*"),
    "/proc/cpuinfo": re.compile(r"(?!(Serial|serial)\b).*"),  # a Raspberry Pi tells its serial number
}
"""Of files that hold more than the readers need, the lines that are kept."""

KEPT_OUTPUT = re.compile(
    r'^\s*-m(?:arch|cpu)=[ \t]+\S+$|"-target-cpu" "[^"]+"|NVRM: Xid \(PCI:[0-9a-fA-F:.]+\): \d+', re.MULTILINE
)
"""Of what compilers and the kernel print, what is read: the rest names folders, and so users."""

CMDLINE_SECRETS = re.compile(
    r"(root|resume|ip|nfsroot|rd\.[\w.]+|cryptdevice|luks[\w.]*|systemd\.hostname|hostname|BOOT_IMAGE|netroot|ds"
    r"|systemd\.machine_id|ifname|nfsaddrs|netconsole|console_url|url|inst\.[\w.]+|initrd|addr|crypt[\w.]*)"
)
"""Options of the kernel's command line that name disks, hosts or addresses."""

IDENTIFIERS = re.compile(
    rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"  # UUIDs
    rb"|(?<![0-9a-f:.])(?:[0-9a-f]{2}:){5}[0-9a-f]{2}(?![0-9a-f:])"  # MAC addresses
    rb"|(?<![0-9.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9.])",  # IPv4 addresses
    re.IGNORECASE,
)
HIDDEN = "hidden"

_COMMON = re.compile(
    r"|sys|fs|cgroup|unified|cpu|cpuset|cpuacct|cpu,cpuacct|memory|init\.scope"
    r"|(system|user|machine|kubepods|kubepods-burstable|kubepods-besteffort)\.slice|kubepods|docker|lxc"
)
"""Parts of cgroup paths that are the same everywhere."""
_MANAGERS = ("kubepods", "libpod", "docker", "lxc", "containerd")


def _aliases(recorder: RecordingRoot) -> Callable[[str], str]:
    """Return a function that renames users', services' and containers' groups in cgroup paths: the same name the same
    way everywhere."""
    own = [
        line.split(":", 2)[-1]
        for line in recorder.files.get("/proc/self/cgroup", b"").decode(errors="replace").splitlines()
    ]
    own.append(recorder.files.get("/proc/self/cpuset", b"").decode(errors="replace").strip())
    alias: dict[str, str] = {}
    for part in (part for path in own for part in path.split("/")):
        if part not in alias and part != ".." and not _COMMON.fullmatch(part):
            manager = next((f"{m}-" for m in _MANAGERS if m in part), "")
            alias[part] = f"{manager}group{len(alias) + 1}"

    def rename(path: str) -> str:
        return "/".join(alias.get(part, part) for part in path.split("/")) if alias else path

    return rename


def secrets_of(recorder: Root) -> tuple[bytes, ...]:
    """Return the host name and its first label, where they are no everyday word."""
    uname = recorder.uname
    names = {uname.nodename, uname.nodename.partition(".")[0]} if uname else set()
    return tuple(sorted((n.encode() for n in names if len(n) > 3 and n != "localhost"), key=len, reverse=True))


def _without_names(path: str, data: bytes, rename: Callable[[str], str], secrets: tuple[bytes, ...]) -> bytes | None:
    """Return a file's content without identifying parts; None if nothing is left of it."""
    if NEVER.fullmatch(path):
        return None
    if path == "/proc/version":  # who built the kernel, and where
        return data.partition(b" (")[0] + b"\n"
    if path == "/proc/cmdline":
        options = (kernel_options(data.decode(errors="replace")) or "").split()
        return scrub(" ".join(map(_option, options)).encode() + b"\n", secrets)
    if path in ("/proc/self/cgroup", "/proc/self/cpuset"):
        lines = (line.rpartition(":") for line in data.decode(errors="replace").splitlines())
        return "".join(f"{head}{colon}{rename(group)}\n" for head, colon, group in lines).encode()
    if path.startswith("/sys/class/kfd/"):
        return re.sub(rb"^unique_id .*\n?", b"", data, flags=re.MULTILINE)
    pattern = KEPT_LINES.get(path)
    if pattern is None:
        return IDENTIFIERS.sub(HIDDEN.encode(), data) if path.startswith("/proc") else data
    lines_kept = [line for line in data.decode(errors="replace").splitlines(keepends=True) if pattern.match(line)]
    if "mount" in path:
        lines_kept = [" ".join(rename(word) for word in line.split(" ")) for line in lines_kept]
    return "".join(lines_kept).encode()


def _option(word: str) -> str:
    """Return one word of the kernel's command line, with its value hidden where that names something."""
    name, equals, value = word.partition("=")
    secret = bool(equals) and CMDLINE_SECRETS.fullmatch(name) is not None
    return name + equals + HIDDEN if secret or "://" in value or "@" in value else word


def scrub(data: bytes, secrets: tuple[bytes, ...]) -> bytes:
    """Return the text without UUIDs, MAC and IP addresses, and the host's name."""
    data = IDENTIFIERS.sub(HIDDEN.encode(), data)
    for secret in secrets:
        data = data.replace(secret, HIDDEN.encode())
    return data
