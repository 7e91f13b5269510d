"""LoaderSetting: how a DataLoader is set."""

from __future__ import annotations

from typing import Any, Literal

from hwdiag.core.text import plural
from hwdiag.core.value import Value
from hwdiag.experiment.lever import Plan
from hwdiag.host.cpulist import CpuList, format_cpulist

StartMethod = Literal["fork", "forkserver", "spawn"]
Sharing = Literal["file_descriptor", "file_system"]

DEFAULT_PREFETCH = 2
"""Batches that each worker makes ahead, where nothing is set (torch.utils.data.DataLoader)."""


class LoaderSetting(Value):
    """The settings of a DataLoader. What is None or empty is left as torch has it."""

    workers: int | None = None
    """0 of torch's own default: the training process reads and decodes by itself."""
    prefetch: int | None = None
    batch_size: int | None = None
    pin_memory: bool | None = None
    persistent: bool | None = None
    threads: int | None = None
    """Intra-op threads of each worker; torch gives it 1."""
    start_method: StartMethod | None = None
    sharing: Sharing | None = None
    places: tuple[CpuList, ...] = ()
    """CPUs of the first worker, of the second ..., and again from the beginning."""

    @property
    def makes_sense(self) -> bool:
        """Return whether torch takes the setting, and each thread of a worker has a CPU: without workers there is
        nothing to prefetch, to keep or to bind."""
        of_workers = (self.prefetch, self.persistent, self.threads, self.start_method, self.sharing)
        if not self.workers:
            return not self.places and all(v is None for v in of_workers)
        return all(len(place) >= (self.threads or 1) for place in self.places)

    @property
    def batches_ahead(self) -> int:
        """Return the number of batches, at most, that are made or on their way."""
        return (self.workers or 0) * (self.prefetch or DEFAULT_PREFETCH)

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of ``torch.utils.data.DataLoader``."""
        names = {
            "batch_size": self.batch_size,
            "num_workers": self.workers,
            "prefetch_factor": self.prefetch,
            "pin_memory": self.pin_memory,
            "persistent_workers": self.persistent,
            "multiprocessing_context": self.start_method,
        }
        return {name: value for name, value in names.items() if value is not None}

    def describe(self) -> str:
        """Return the setting as text: ``4 workers, 2 batches ahead each``."""
        parts = [plural(self.workers, "worker") if self.workers else "no workers"]
        if self.prefetch is not None:
            parts.append(f"{plural(self.prefetch, 'batch', 'batches')} ahead each")
        if self.batch_size is not None:
            parts.append(f"batches of {self.batch_size}")
        parts += ["pinned memory"] if self.pin_memory else []
        parts += ["workers kept between epochs"] if self.persistent else []
        parts += [f"{plural(self.threads, 'thread')} each"] if self.threads else []
        parts += [f"started by {self.start_method}"] if self.start_method else []
        parts += [f"shared by {self.sharing}"] if self.sharing else []
        parts += [f"bound to CPUs {'; '.join(map(format_cpulist, self.places))}"] if self.places else []
        return ", ".join(parts)


def setting_of(plan: Plan) -> LoaderSetting:
    """Return what a plan sets of a DataLoader."""
    return LoaderSetting.model_validate(plan.loader)
