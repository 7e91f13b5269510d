"""A Kubernetes Job whose pod the static CPU manager gives CPUs of its own: whole CPUs, requests equal to limits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from hwdiag.core.files import File
from hwdiag.core.jinja import one_line
from hwdiag.process.launch import Launch
from hwdiag.tune.container import image_notes, memory_bytes, mounted, shared_memory
from hwdiag.tune.way import Start, Way, numactl

ARCH = {"x86_64": "amd64", "aarch64": "arm64"}
HUGE_PAGES = "glibc.malloc.hugetlb=2"
"""glibc takes its heap from huge pages that are set aside, which a pod must ask for."""


def files(start: Start) -> Iterator[File]:
    """Yield the Job."""
    several = f": {len(start.members)} pods at the same time" if len(start.members) > 1 else ""
    yield File(path="job.yaml", text=text(start), what=f"A Kubernetes Job{several}")


def text(start: Start) -> str:
    """Return the Job as YAML, with what the kubelet must be set to as comments."""
    notes = "".join(f"# {one_line(line)}\n" for line in (*kubelet(start), *image_notes(start)))
    return start.header() + notes + yaml.safe_dump(job(start), sort_keys=False, width=10**6)


def kubelet(start: Start) -> Iterator[str]:
    """Yield the settings of the kubelet without which CPUs are shared and memory comes from anywhere."""
    siblings = start.host.cpu.smt and start.is_bound
    yield "Of the kubelet (KubeletConfiguration), set by the cluster's admin on nodes for such work:"
    yield "  cpuManagerPolicy: static"
    if siblings:
        yield "  cpuManagerPolicyOptions: {full-pcpus-only: 'true'}"
    one_node = all(in_one_node(start, m) for m in start.members)
    yield f"  topologyManagerPolicy: {'single-numa-node' if one_node else 'best-effort'}"
    if start.binds_memory:
        yield "  memoryManagerPolicy: Static  # with reservedMemory: memory from the node of the CPUs"
    if start.is_bound:
        yield "The kubelet chooses which CPUs; numbers cannot be asked for. On this host they were:"
        yield f"  {start.launch.describe()}"
    yield f"It was measured on {start.host.label}: nodes of another kind deserve a measurement of their own."


def in_one_node(start: Start, member: Launch) -> bool:
    """Return whether one process was measured on the CPUs and the memory of one NUMA node alone, of several."""
    nodes = {n.id for n in start.host.numa if member.cpus is not None and not {*n.cpus}.isdisjoint(member.cpus)}
    return len(nodes | {*(member.memory.nodes if member.memory is not None else ())}) == 1


def job(start: Start) -> dict[str, Any]:
    """Return the Job."""
    count = len(start.members)
    indexed = {"completions": count, "parallelism": count, "completionMode": "Indexed"} if count > 1 else {}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "hwdiag-program"},
        "spec": {"backoffLimit": 0, **indexed, "template": {"spec": pod(start)}},
    }


def pod(start: Start) -> dict[str, Any]:
    """Return the pod's spec: of the class Guaranteed, as its one container asks for all that it may take."""
    arch = ARCH.get(start.host.system.arch)
    shm = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": quantity(shared_memory(start))}}
    scripts = {"name": "scripts", "hostPath": {"path": str(start.scripts), "type": "Directory"}}
    return {
        "restartPolicy": "Never",
        **({"nodeSelector": {"kubernetes.io/arch": arch}} if arch else {}),
        "containers": [container(start, start.members[0])],
        "volumes": [shm, *([scripts] if mounted(start) else [])],
    }


def container(start: Start, member: Launch) -> dict[str, Any]:
    """Return the container."""
    asked = resources(start, member)
    scripts = {"name": "scripts", "mountPath": str(start.scripts), "readOnly": True}
    policy = numactl(member) if member.memory is not None and member.memory.mode == "interleave" else ()
    return {
        "name": "program",
        "image": start.image,
        "command": [expandless(word) for word in (*policy, *start.words)],
        "env": [{"name": n, "value": expandless(v)} for n, v in start.environment.items()] + instance(start),
        "resources": {"requests": asked, "limits": dict(asked)},
        "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}, *([scripts] if mounted(start) else [])],
        **({"securityContext": {"capabilities": {"add": ["SYS_NICE"]}}} if policy else {}),
    }


def instance(start: Start) -> list[dict[str, Any]]:
    """Return the variables by which each of several pods knows its number."""
    if len(start.members) == 1:
        return []
    index = {"fieldRef": {"fieldPath": "metadata.annotations['batch.kubernetes.io/job-completion-index']"}}
    count = str(len(start.members))
    return [{"name": "HWDIAG_INSTANCE", "valueFrom": index}, {"name": "HWDIAG_INSTANCES", "value": count}]


def resources(start: Start, member: Launch) -> dict[str, str]:
    """Return what one pod asks for: whole CPUs, memory, and huge pages where the Plan takes its heap from them."""
    memory = quantity(memory_bytes(start))
    huge = HUGE_PAGES in start.environment.get("GLIBC_TUNABLES", "")
    pages = {"hugepages-2Mi": memory} if huge else {}
    return {"cpu": str(start.cpus(member)), "memory": memory, **pages}


def quantity(count: int) -> str:
    """Return bytes as Kubernetes writes them: ``3Gi``, ``512Mi``."""
    return f"{count >> 30}Gi" if count % 2**30 == 0 else f"{max(1, count >> 20)}Mi"


def expandless(word: str) -> str:
    """Return a word in which Kubernetes expands nothing: it replaces ``$(NAME)``."""
    return word.replace("$(", "$$(")


WAY = Way("kubernetes", "a Kubernetes Job", files)
