"""The files that a Dataset opens while some of its samples are made, in this process and in a worker of a DataLoader.

Python's own opening of files is heard by an audit hook; what a library opens by itself (HDF5, LMDB) is found where it
stays open or mapped. What a library opens and closes by itself is not seen, only that something was read.
"""

import itertools
import multiprocessing
import os
import re
import stat
import sys
import sysconfig
import tempfile
import time

from . import data as datasets
from . import loading, reading, streams

MOST_FILES = 4000
MOST_SAMPLES = 64
MOST_NOTED = 4 << 20
"""Bytes that are noted of names."""
AT_FIRST = -1
"""In place of a sample's number: while the Dataset is made, or from a worker."""
SYSTEM = ("/proc", "/sys", "/dev", "/etc", "/usr", "/lib", "/lib64", "/bin", "/run")
CODE = (".py", ".pyc", ".pyi", ".so", ".egg-link", "-lock", "/lock.mdb")
"""Ends of names that hold no data: code, and LMDB's list of readers."""
UNSEEN_BYTES = 1 << 20
"""That were read while no file was seen to be opened: then a library opened some."""


class Hook:
    """Notes each name that is opened to be read, and each host that is connected to, once a process."""

    def __init__(self, note):
        self.note, self.sample, self.known, self.left, self.busy = note, AT_FIRST, set(), MOST_NOTED, False

    def __call__(self, event, args):
        if event not in ("open", "socket.connect") or self.busy:
            return
        self.busy = True  # what follows may itself open something
        try:
            said = opened_by(*args) if event == "open" else connected_to(args[1])
            if said is not None and said not in self.known and self.left > 0 and len(self.known) < MOST_FILES:
                self.known.add(said)
                line = b"%d\t%s\0" % (self.sample, said)
                self.left -= os.write(self.note, line)
        except Exception:  # a hook that raises would make the person's own call fail
            pass
        finally:
            self.busy = False


def opened_by(path, mode, flags):
    """Return the absolute name of a file that is opened to be read, with a letter in front; None for others."""
    if isinstance(path, int) or path is None or (flags or 0) & (os.O_WRONLY | os.O_TRUNC | os.O_CREAT):
        return None
    return b"f" + os.path.abspath(os.fsencode(path))


def connected_to(address):
    """Return the name of a host that is connected to, with a letter in front; None for this one."""
    if not isinstance(address, tuple) or str(address[0]).startswith(("127.", "::1", "localhost")):
        return None
    return b"h" + str(address[0]).encode("ascii", "replace")


def held(pid):
    """Return the names of the files that a process has open or mapped."""
    found = set()
    try:
        for name in os.listdir("/proc/%d/fd" % pid):
            try:
                found.add(os.fsencode(os.readlink("/proc/%d/fd/%s" % (pid, name))))
            except OSError:
                continue
        with open("/proc/%d/maps" % pid, "rb") as maps:
            found |= {fields[5].strip() for line in maps for fields in [line.split(None, 5)] if len(fields) == 6}
    except OSError:
        pass
    return {name for name in found if name.startswith(b"/")}


def read_so_far():
    """Return the bytes that this process has read in any way; 0 where the kernel does not count."""
    try:
        with open("/proc/self/io") as lines:
            return int(re.search(r"rchar: (\d+)", lines.read()).group(1))
    except (OSError, AttributeError):
        return 0


