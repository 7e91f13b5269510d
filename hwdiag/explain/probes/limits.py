"""Probe of the limits that were hit: of memory, tasks, open files, shared memory, disk, file size, CPU time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hwdiag.core.finding import Check, Finding, Severity
from hwdiag.core.text import listed, plural
from hwdiag.explain.ended import ended_by, failed, sentence
from hwdiag.explain.messages import Said, said
from hwdiag.explain.model import Answer, Case
from hwdiag.process.observation.model import CgroupOfProcess, ObservedProcess
from hwdiag.report.format import clean, size

NEAR = 0.9
"""Share of a limit from which on it was as good as reached."""
FULL = 0.95
"""The same of /dev/shm, which is asked at looks only."""

Heard = Mapping[str, Said]
"""By the limit that it speaks of, what the program said in its last lines."""

MORE_MEMORY = (
    "Raise the limit ('docker run --memory 8g', resources.limits.memory in Kubernetes, '#SBATCH --mem=8G', "
    "'systemd-run -p MemoryMax=8G'), or take less memory: a smaller batch, fewer workers, data that is mapped or read "
    "part by part instead of loaded as a whole."
)
LESS_MEMORY = (
    "Take less memory: a smaller batch, fewer workers, fewer programs at the same time, data that is mapped or read "
    "part by part instead of loaded as a whole. Or give the host more memory or swap."
)


def look(case: Case) -> Iterator[Answer]:
    """Yield each limit that was hit, with its value and the way out; what was looked at where none was."""
    heard: Heard = {one.message.limit: one for one in said(case.program.ending) if one.message.limit}
    rules = (memory, tasks, open_files, shared_memory, disk, file_size, cpu_time)
    found = [finding for rule in rules for finding in rule(case, heard)]
    found = found or [*killed(case, heard)]
    if found:
        yield from found
    elif case.program.processes:
        yield Check(id="limits", state="fine", title="No limit was hit", detail=looked_at(case))
    else:
        yield Check(id="limits", state="unchecked", title="Limits", detail="no process was seen")


def memory(case: Case, heard: Heard) -> Iterator[Finding]:
    """Yield a finding where the kernel killed for want of memory, or refused some."""
    group = tightest(case)
    kills = sum(c.oom_kills or 0 for c in groups(case))
    if kills:
        limit = f"its control group may use {size(group.memory_limit_bytes)}" if group else "its control group is full"
        yield finding(
            case,
            "memory-limit",
            f"Out of memory: {limit}, and the kernel killed {plural(kills, 'process', 'processes')} of it",
            f"{peak_words(case, group)}The limit is memory.max (memory.limit_in_bytes of version 1) of "
            f"{clean(group.path) if group else 'the group'}. {MORE_MEMORY}",
        )
    elif case.program.oom_kills and died_of_memory(case, heard):
        total = case.host.memory.total_bytes
        yield finding(
            case,
            "memory-of-the-host",
            f"Out of memory: all {size(total)} of this host were used, and the kernel killed it",
            f"{peak_words(case, None)}'journalctl -k | grep -i oom' names what was killed. {LESS_MEMORY}",
        )
    elif "memory" in heard:
        yield refused(case, heard["memory"])


def refused(case: Case, heard: Said) -> Finding:
    """Return which limit refused memory."""
    wanted = heard.values.get("wanted", "")
    asked = f" It asked for {clean(wanted)}{' bytes' if wanted.isdigit() else ''} at once." if wanted else ""
    space = [p for p in case.program.processes if p.limits.address_space_bytes is not None]
    tight = min(space, key=lambda p: p.limits.address_space_bytes or 0, default=None)
    if tight is not None:
        mapped = max((m.mapped_bytes for m in tight.memory), default=None)
        most = f"; at most {size(mapped)} of it was seen mapped" if mapped else ""
        return finding(
            case,
            "address-space",
            f"Memory was refused: its address space is limited to {size(tight.limits.address_space_bytes)} (ulimit -v)",
            f"RLIMIT_AS counts all that is mapped, also what is never touched{most}.{asked} Lift it: "
            "'ulimit -v unlimited' before the start, LimitAS=infinity in a systemd unit, or the batch system's "
            "h_vmem; to bound memory take a control group's memory.max.",
        )
    group = tightest(case)
    if group is not None:
        return finding(
            case,
            "memory-limit",
            f"Memory was refused: its control group may use {size(group.memory_limit_bytes)}",
            f"{peak_words(case, group)}{asked} {MORE_MEMORY}".strip(),
        )
    host = case.host.memory
    return finding(
        case,
        "memory-refused",
        f"Memory was refused: this host has {size(host.total_bytes)}, and no limit of the process is lower",
        f"{peak_words(case, None)}{asked} Look for a size that is wrong (a batch or a shape), at what else runs "
        f"('ps aux --sort -rss | head'), and at 'sysctl vm.overcommit_memory': 2 refuses early. {LESS_MEMORY}".strip(),
    )


def tasks(case: Case, heard: Heard) -> Iterator[Finding]:
    """Yield a finding where a thread or a process was refused."""
    counted = [c for c in groups(case) if c.pids_limit is not None]
    group = min(counted, key=lambda c: c.pids_limit or 0, default=None)
    refused_ = sum(c.pids_refused or 0 for c in groups(case))
    if not refused_ and "tasks" not in heard:
        return
    threads = sum(p.most_threads for p in case.program.processes)
    what = f"It had {plural(threads, 'thread')} in {plural(len(case.program.processes), 'process', 'processes')}."
    what = what if threads else "It ended before its threads could be counted."
    fewer = "Start fewer: 'export OMP_NUM_THREADS=2 OPENBLAS_NUM_THREADS=2', fewer DataLoader workers."
    if group is not None and (refused_ or (group.pids_peak or 0) >= NEAR * (group.pids_limit or 0)):
        count = f"{plural(refused_, 'start')} of a thread or process" if refused_ else "a thread"
        yield finding(
            case,
            "tasks-limit",
            f"Threads were refused: its control group may have {group.pids_limit} tasks, and {count} failed",
            f"{what} Each thread is a task of pids.max. Raise it: 'docker run --pids-limit 4096', podPidsLimit of the "
            f"kubelet, TasksMax= of the systemd unit. {fewer}",
        )
        return
    limited = [p for p in case.program.processes if p.limits.processes is not None and p.uid != 0]
    low = min((p.limits.processes or 0 for p in limited), default=None)
    if low is not None:
        yield finding(
            case,
            "tasks-limit",
            f"Threads were refused: its user may have {low} of them (ulimit -u)",
            f"{what} All threads of the user's programs on this host count. Raise it: 'ulimit -u 8192' before the "
            f"start, nproc in /etc/security/limits.conf, LimitNPROC= of the systemd unit. {fewer}",
        )
        return
    why = "Possible reasons: pids.max of a control group above, 'sysctl kernel.threads-max', or no memory for a stack"
    yield finding(case, "tasks-refused", "Threads were refused", f"{what} {why} ('ulimit -s', 'ulimit -v'). {fewer}")


def open_files(case: Case, heard: Heard) -> Iterator[Finding]:
    """Yield a finding where a process ran out of open files."""
    counted = [p for p in case.program.processes if p.limits.open_files]
    worst = max(counted, key=lambda p: (p.most_open_files or 0) / (p.limits.open_files or 1), default=None)
    near = worst is not None and (worst.most_open_files or 0) >= NEAR * (worst.limits.open_files or 0)
    if "open-files" not in heard and not near:
        return
    limit = f"the limit is {worst.limits.open_files} (ulimit -n)" if worst else "the limit is not known ('ulimit -n')"
    seen = f" {worst.most_open_files} were seen open in PID {worst.pid}." if worst and worst.most_open_files else ""
    found = finding(
        case,
        "open-files",
        f"It {'ran' if 'open-files' in heard else 'nearly ran'} out of open files: {limit}",
        f"DataLoader workers pass each tensor as an open file, which stays open as long as the tensor is kept."
        f"{seen} Raise it: 'ulimit -n 65536' before the start (as root where its hard limit, 'ulimit -Hn', is lower), "
        "'docker run --ulimit nofile=65536:65536', LimitNOFILE= of the systemd unit. Or let workers use names in "
        "/dev/shm instead of open files: "
        "torch.multiprocessing.set_sharing_strategy('file_system'). Or keep copies ('batch.clone()'), not the batches.",
    )
    yield found if "open-files" in heard else found.model_copy(update={"severity": "warning"})


def shared_memory(case: Case, heard: Heard) -> Iterator[Finding]:
    """Yield a finding where /dev/shm was full."""
    shm = case.program.shared_memory
    full = bool(shm.size_bytes) and (shm.peak_bytes or 0) >= FULL * (shm.size_bytes or 0)
    one = heard.get("shared-memory")
    if one is None and not full:
        return
    if one is not None and one.message.signal == "SIGBUS" and not full:
        yield finding(
            case,
            "bus-error",
            f"Bus error: a page that was mapped could not be loaded; {shm.path} was not seen full",
            f"Its size is {size(shm.size_bytes)}, at most {size(shm.peak_bytes)} were seen in use. Other reasons: a "
            "file that became shorter while it was mapped, a full disk under a mapped file, no free huge pages.",
        )
        return
    own = sum(max((m.shared_bytes for m in p.memory), default=0) for p in case.program.processes)
    others = (shm.peak_bytes or 0) >= max((shm.size_bytes or 0) / 2, 2 * own)
    held = f" Most of it is held by others: 'ls -l {shm.path}', 'lsof +D {shm.path}' show who." if others else ""
    peak = f"; at most {size(shm.peak_bytes)} were seen in use" if shm.peak_bytes else ""
    peak += ", so that one batch wanted more than the rest" if peak and not full else ""
    yield finding(
        case,
        "shared-memory",
        f"{clean(shm.path)} is too small: shared memory ran out at {size(shm.size_bytes)}",
        f"DataLoader workers and NCCL pass tensors through it{peak}.{held} Make it larger: 'docker run --shm-size 8g' "
        "or --ipc=host, in Kubernetes an emptyDir with 'medium: Memory' at /dev/shm, on a host 'mount -o "
        "remount,size=8g /dev/shm'. Without that right: num_workers=0, fewer workers, a smaller batch, or a smaller "
        "prefetch_factor.",
    )


def disk(case: Case, heard: Heard) -> Iterator[Finding]:
    """Yield a finding where a disk was full."""
    if "disk" not in heard and not (failed(case.program.ending) and case.program.ending.full_disks):
        return
    one = heard.get("disk")
    path = clean(one.values.get("path", "")) if one else ""
    if path.startswith("/dev/shm"):
        yield from shared_memory(case, {"shared-memory": one} if one else {})
        return
    mounts = [clean(m) for m in case.program.ending.full_disks]
    where = path or listed(mounts) or "a disk"
    quota = one is not None and "quota" in one.line
    title = f"Disk quota exceeded: no space left for it in {where}" if quota else f"The disk is full: {where}"
    full = f" Nearly nothing is free on {listed(mounts)}." if mounts else " Of the mounted disks none was seen full."
    yield finding(
        case,
        "disk-full",
        title,
        f"{'quota -s' if quota else 'df -h; df -i'} shows how much is left.{full} Remove what is not needed ('du -xh "
        f"{path or (mounts[0] if mounts else '/tmp')} | sort -h | tail': old checkpoints, ~/.cache/huggingface, "
        "/tmp/torchinductor_*), or write elsewhere: TMPDIR, HF_HOME, TORCHINDUCTOR_CACHE_DIR, the folder of the "
        "checkpoints.",
    )


def file_size(case: Case, heard: Heard) -> Iterator[Finding]:
    """Yield a finding where a file was larger than it may be."""
    if "file-size" not in heard:
        return
    limits = [p.limits.file_size_bytes for p in case.program.processes if p.limits.file_size_bytes is not None]
    unseen = "none was seen set (ulimit -f), so it may be the largest size of its file system"
    value = f"it may write files of at most {size(min(limits))} (ulimit -f)" if limits else unseen
    yield finding(
        case,
        "file-size",
        f"A file grew beyond its limit: {value}",
        "Lift it: 'ulimit -f unlimited' before the start, fsize in /etc/security/limits.conf, LimitFSIZE=infinity of "
        "the systemd unit. Or write checkpoints in shards.",
    )


def cpu_time(case: Case, heard: Heard) -> Iterator[Finding]:
    """Yield a finding where the program's CPU time was used up."""
    spent = [
        p for p in case.program.processes if p.limits.cpu_s is not None and p.cpu_s >= NEAR * (p.limits.cpu_s or 0)
    ]
    if "cpu-time" not in heard and not (spent and ended_by(case.program.ending) == "SIGKILL"):
        return
    limits = [p.limits.cpu_s for p in case.program.processes if p.limits.cpu_s is not None]
    value = f"it may use {min(limits)} s" if limits else "its limit is used up"
    yield finding(
        case,
        "cpu-time",
        f"The kernel ended it for its CPU time: {value} (ulimit -t)",
        "The seconds of all its threads are added up. Lift it: 'ulimit -t unlimited' before the start, cpu in "
        "/etc/security/limits.conf, LimitCPU=infinity of the systemd unit. On a login node: submit it as a job.",
    )


