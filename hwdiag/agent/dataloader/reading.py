"""Files of a folder, and how fast they are read. Standard library only.

Everything that touches the folder happens here, in a child: a network file system that hangs, hangs this process.
"""

import os
import random
import time

PICTURES = (".jpg", ".jpeg", ".png")
PIECE = 1 << 20
WHOLE, MOST_PARTS = 8 * PIECE, 256
"""Size up to which a file is read as a whole, and the pieces, at most, of a larger one."""
MOST_NAMES = 20000
LOOKED_AT = 200
"""Files that are asked whether they are in memory still."""


def find(task):
    """Return the pictures below a folder, in the order of their names, and the device that they lie on."""
    folder = task["folder"]
    if not os.path.isdir(folder):
        raise FileNotFoundError("there is no folder %s" % folder)
    found, seen, more = [], 0, False
    for here, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            seen += 1
            path = os.path.join(here, name)
            if name.lower().endswith(PICTURES) and os.path.isfile(path):
                found.append((path, os.path.getsize(path)))
        if seen >= MOST_NAMES:
            more = True
            break
    device = os.stat(folder).st_dev
    return {
        "paths": [path for path, _ in found],
        "bytes": sum(size for _, size in found),
        "files": seen,
        "more": more,
        "device": "%d:%d" % (os.major(device), os.minor(device)),
        "real": os.path.realpath(folder),
    }


def read(task):
    """Read them in order and in any order, out of memory where that can be, then again from memory.

    A file that is larger than a few pieces is read piece by piece: all of it would take too long.
    """
    paths, seconds = list(task["paths"]), task["seconds"]
    parts = [part for path in paths for part in parts_of(path)]
    shuffled = parts[1::2]
    random.Random(task["seed"]).shuffle(shuffled)
    metadata = looked_up(paths, seconds / 4)
    drop(paths)
    cold = share_not_in_memory(parts)
    in_order, done = rate(parts[0::2], seconds)
    any_order, _ = rate(shuffled, seconds)
    again, _ = rate(done, seconds)
    return {"metadata": metadata, "cold": cold, "in_order": in_order, "any_order": any_order, "again": again}


def parts_of(path):
    """Return a file in pieces of path, offset and length: the whole one, or some from all over a large one."""
    size = os.path.getsize(path)
    if size <= WHOLE:
        return [(path, 0, size)]
    step = max(1, size // PIECE // MOST_PARTS)
    return [(path, place * PIECE, PIECE) for place in range(0, size // PIECE, step)]


def looked_up(paths, seconds):
    """Return the files a second that are found and described (stat), names from the kernel's own cache where it has
    them."""
    began = time.perf_counter()
    count = 0
    for path in paths:
        os.stat(path)
        count += 1
        if time.perf_counter() - began > seconds:
            break
    return count / max(1e-9, time.perf_counter() - began)


def drop(paths):
    """Ask the kernel to forget what it holds of these files (posix_fadvise(2)); what it must write first stays."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fdatasync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError:
            pass
        finally:
            os.close(handle)


def share_not_in_memory(parts):
    """Return the share of the pieces that must come from the disk, 0..1; None where the file system cannot tell."""
    asked = cold = 0
    for path, offset, _ in parts[:: max(1, len(parts) // LOOKED_AT)]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.preadv(handle, [bytearray(1)], offset, os.RWF_NOWAIT)
            asked += 1
        except BlockingIOError:
            asked, cold = asked + 1, cold + 1
        except OSError:
            return None
        finally:
            os.close(handle)
    return cold / asked if asked else None


def rate(parts, seconds):
    """Return bytes/s, files/s and the slowest of a hundred files in seconds, of as many as the time allows; and those
    files. Pieces of a large file count as files."""
    began, total, times, buffer = time.perf_counter(), 0, [], memoryview(bytearray(PIECE))
    for path, offset, length in parts:
        start = time.perf_counter()
        with open(path, "rb", buffering=0) as file:
            file.seek(offset)
            while length > 0:
                size = file.readinto(buffer[:length])
                if not size:
                    break
                total, length = total + size, length - size
        times.append(time.perf_counter() - start)
        if time.perf_counter() - began > seconds:
            break
    took = max(1e-9, time.perf_counter() - began)
    slow = sorted(times)[int(0.99 * (len(times) - 1))] if times else 0.0
    return {"bytes_s": total / took, "files_s": len(times) / took, "slow_s": slow}, parts[: len(times)]
