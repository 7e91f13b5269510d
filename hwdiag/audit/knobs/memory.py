"""Settings by which the kernel hands out memory and takes it back."""

from __future__ import annotations

from hwdiag.audit.kinds.file import Files
from hwdiag.audit.kinds.mention import Mention
from hwdiag.audit.kinds.unread import Unread
from hwdiag.audit.knobs.model import Knob, KnobCase
from hwdiag.audit.knobs.rules import GIB, equals, fixed, more_than, on_numa, present, swaps_to_memory, unified_memory
from hwdiag.host.settings import HUGE_PAGES

VM = "/proc/sys/vm"
SYSCTL = "https://docs.kernel.org/admin-guide/sysctl/vm.html"
THP = "https://docs.kernel.org/admin-guide/mm/transhuge.html"


def less_swapping(case: KnobCase) -> str | None:
    """Return 10 where swap is on a disk. Where it is compressed memory the default or more is right."""
    return case.value or (None if swaps_to_memory(case) else "10")


def swapping(case: KnobCase) -> str | None:
    """Return the reason where pages come back from a disk while memory is free."""
    return None if swaps_to_memory(case) else case.symptoms.get("swapping-while-free")


def much_dirty(case: KnobCase) -> str | None:
    """Return the reason where so much unwritten data may pile up that flushing it takes minutes."""
    total = case.host.memory.total_bytes
    if case.number is None or case.number <= 20 or total is None:
        return None
    return (
        f"up to {case.number * total / 100 / GIB:.0f} GiB may wait to be written (dirty_ratio is {case.number}): fsync "
        "and unmount then wait behind it, and a power cut loses it"
    )