def is_data(name, own):
    """Return whether a file may hold data: it is a plain one, no code, and none of the system's."""
    text = os.fsdecode(name)
    code = {sysconfig.get_paths()[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")}
    if text == own or text.endswith(CODE) or text.startswith(tuple(folder + "/" for folder in (*SYSTEM, *code))):
        return False
    if "/site-packages/" in text or text.endswith(" (deleted)"):
        return False
    try:
        return stat.S_ISREG(os.stat(name).st_mode)
    except OSError:
        return False


def opened(task):
    """Return the data files that were opened, what all of the Dataset's samples would read, and where that lies."""
    own = os.path.abspath(task["data"]["file"])
    began, read_before, files_before = time.perf_counter(), read_so_far(), held(os.getpid())
    with tempfile.TemporaryFile() as note:
        hook = Hook(note.fileno())
        sys.addaudithook(hook)  # for the rest of this process, which ends with the answer
        dataset, collate = datasets.build(task["data"])
        looked_at = samples(dataset, hook, began + task["seconds"])
        stay = held(os.getpid()) | by_worker(dataset, collate, hook, task)
        hook.busy = True
        read_bytes = read_so_far() - read_before
        note.seek(0)
        lines = [line.split(b"\t", 1) for line in note.read(MOST_NOTED).split(b"\0") if line]
    first = {}
    for sample, name in lines:
        first.setdefault(name, int(sample))
    hosts = sorted(name[1:].decode() for name in first if name[:1] == b"h")
    files = {name[1:]: sample for name, sample in first.items() if name[:1] == b"f"}
    files.update({name: AT_FIRST for name in stay - files_before - files.keys()})
    files = {name: sample for name, sample in files.items() if is_data(name, own)}
    return dict(
        summed(files, looked_at, loading.length_of(dataset), began + 2 * task["seconds"]),
        samples=looked_at,
        hosts=hosts,
        unseen=not files and read_bytes > UNSEEN_BYTES,
    )


def samples(dataset, hook, until):
    """Make some samples from all over the Dataset, as long as the time allows; return how many."""
    if streams.is_stream(dataset):
        chosen = enumerate(itertools.islice(dataset, MOST_SAMPLES))
    else:
        step = max(1, len(dataset) // MOST_SAMPLES)
        chosen = ((i, dataset[n]) for i, n in enumerate(range(0, len(dataset), step)[:MOST_SAMPLES]))
    done = 0
    try:
        hook.sample = 0
        for number, _ in chosen:
            done, hook.sample = number + 1, number + 1
            if time.perf_counter() > until:
                break
    except Exception:  # what is wrong with it is told where its batches are made
        pass
    hook.sample = AT_FIRST
    return done


def by_worker(dataset, collate, hook, task):
    """Return what a worker has open once it has given a batch: a Dataset may open its files there alone."""
    setting = {"workers": 1, "batch_size": 1}
    try:
        batches = iter(loading.make(*loading.endless(dataset, task["seed"]), collate, setting, task["timeout_s"]))
        loading.first(batches)
        return set().union(*(held(worker.pid) for worker in multiprocessing.active_children()))
    except Exception:
        return set()


def summed(files, looked_at, length, until):
    """Return the bytes of all that the Dataset's samples would read, the files to read, and where most of them lie.

    Where each sample opens files of its own, these are as many as the samples are, and no more than lie beside them.
    """
    sizes = {name: os.stat(name).st_size for name in files}
    own = [name for name, sample in files.items() if sample > 0]
    grows = len({files[name] for name in own}) * 2 > max(1, looked_at - 1)
    kinds = {os.path.splitext(name)[1] for name in own} if grows else set()
    each = [name for name in files if os.path.splitext(name)[1] in kinds]
    shared = [name for name in files if name not in set(each)]
    paths, total, more = [*each, *shared], sum(sizes.values()), False
    if grows:
        beside, more = listed(os.path.commonpath([os.path.dirname(name) for name in each]), kinds, until)
        by_sample = None if length is None else length * sum(sizes[name] for name in each) / max(1, looked_at)
        by_folder = None if more else sum(beside.values())
        total = sum(sizes[name] for name in shared)
        total += min([n for n in (by_sample, by_folder) if n is not None], default=sum(sizes[n] for n in each))
        paths = [*beside, *shared] if len(beside) > len(each) else paths
    main = max(sizes, key=lambda name: sizes[name], default=None) if not grows else each[0]
    where = None if main is None else os.stat(main)
    folder = b"" if main is None else os.path.dirname(os.path.realpath(main))
    if grows:
        folder = os.path.commonpath([os.path.dirname(os.path.realpath(name)) for name in each])
    return {
        "paths": [os.fsdecode(name) for name in paths[: reading.MOST_NAMES]],
        "bytes": int(total),
        "files": len(files),
        "more": more,
        "grows": grows,
        "device": "" if where is None else "%d:%d" % (os.major(where.st_dev), os.minor(where.st_dev)),
        "devices": len({os.stat(name).st_dev for name in files}),
        "real": os.fsdecode(folder),
    }


def listed(folder, kinds, until):
    """Return the files of these kinds below a folder with their sizes, and whether there are more than were looked
    at."""
    found, seen = {}, 0
    for here, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            seen += 1
            path = os.path.join(here, name)
            if os.path.splitext(name)[1] in kinds and os.path.isfile(path):
                found[path] = os.path.getsize(path)
        if seen >= reading.MOST_NAMES or time.perf_counter() > until:
            return found, True
    return found, False
