"""Resource limits of login sessions."""

from __future__ import annotations

from hwdiag.audit.kinds.limit import ResourceLimit
from hwdiag.audit.knobs.model import Knob
from hwdiag.audit.knobs.rules import fixed
from hwdiag.host.settings import LOCKED_MEMORY, OPEN_FILES

KNOBS = (
    Knob(
        id="limits.nofile",
        group="limits",
        what="How many files a process may have open.",
        source=ResourceLimit(resource=OPEN_FILES, item="nofile"),
        known="For 'Too many open files' from many DataLoader workers; so is "
        "torch.multiprocessing.set_sharing_strategy('file_system'). A service takes LimitNOFILE= of its unit.",
        evidence="documented",
        link="https://docs.pytorch.org/docs/stable/multiprocessing.html",
        risk="Old programs that use select() break above 1024.",
        wanted=fixed("65536"),
        takes=r"\d{3,7}",
        takes_text="a number of files",
        persists="limits",
    ),
    Knob(
        id="limits.memlock",
        group="limits",
        what="How much memory, in kB, a process may keep from being swapped.",
        source=ResourceLimit(resource=LOCKED_MEMORY, item="memlock", unit=1024, both=True),
        known="For RDMA, io_uring and mlock. Pinned memory of CUDA does not count against it.",
        evidence="documented",
        link="getrlimit(2)",
        risk="A process can take all memory.",
        wanted=fixed("unlimited"),
        takes=r"\d{2,10}|unlimited",
        takes_text="kB, or unlimited",
        persists="limits",
        by_name=True,
    ),
)
