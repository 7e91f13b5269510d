"""Data of a recording: marks, summaries, and the cost of watching."""

from __future__ import annotations

from hwdiag.core.value import Value
from hwdiag.host.model import Gap, Gpu
from hwdiag.host.source import Column
from hwdiag.process.observation.marks import Mark

COMMAND_FAILED = "command-failed"
"""Id of the finding about the command's end."""
COMMAND_STARTS, COMMAND_ENDS = "the command starts", "the command ends"


class Summary(Value):
    """The values of one column while the command ran, or all the time without one."""

    name: str
    unit: str
    title: str
    samples: int
    """Moments at which it was told."""
    mean: float
    p5: float
    median: float
    p95: float
    most: float


class MonitorOverhead(Value):
    """The cost of the watching itself."""

    cpu_s: float
    """CPU seconds of hwdiag's process from the first to the last sample: sampling, writing and showing."""
    sampling_cpu_s: float
    """Of these, for reading the machine alone."""
    share: float
    """CPU seconds over seconds watched: 0.01 is 1 % of one core."""
    file_bytes: int
    late: int
    """Samples that came more than half a period late, since the machine did not let hwdiag run."""


class Monitored(Value):
    """One recording, without its samples."""

    name: str
    """The host's folder under outputs/."""
    started_at: str
    seconds: float
    hz: float
    samples: int
    cpu_model: str | None
    cpus: int
    memory_bytes: int | None
    gpus: tuple[Gpu, ...]
    """As they were at the start, without their serial numbers."""
    columns: tuple[Column, ...]
    absent: tuple[Gap, ...]
    """What this machine does not tell, and why."""
    lost: tuple[Gap, ...]
    """What it stopped telling meanwhile."""
    marks: tuple[Mark, ...]
    command: tuple[str, ...] = ()
    outcome: str = ""
    """How the command ended, in one line; empty where it ended well, or there was none."""
    status: int | None = None
    """Its exit status, or minus the signal that ended it."""
    cut: str = ""
    """Why the recording ends before the time; empty where it does not."""
    cost: MonitorOverhead
    summaries: tuple[Summary, ...]

    def summary(self, name: str) -> Summary | None:
        """Return the summary of one column; None where it told nothing."""
        return next((s for s in self.summaries if s.name == name), None)

    def when(self, text: str) -> float | None:
        """Return the seconds of the first mark with this text."""
        return next((m.seconds for m in self.marks if m.text == text), None)
