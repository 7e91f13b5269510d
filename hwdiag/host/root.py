"""Root: the only door to /proc, /sys, /etc and the kernel's answers about this process.

Bare system calls instead of Path objects: large machines have thousands of files to read in a tenth of a second.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Literal

from hwdiag.core.text import now
from hwdiag.host.cpulist import MAX_CPU, charge, parse_cpulist
from hwdiag.host.model import Gap, GapKind, Gpu

MAX_BYTES = 1 << 20
"""Most bytes read of an ordinary file. Kernel attributes are one page, tables a few hundred kB."""

MAX_NAMES = 65536
"""Most entries believed of one directory."""

MAX_GAPS = 200
"""Most gaps remembered: a damaged tree of 4,096 CPUs must not make a report of 100,000 lines."""

COMMAND_TIMEOUT_S = 5
"""Seconds after which a program that was only asked something is given up."""

MAX_LINKS = 40
"""Links followed on the way to one file, as Linux does (path_resolution(7))."""

_MISSING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ENODEV, errno.ENXIO, errno.EINVAL, errno.EOPNOTSUPP})
"""Errors that only say "this machine does not have that": absent files, and attributes without a device behind."""


def parse_integer(text: str, base: int = 10) -> int:
    """Return a number that fits 64 bits, as all of the kernel's do; base 0 takes ``0x`` as hexadecimal.

    Raises:
        ValueError: it is no such number.
    """
    word = text.strip()
    try:
        value = int(word, base) if len(word) <= 24 else None
    except ValueError:
        value = None
    if value is None or abs(value) >= 1 << 64:
        raise ValueError(f"not a number: {word[:40]!r}")
    return value


def _bits(mask: int) -> tuple[int, ...]:
    """Return the numbers of the bits that are set."""
    data = mask.to_bytes((mask.bit_length() + 7) // 8, "little")
    return tuple(8 * place + bit for place, byte in enumerate(data) if byte for bit in range(8) if byte >> bit & 1)


def _is_text(name: str) -> bool:
    """Return whether a name is UTF-8: the kernel keeps bytes, and Python those that are none as half surrogates."""
    return name.isascii() or not any("\ud800" <= character <= "\udfff" for character in name)


class Outside(Exception):
    """A link of a dump leaves the dump, or turns in circles."""


class OpenFile:
    """A file that stays open, to be read again and again: a third of the price of opening it each time.

    Its reads raise ``OSError`` where the kernel refuses, such as for a CPU that was taken offline.
    """

    def __init__(self, handle: int) -> None:
        """Take a file that ``Root.keep`` has opened."""
        self._handle = handle

    def word(self) -> bytes:
        """Return the content now of an attribute of one line, at most a page."""
        return os.pread(self._handle, 4096, 0)

    def text(self) -> str:
        """Return the content now of a table, which the kernel gives in pieces; at most ``MAX_BYTES`` of it."""
        pieces, size = [], 0
        while size < MAX_BYTES and (piece := os.pread(self._handle, 1 << 16, size)):
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces).decode(errors="replace")

    def close(self) -> None:
        """Close it."""
        os.close(self._handle)


class Root:
    """Reads one machine: the live one, another one's unpacked dump, or a snapshot.

    Paths are absolute and as the machine knows them, such as ``/proc/cpuinfo``. No method raises for what it finds:
    a file that is missing is None and normal; one that is there but cannot be read or understood is None too, and
    ``gaps`` remembers why. In a dump, absolute links start at the dump's top, and one that leads out of it is refused.
    """

    def __init__(self, folder: str | None) -> None:
        """Use ``Root.live()``, ``Root.directory()``, or ``open_root`` and ``open_archive`` of ``host.archive``."""
        self.source: Literal["live", "directory", "snapshot"] = "live" if folder is None else "directory"
        self._folder = "" if folder is None else folder.rstrip("/")
        self._resolved: dict[str, str] = {"": "", "/": ""}
        self._gaps: dict[tuple[str, str], Gap] = {}
        self._unlisted = 0

    @classmethod
    def live(cls) -> Root:
        """Return the root of the machine that this process runs on."""
        return cls(None)

    @classmethod
    def directory(cls, path: str | os.PathLike[str]) -> Root:
        """Return the root of an unpacked dump: a folder with ``proc``, ``sys`` ... in it.

        Raises:
            NotADirectoryError: there is no such folder.
        """
        folder = os.path.realpath(path)
        if not os.path.isdir(folder):
            raise NotADirectoryError(f"no such folder: {os.fspath(path)}")
        return cls(folder)

    # What could not be read

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Return the gaps so far: what could not be read, each thing once, in the order of discovery."""
        more = (Gap(what="further gaps", why=f"{self._unlisted} not listed"),) if self._unlisted else ()
        return (*self._gaps.values(), *more)

    def note(self, what: str, why: str, kind: GapKind = "") -> None:
        """Remember that ``what`` could not be read, because of ``why``; of a GPU, what kind of trouble that is."""
        if (what, why) in self._gaps:
            return
        if len(self._gaps) < MAX_GAPS:
            self._gaps[what, why] = Gap(what=what, why=why, kind=kind)
        else:
            self._unlisted += 1

    def forget_gaps(self) -> None:
        """Start a new list of gaps."""
        self._gaps.clear()
        self._unlisted = 0

    # Files

    def text(self, path: str, limit: int = MAX_BYTES) -> str | None:
        """Return the content of a text file of at most ``limit`` bytes, without trailing NULs (device-tree strings end
        in one)."""
        try:
            data = self._read(path, limit)
        except OSError as error:
            self._note_error(path, error)
            return None
        except Outside as error:
            self.note(path, str(error))
            return None
        if len(data) > limit:
            self.note(path, f"larger than {limit} bytes")
            return None
        data = data.rstrip(b"\0")
        if b"\0" in data:
            self.note(path, "binary data where text was expected")
            return None
        try:
            return data.decode()
        except UnicodeDecodeError:
            self.note(path, "not UTF-8 text")
            return None

    def keep(self, path: str) -> OpenFile | None:
        """Return the file held open for many reads; None, with a gap, where it cannot be opened. A snapshot gives
        none."""
        try:
            return OpenFile(self._open(path))
        except OSError as error:
            self._note_error(path, error)
        except Outside as error:
            self.note(path, str(error))
        return None

    def why(self, path: str) -> str:
        """Return why this path gave nothing: what was noted of it, else that it is not there."""
        return next((gap.why for gap in self._gaps.values() if gap.what == path), "not there")

    def word(self, path: str) -> str | None:
        """Return the content of a one-line attribute without surrounding blanks; None if empty."""
        text = self.text(path)
        return (text.strip() or None) if text is not None else None

    def integer(self, path: str) -> int | None:
        """Return a decimal number."""
        text = self.text(path)
        if text is None:
            return None
        try:
            return parse_integer(text)
        except ValueError as error:
            self.note(path, str(error))
            return None

    def cpulist(self, path: str) -> tuple[int, ...] | None:
        """Return a kernel list of CPUs or nodes; an empty file is the empty list."""
        text = self.text(path)
        if text is None:
            return None
        try:
            charge(0)  # nothing is made of a list after those that were too many
            ids = parse_cpulist(text)
            charge(len(ids))
            return ids
        except ValueError as error:
            self.note(path, str(error))
            return None

    def cpumask(self, path: str) -> tuple[int, ...] | None:
        """Return a kernel mask of CPUs in hexadecimal, ``00000000,000000ff``."""
        text = self.text(path)
        if text is None:
            return None
        digits = text.strip().replace(",", "")
        try:
            mask = int(digits, 16) if len(digits) <= 16384 else -1
        except ValueError:
            mask = -1
        if mask < 0:
            self.note(path, f"not a CPU mask: {text.strip()[:40]!r}")
            return None
        ids = _bits(mask)
        try:
            charge(len(ids) + len(digits) // 8)
        except ValueError as error:
            self.note(path, str(error))
            return None
        return ids

    def names(self, path: str) -> tuple[str, ...]:
        """Return the sorted names in a directory; empty if it is missing."""
        try:
            names = sorted(self._list(path))
        except OSError as error:
            self._note_error(path, error)
            return ()
        except Outside as error:
            self.note(path, str(error))
            return ()
        if len(names) > MAX_NAMES:
            self.note(path, f"{len(names)} entries, the first {MAX_NAMES} read")
        plain = tuple(filter(_is_text, names[:MAX_NAMES]))
        if len(plain) < min(len(names), MAX_NAMES):
            self.note(path, "has names that are not UTF-8 text, which are left out")
        return plain

    def ids(self, path: str, prefix: str) -> tuple[int, ...]:
        """Return the numbers of a directory's entries that are called ``prefix`` and a number, ascending."""
        digits = (n[len(prefix) :] for n in self.names(path) if n.startswith(prefix))
        found = (int(d) for d in digits if d.isdecimal() and d.isascii() and len(d) < 7)
        return tuple(sorted(number for number in found if number <= MAX_CPU))

    def exists(self, path: str) -> bool:
        """Return whether there is something under this path."""
        try:
            return os.path.lexists(self._folder + self._resolve(path) if self._folder else path)
        except (OSError, Outside):
            return False

    def link(self, path: str) -> str | None:
        """Return the target of a symbolic link as it is written; None if it is not one."""
        try:
            parent, name = os.path.split(path)
            target = os.readlink(f"{self._folder}{self._resolve(parent)}/{name}" if self._folder else path)
        except (OSError, Outside):
            return None
        return target if _is_text(target) else None

    def output(self, *command: str) -> str | None:
        """Return what a program printed that only tells something; None for a dump, and where it is missing or
        failed."""
        if self.source != "live":
            return None
        import subprocess  # rarely needed, and slow to import

        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=COMMAND_TIMEOUT_S,
                env={**os.environ, "LC_ALL": "C"},
            )
        except FileNotFoundError:
            return None
        except (OSError, subprocess.SubprocessError) as error:
            self.note(command[0], f"did not run: {type(error).__name__}")
            return None
        return (done.stdout or done.stderr) if done.returncode == 0 else None

    # What the kernel says of the live machine and this process

    @property
    def uname(self) -> os.uname_result | None:
        """Return uname(2); None for a dump."""
        return os.uname() if self.source == "live" else None

    @property
    def affinity(self) -> tuple[int, ...] | None:
        """Return the CPUs that this process may run on (sched_getaffinity(2)); None for a dump."""
        return tuple(sorted(os.sched_getaffinity(0))) if self.source == "live" else None

    @property
    def page_bytes(self) -> int | None:
        """Return the size of a memory page; None for a dump."""
        return os.sysconf("SC_PAGE_SIZE") if self.source == "live" else None

    @property
    def shared_memory(self) -> tuple[int, int] | None:
        """Return the size and the free bytes of /dev/shm (statvfs(3)), zeros where there is none; None for a dump."""
        if self.source != "live":
            return None
        try:
            told = os.statvfs("/dev/shm")
        except OSError:
            return 0, 0
        return told.f_frsize * told.f_blocks, told.f_frsize * told.f_bavail

    def commands(self, *names: str) -> tuple[str, ...] | None:
        """Return those of these programs that are on PATH; None for a dump."""
        if self.source != "live":
            return None
        import shutil  # slow to import

        return tuple(name for name in names if shutil.which(name))

    @property
    def gpus(self) -> tuple[tuple[Gpu, ...], str | None] | None:
        """Return the GPUs that a snapshot remembers, and why there are none; None where NVML is to be asked or
        absent."""
        return None

    @property
    def gpu_gaps(self) -> tuple[Gap, ...]:
        """Return why GPUs could not be asked, as a snapshot remembers it."""
        return ()

    @property
    def read_at(self) -> str:
        """Return the time at which the facts were true, as far as it is known: UTC, ISO 8601."""
        return now()

    # Inside

    def _list(self, path: str) -> list[str]:
        return os.listdir(self._folder + self._resolve(path) if self._folder else path)

    def _note_error(self, path: str, error: OSError) -> None:
        if error.errno in (errno.EACCES, errno.EPERM):
            self.note(path, "permission denied")
        elif error.errno not in _MISSING:
            self.note(path, (error.strerror or str(error)).lower())

    def _read(self, path: str, limit: int) -> bytes:
        """Return at most ``limit`` + 1 bytes. Kernel files have no size beforehand and come in pieces."""
        handle = self._open(path)
        try:
            pieces, left = [], limit + 1
            while left > 0 and (piece := os.read(handle, min(left, 65536))):
                pieces.append(piece)
                left -= len(piece)
            return b"".join(pieces)
        finally:
            os.close(handle)

    def _open(self, path: str) -> int:
        # Not blocking, so that a FIFO in a dump cannot hold the run; not following, as _resolve has done that.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
        place = path
        if self._folder:
            flags |= os.O_NOFOLLOW
            place = self._folder + self._resolve(path)
        handle = os.open(place, flags)
        if self._folder and not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise OSError(errno.ENODEV, "not a file")
        return handle

    def _readlink(self, place: str) -> str:
        """Return the target of a link below the dump's top. Raises ``OSError`` where it is none."""
        return os.readlink(self._folder + place)

    def _resolve(self, path: str) -> str:
        """Return the path below the dump's top with every link followed. Folders on the way are remembered."""
        parent, name = os.path.split(path.rstrip("/"))
        if parent not in self._resolved:
            self._resolved[parent] = self._resolve(parent)
        return self._walk(self._resolved[parent], name)

    def _walk(self, here: str, rest: str) -> str:
        """Follow ``rest`` from the folder ``here``, which has no links in it."""
        todo, links = [rest], 0
        while todo:
            name, _, after = todo.pop().partition("/")
            if after:
                todo.append(after)
            if name == "..":
                if not here:
                    raise Outside("leads out of the dump")
                here = here.rpartition("/")[0]
            elif name not in ("", "."):
                try:
                    target = self._readlink(f"{here}/{name}")
                except OSError:
                    # No link, or nothing at all, which the caller finds out.
                    here = f"{here}/{name}"
                    continue
                links += 1
                if links > MAX_LINKS:
                    raise Outside("too many links")
                here = "" if target.startswith("/") else here
                todo.append(target)
        return here
