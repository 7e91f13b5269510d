"""Predictions of a DataLoader's memory before it is tried, and limits of memory, /dev/shm and open files.

A setting that would not fit is never started. What is predicted is the most at any time, when all that may be made
ahead has been made and each worker has one batch more in its hands.
"""

from __future__ import annotations

import os

from hwdiag.core.text import gib
from hwdiag.dataloader.model import AvailableMemory, Footprint, Prediction
from hwdiag.dataloader.setting import LoaderSetting
from hwdiag.host.model import Host

SPARE = 0.1
"""Share of what may be used that is left to others."""
WITHOUT_WORKERS = 3
"""Batches in the training process itself, without workers: the samples, the batch made of them, and the one before."""
FILES = 64
"""Files that are open anyhow: libraries, pipes, the Dataset's own."""
FILES_OF_A_WORKER = 6
LEAK_BATCHES = 1000
"""A worker that grows with each batch is predicted after so many."""


def predict(footprint: Footprint, setting: LoaderSetting, batch_size: int) -> Prediction:
    """Return the most that the training process and its workers hold together."""
    workers, method = setting.workers or 0, setting.start_method or ""
    batch = footprint.batch_bytes / footprint.batch_size * batch_size
    if not workers:
        return Prediction(
            process_bytes=int(footprint.main_bytes + WITHOUT_WORKERS * batch), shared_bytes=0, files=FILES
        )
    made = setting.batches_ahead + 1  # and one that the training holds
    each = footprint.worker_bytes.get(method, max(footprint.worker_bytes.values())) + batch
    growth = footprint.growth_bytes * LEAK_BATCHES * workers
    pinned = made * batch if setting.pin_memory else 0
    held = made * footprint.tensors if setting.sharing != "file_system" else 0
    return Prediction(
        process_bytes=int(footprint.main_bytes + workers * each + pinned + growth),
        shared_bytes=int(made * batch),
        files=FILES + FILES_OF_A_WORKER * workers + held,
    )


def available_memory(host: Host) -> AvailableMemory:
    """Return the memory, /dev/shm and open files that this process may use now."""
    try:
        found = os.statvfs("/dev/shm")
        shared = found.f_bavail * found.f_frsize
    except OSError:
        shared = None
    files = host.limits.nofile[0] if host.limits.nofile else None
    return AvailableMemory(memory_bytes=host.usable_memory_bytes, shared_bytes=shared, files=files)


def too_much(prediction: Prediction, available: AvailableMemory) -> str:
    """Return why a setting would not fit, in a clause; empty where it does."""
    if available.shared_bytes is not None and prediction.shared_bytes > (1 - SPARE) * available.shared_bytes:
        return f"its batches take {gib(prediction.shared_bytes)} of /dev/shm, which has {gib(available.shared_bytes)}"
    if available.memory_bytes is not None and prediction.total_bytes > (1 - SPARE) * available.memory_bytes:
        return f"it takes {gib(prediction.total_bytes)} of the {gib(available.memory_bytes)} that may be used"
    if available.files is not None and prediction.files > available.files:
        return f"it needs {prediction.files} open files in one process, and {available.files} are allowed (ulimit -n)"
    return ""