def killed(case: Case, heard: Heard) -> Iterator[Finding]:
    """Yield a finding where the program, or a worker of it, was killed, and no limit says why."""
    worker = heard.get("worker")
    if worker is not None:
        yield finding(
            case,
            "worker-killed",
            f"A worker of the DataLoader was killed (PID {clean(worker.values.get('pid', 'unknown'))})",
            f"{kills_unknown(case)} Run it once with num_workers=0, so that an error stands in the training itself, "
            "and with fewer workers, where memory is the reason.",
        )
    elif "killed" in heard or (failed(case.program.ending) and ended_by(case.program.ending) == "SIGKILL"):
        yield finding(
            case,
            "killed",
            "It was killed by SIGKILL, from outside",
            f"{kills_unknown(case)} What else kills so: a person, a batch system at its time or memory limit (look at "
            "its log), systemd-oomd or earlyoom ('journalctl -u systemd-oomd'), 'docker stop' after its grace time, "
            "torchrun when another rank failed.",
        )


# What they share


def finding(case: Case, id_: str, title: str, detail: str) -> Finding:
    """Return a finding: a problem where the program failed, whose end it tells then; else a warning."""
    bad = failed(case.program.ending)
    level: Severity = "problem" if bad else "warning"
    ended = f" {sentence(case.program.ending)}" if bad else ""
    return Finding(id=id_, severity=level, title=title, detail=f"{detail}{ended}", evidence=("program",))