def unused_huge_pages(case: KnobCase) -> str | None:
    """Return the reason where huge pages are reserved and nobody took one."""
    free = case.others.get("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "")
    if not case.number or free != case.now:
        return None
    return f"{case.number * 2 / 1024:.1f} GiB are reserved as huge pages, and no process uses one"


def less_cache_pressure(case: KnobCase) -> str | None:
    """Return the value, but not where the GPU needs the memory."""
    return case.value or (None if unified_memory(case) else "50")


KNOBS = (
    Knob(
        id="vm.swappiness",
        group="memory",
        what="How readily the kernel swaps programs out instead of dropping file cache (0 to 200).",
        source=Files(path=f"{VM}/swappiness"),
        known="A ratio of costs, not a threshold. A little cold swap is harmless; lower it where pages were read back "
        "from a disk while memory was free. With zram or zswap, 100 and more are right.",
        evidence="documented",
        link=SYSCTL,
        risk="Less file cache; at 0, programs are killed earlier when memory runs out.",
        wanted=less_swapping,
        takes=r"\d{1,2}|1\d\d|200",
        takes_text="0 to 200",
        trigger=swapping,
        beside=(Files(path="/sys/block/*/disksize"), Files(path="/sys/module/zswap/parameters/enabled")),
        persists="sysctl",
    ),
    Knob(
        id="vm.vfs_cache_pressure",
        group="memory",
        what="How readily the kernel drops what it knows of files and folders (not their contents).",
        source=Files(path=f"{VM}/vfs_cache_pressure"),
        known="For data sets of millions of small files. It keeps no model in memory: file contents are another cache.",
        evidence="documented",
        link=SYSCTL,
        risk="Less memory for file contents and, where it shares the memory, for the GPU.",
        wanted=less_cache_pressure,
        takes=r"\d{1,3}",
        takes_text="1 to 999",
        objection=equals(
            "0", because="vfs_cache_pressure is 0: names of files are never dropped, until memory runs out"
        ),
        persists="sysctl",
    ),
    Knob(
        id="vm.dirty_bytes",
        group="memory",
        what="How many bytes may wait to be written before a writer is made to wait.",
        source=Files(path=f"{VM}/dirty_bytes"),
        known="In bytes, since the default percentage of a large memory is minutes of writing. For measured stalls of "
        "writers; it has no effect on ZFS.",
        evidence="documented",
        link=SYSCTL,
        risk="Long bursts of writing get slower.",
        wanted=fixed(str(GIB)),
        takes=r"\d{7,12}",
        takes_text="bytes, at least 1000000",
        disturbs=("dirty_ratio",),
        persists="sysctl",
    ),
    Knob(
        id="vm.dirty_background_bytes",
        group="memory",
        what="From how many waiting bytes on the kernel writes in the background.",
        source=Files(path=f"{VM}/dirty_background_bytes"),
        known="As dirty_bytes, which it must stay below.",
        evidence="documented",
        link=SYSCTL,
        risk="More, smaller writes.",
        wanted=fixed(str(GIB // 4)),
        takes=r"\d{7,12}",
        takes_text="bytes, at least 1000000",
        disturbs=("dirty_background_ratio",),
        below="vm.dirty_bytes",
        persists="sysctl",
    ),
    Knob(
        id="vm.dirty_ratio",
        group="memory",
        what="The same as a percentage of the available memory.",
        source=Files(path=f"{VM}/dirty_ratio"),
        known="Guides call raising it an optimisation; it only makes the stalls longer. Use vm.dirty_bytes.",
        evidence="folklore",
        link=SYSCTL,
        objection=much_dirty,
    ),
    Knob(
        id="vm.thp",
        group="memory",
        what="Which programs get transparent huge pages: all, those that ask, or none.",
        source=Files(path=HUGE_PAGES),
        known="'madvise' is what PyTorch (THP_MEM_ALLOC_ENABLE=1), glibc and jemalloc need to ask for them. GPU memory "
        "is not affected. 'always' costs memory and stalls.",
        evidence="documented",
        link=THP,
        risk="A program that relied on 'always' may get slower.",
        wanted=fixed("madvise"),
        takes="always|madvise|never",
        takes_text="always, madvise or never",
        persists="tmpfiles",
    ),
    Knob(
        id="vm.thp_defrag",
        group="memory",
        what="Whether a program waits while the kernel frees memory for a huge page.",
        source=Files(path="/sys/kernel/mm/transparent_hugepage/defrag"),
        known="'madvise' lets only those wait that asked; 'defer+madvise' also works in the background.",
        evidence="documented",
        link=THP,
        risk="Fewer huge pages for programs that never ask.",
        wanted=fixed("madvise"),
        takes=r"always|defer|defer\+madvise|madvise|never",
        takes_text="always, defer, defer+madvise, madvise or never",
        objection=equals(
            "always", because="every program may stall at any page fault while the kernel makes huge pages"
        ),
        persists="tmpfiles",
    ),
    Knob(
        id="vm.zone_reclaim_mode",
        group="memory",
        what="Whether a full NUMA node drops its cache before it takes memory of another node.",
        source=Files(path=f"{VM}/zone_reclaim_mode"),
        known="0 for all but programs that are split by node: file cache is worth more than nearness.",
        evidence="documented",
        link=SYSCTL,
        risk="More memory on the far node.",
        wanted=on_numa("0"),
        takes="[0-7]",
        takes_text="0 to 7",
        objection=more_than(0, "zone_reclaim_mode is {now}: a node drops its file cache while another has free memory"),
        persists="sysctl",
    ),
    Knob(
        id="vm.numa_balancing",
        group="memory",
        what="Whether the kernel moves pages to the node that uses them.",
        source=Files(path="/proc/sys/kernel/numa_balancing"),
        known="Leave it on unless every program is bound to a node: then it only costs page faults.",
        evidence="documented",
        link="https://docs.kernel.org/admin-guide/sysctl/kernel.html",
        risk="Programs that are not bound slow down on more than one node.",
        wanted=on_numa("0"),
        takes="[01]",
        takes_text="0 or 1",
        persists="sysctl",
        by_name=True,
    ),
    Knob(
        id="vm.overcommit_memory",
        group="memory",
        what="Whether programs may reserve more memory than there is.",
        source=Files(path=f"{VM}/overcommit_memory"),
        known="0 is the default and right: CUDA reserves terabytes of addresses, and a fork of a large process doubles "
        "its claim.",
        evidence="documented",
        link="https://docs.kernel.org/mm/overcommit-accounting.html",
        risk="Programs are killed when memory runs out, where they were refused memory before.",
        wanted=fixed("0"),
        takes="[012]",
        takes_text="0, 1 or 2",
        objection=equals(
            "2", because="overcommit_memory is 2: CUDA, large mappings and DataLoader workers may be refused"
        ),
        persists="sysctl",
        by_name=True,
    ),
    Knob(
        id="vm.nr_hugepages",
        group="memory",
        what="How many huge pages are set aside for programs that ask for them by name.",
        source=Files(path=f"{VM}/nr_hugepages"),
        known="PyTorch asks for none. Reserved pages are lost for all else, and on shared memory for the GPU.",
        evidence="documented",
        link="https://docs.kernel.org/admin-guide/mm/hugetlbpage.html",
        risk="A database or virtual machine that wants them does not start.",
        wanted=fixed("0"),
        takes=r"\d{1,7}",
        takes_text="a number of pages",
        objection=unused_huge_pages,
        beside=(Files(path="/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages"),),
        persists="sysctl",
        by_name=True,
    ),
    Knob(
        id="vm.rc_local",
        group="memory",
        what="Settings in /etc/rc.local.",
        source=Mention(folders=("/etc/rc.local",), pattern=r".*/(sys|proc/sys)/"),
        known="Run late, by a compatibility layer that systemd 260 no longer has. tmpfiles.d does the same in order.",
        evidence="documented",
        link="systemd-rc-local-generator(8)",
        objection=present("{where} sets '{now}' at boot: systemd 260 no longer runs that file"),
        severity="note",
    ),
    Knob(
        id="vm.drop_caches",
        group="memory",
        what="Drop the file cache once.",
        source=Unread(why="an action, not a setting"),
        known="An action, not a setting: on a DGX Spark, where the file cache competes with CUDA, "
        "'sync; echo 3 > /proc/sys/vm/drop_caches' gives memory back once.",
        evidence="documented",
        link="https://github.com/NVIDIA/dgx-spark-playbooks",
    ),
)