def groups(case: Case) -> list[CgroupOfProcess]:
    """Return the control groups of the program, each once, with the most that any of its processes saw of it."""
    found: dict[str, CgroupOfProcess] = {}
    for process in case.program.processes:
        seen = found.get(process.cgroup.path)
        if seen is None or (process.cgroup.oom_kills or 0, process.cgroup.pids_refused or 0) > (
            seen.oom_kills or 0,
            seen.pids_refused or 0,
        ):
            found[process.cgroup.path] = process.cgroup
    return [*found.values()]


def tightest(case: Case) -> CgroupOfProcess | None:
    """Return the group with the lowest memory limit that is below the host's memory; None without one."""
    total = case.host.memory.total_bytes or 1 << 62
    limited = [c for c in groups(case) if c.memory_limit_bytes is not None and c.memory_limit_bytes < total]
    return min(limited, key=lambda c: c.memory_limit_bytes or 0, default=None)


def largest(case: Case) -> tuple[ObservedProcess, int] | None:
    """Return the process with the largest resident memory that was seen, and its size."""
    peaks = [(max(m.resident_bytes for m in p.memory), n) for n, p in enumerate(case.program.processes) if p.memory]
    if not peaks:
        return None
    most, n = max(peaks)
    return case.program.processes[n], most


def peak_words(case: Case, group: CgroupOfProcess | None) -> str:
    """Return what was in use at most, as sentences with a space behind."""
    words = ""
    most = largest(case)
    if most is not None:
        words += f"Its largest process (PID {most[0].pid}, {clean(most[0].name)}) had {size(most[1])} resident. "
    if group is not None and group.memory_peak_bytes:
        words += f"The group had {size(group.memory_peak_bytes)} at most. "
    return words


def died_of_memory(case: Case, heard: Heard) -> bool:
    """Return whether it ended as what the kernel kills for want of memory does."""
    return bool({"killed", "worker"} & set(heard)) or ended_by(case.program.ending) == "SIGKILL"


def kills_unknown(case: Case) -> str:
    """Return what is known of the kernel's kills for want of memory."""
    if case.program.oom_kills is None and all(c.oom_kills is None for c in groups(case)):
        return "Whether the kernel did so for lack of memory is not known here: 'journalctl -k | grep -i oom' says."
    return "The kernel counted no kill for lack of memory meanwhile."


def looked_at(case: Case) -> str:
    """Return the figures that were looked at, in a sentence."""
    program, parts = case.program, []
    most, group = largest(case), tightest(case)
    if most is not None:
        limit = size(group.memory_limit_bytes if group else case.host.memory.total_bytes)
        parts.append(f"memory {size(most[1])} in the largest process, of {limit}")
    files = max((p.most_open_files or 0 for p in program.processes), default=0)
    allowed = min((p.limits.open_files for p in program.processes if p.limits.open_files), default=None)
    if files:
        parts.append(f"{files} open files in one process, of {allowed if allowed else 'any number'}")
    threads = sum(p.most_threads for p in program.processes)
    tasks_ = min((c.pids_limit for c in groups(case) if c.pids_limit is not None), default=None)
    parts.append(plural(threads, "thread") + (f", of {tasks_} tasks" if tasks_ is not None else ""))
    shm = program.shared_memory
    if shm.peak_bytes is not None:
        parts.append(f"{clean(shm.path)} {size(shm.peak_bytes)}, of {size(shm.size_bytes)}")
    unknown = all(c.oom_kills is None for c in groups(case)) and program.oom_kills is None
    parts += ["whether the kernel killed it is not known here"] if unknown else ["no kill by the kernel"]
    return "; ".join(parts)
