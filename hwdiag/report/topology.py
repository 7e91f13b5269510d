"""The host in one picture: sockets, NUMA nodes, last-level caches, cores and what hangs on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from hwdiag.host.cpulist import format_cpulist
from hwdiag.host.model import Cache, Disk, Gpu, Host, LogicalCpu, NumaNode
from hwdiag.report import svg
from hwdiag.report.figure import Figure
from hwdiag.report.format import UNKNOWN, cache_size, clean, disk_size, plural, size
from hwdiag.report.host_table import node_memory
from hwdiag.report.layout import Drawable, Layout, cells, columns, frame, line, stack

WIDEST = 944
NARROWEST = 480
PAD = 20
NUMBERED = 128
"""Up to so many CPUs every one carries its number; above, each cache says the range of its CPUs."""
MOST_DEVICES = 12

_KIND_LOOKS = (("#d6e8f7", "#2f6c9e"), ("#d9f0e4", "#237a57"), ("#f9ecd2", "#946200"), ("#f3e1ec", "#8c4a72"))
"""Fill and edge of the cores of each kind. Their names are written beside them: colour only helps the eye."""
_GPU_LOOK: dict[str, Any] = {"fill": "#fbf1dc", "stroke": "#b07a12", "rx": 5}
_NODE_LOOK: dict[str, Any] = {"fill": svg.CARD, "stroke": svg.LINE, "rx": 7}
_SOCKET_LOOK: dict[str, Any] = {"fill": "#f1f4f7", "stroke": svg.LINE, "rx": 9}
_CACHE_LOOK: dict[str, Any] = {"fill": "#f6f8fa", "stroke": "#dde3e9", "rx": 5}
_HATCH = "topology-hatch"


def draw_topology(host: Host) -> Figure:
    """Draw sockets, NUMA nodes with their memory, last-level caches, cores, GPUs and disks of a host."""
    body = stack(_levels(host), 14)
    width = WIDEST
    block = body(WIDEST - 2 * PAD)
    assert block is not None, "every part can be cut down to the full width"
    width = max(NARROWEST, round(block.width) + 2 * PAD)
    height = round(block.height) + 2 * PAD
    root = svg.new(width, height)
    _hatch(root)
    svg.add(root, "rect", x=0.5, y=0.5, width=width - 1, height=height - 1, rx=12, fill=svg.CARD, stroke=svg.LINE)
    block.draw(root, PAD, PAD, width - 2 * PAD, block.height)
    alt = _alt(host)
    svg.describe(root, "topology", f"Topology of {host.label}", alt)
    return Figure("topology", alt, _caption(host), svg.serialise(root))


def _levels(host: Host) -> list[Layout]:
    """Return the drawing from top to bottom."""
    parts: list[Layout] = [stack([line(_name(host), font=16, font_weight=600), _muted(_summary(host))], 2)]
    if host.cpu.logical:
        parts.append(_machine(host))
    else:
        parts.append(_muted("Which CPU belongs to which core is unknown."))
    memory_only = [_memory_node(n, host) for n in host.numa if not n.cpus and n.memory_bytes != 0]
    if memory_only:
        parts.append(columns(memory_only, 12))
    homes = {n.id for n in host.numa if n.cpus or n.memory_bytes != 0}
    loose = [g for g in host.gpus if g.node not in homes]
    if loose:
        parts.append(_gpus(loose))
    if host.disks:
        parts.append(_limited([_disk(d) for d in host.disks], "disk"))
    if host.cpu.logical:
        parts.append(_legend(host))
    return parts


def _name(host: Host) -> str:
    return host.cpu.model or host.system.product or f"{host.system.arch} processor"


def _summary(host: Host) -> str:
    """Return the host in one line: ``2 sockets · 24 cores · 48 CPUs · 256 GiB``."""
    cpu = host.cpu
    parts = [
        plural(cpu.sockets, "socket") if cpu.sockets else "",
        plural(cpu.cores, "core") if cpu.cores else "",
        plural(len(cpu.online), "CPU"),
        f"{size(host.memory.total_bytes)} memory",
    ]
    return " · ".join(p for p in parts if p)


def _muted(text: str, font: float = 12.5) -> Layout:
    return line(text, font=font, fill_opacity=0.78)


# Sockets, nodes, caches


def _machine(host: Host) -> Layout:
    """Return one box per socket, or one for all where a hypervisor made every core a socket of its own."""
    sockets = _group(host.cpu.logical, lambda c: c.socket)
    if len(sockets) > 2 and all(len({c.core for c in cpus}) == 1 for cpus in sockets.values()):
        title = line(f"{len(sockets)} sockets of one core each", font=13)
        return frame(stack([title, _nodes(host, host.cpu.logical)], 8), 10, **_SOCKET_LOOK)
    return columns([_socket(host, number, cpus) for number, cpus in sockets.items()], 14, most=2)


def _group(cpus: Iterable[LogicalCpu], key: Callable[[LogicalCpu], int | None]) -> dict[int | None, list[LogicalCpu]]:
    """Return CPUs grouped by what they have in common, in the order of each group's first."""
    groups: dict[int | None, list[LogicalCpu]] = {}
    for cpu in sorted(cpus, key=lambda c: c.id):
        groups.setdefault(key(cpu), []).append(cpu)
    return groups


def _socket(host: Host, number: int | None, cpus: Sequence[LogicalCpu]) -> Layout:
    cores = len({c.core for c in cpus})
    title = line(f"Socket {number}", plural(cores, "core"), font=13, font_weight=600)
    return frame(stack([title, _nodes(host, cpus)], 8, fill=True), 10, **_SOCKET_LOOK)


def _nodes(host: Host, cpus: Sequence[LogicalCpu]) -> Layout:
    """Return the NUMA nodes among these CPUs: a node's box where the node is known, else only its caches."""
    known = {n.id: n for n in host.numa}
    parts = []
    for number, members in _group(cpus, lambda c: c.node).items():
        node = known.get(number) if number is not None else None
        parts.append(_caches(host, members) if node is None else _node(host, node, members))
    return columns(parts, 10)


def _node(host: Host, node: NumaNode, cpus: Sequence[LogicalCpu]) -> Layout:
    """Return the box of one NUMA node, or of its part in this socket."""
    whole = set(node.cpus) <= {c.id for c in cpus}
    name = f"NUMA node {node.id}" + ("" if whole else ", spans sockets")
    parts = [line(name, _node_memory(host, node), font=12, font_weight=600), _caches(host, cpus)]
    gpus = [g for g in host.gpus if g.node == node.id]
    if gpus and min(node.cpus) in {c.id for c in cpus}:
        parts.append(_gpus(gpus))
    return frame(stack(parts, 8), 10, **_NODE_LOOK)


def _node_memory(host: Host, node: NumaNode) -> str:
    text = node_memory(host, node)
    allowed = host.limits.mems
    return text if allowed is None or node.id in allowed else f"{text}, not allowed"


def _memory_node(node: NumaNode, host: Host) -> Layout:
    parts = [line(f"NUMA node {node.id}, memory only", _node_memory(host, node), font=12, font_weight=600)]
    gpus = [g for g in host.gpus if g.node == node.id]
    if gpus:
        parts.append(_gpus(gpus))
    return frame(stack(parts, 8), 10, **_NODE_LOOK)


def _caches(host: Host, cpus: Sequence[LogicalCpu]) -> Layout:
    """Return cores grouped by the last-level cache that they share."""
    of_cpu = {cpu: index for index, cache in enumerate(host.cpu.llc) for cpu in cache.cpus}
    groups = _group(cpus, lambda c: of_cpu.get(c.id))
    if len(groups) > 1 and all(len({c.core for c in members}) == 1 for members in groups.values()):
        caches = [host.cpu.llc[i] for i in groups if i is not None]
        return _cores_under(host, cpus, _private_label(caches))
    parts = [_cores_under(host, members, _cache_label(host, index, members)) for index, members in groups.items()]
    return columns(parts, 8, most=8)


def _cache_label(host: Host, index: int | None, members: Sequence[LogicalCpu]) -> str:
    if index is None:
        return "shared cache unknown"
    cache = host.cpu.llc[index]
    partly = not set(cache.cpus) <= {c.id for c in members}
    return f"L{cache.level} {cache_size(cache.size_bytes)}" + (", spans nodes" if partly else "")


def _private_label(caches: Sequence[Cache]) -> str:
    """Return the label of a last-level cache that belongs to a single core, as on server Arm and in many virtual
    machines."""
    labels = sorted({f"L{c.level} {cache_size(c.size_bytes)} per core" for c in caches})
    return ", ".join(labels) or "shared cache unknown"


def _cores_under(host: Host, cpus: Sequence[LogicalCpu], label: str) -> Layout:
    """Return the cores below one cache, those of each kind together."""
    numbered = len(host.cpu.online) <= NUMBERED
    parts: list[Layout] = [line(label, font=11.5)]
    if not numbered:
        parts.append(_muted(f"CPUs {format_cpulist(c.id for c in cpus)}", 10.5))
    for kind, members in sorted(_group(cpus, lambda c: c.kind).items(), key=lambda item: item[0] or 0):
        grid = _core_grid(host, kind or 0, members, numbered)
        if len(host.cpu.kinds) > 1:
            grid = stack([line(_kind_label(host, kind or 0, members), font=11.5, font_weight=600), grid], 4)
        parts.append(grid)
    return frame(stack(parts, 6), 8, **_CACHE_LOOK)


def _kind_label(host: Host, kind: int, members: Sequence[LogicalCpu]) -> str:
    """Return the label of a kind of cores: ``P-core x 8, up to 5.2 GHz``."""
    name = host.cpu.kinds[kind].name if kind < len(host.cpu.kinds) else "other cores"
    mhz = host.cpu.kinds[kind].max_mhz if kind < len(host.cpu.kinds) else None
    return f"{name} × {len({c.core for c in members})}" + (f", up to {mhz / 1000:.1f} GHz" if mhz else "")


# Cores


def _core_grid(host: Host, kind: int, cpus: Sequence[LogicalCpu], numbered: bool) -> Layout:
    cores = list(_group(cpus, lambda c: c.core).values())
    threads = max(len(core) for core in cores)
    usable = set(host.usable_cpus)
    looks = _KIND_LOOKS[kind % len(_KIND_LOOKS)]
    if numbered:
        wide = 29 if max(host.cpu.online) < 1000 else 36
        height = threads * 21 + 3
        return cells(len(cores), wide, height, 3, lambda g, i, x, y: _core(g, cores[i], x, y, wide, usable, looks))
    side = max(11, threads * 5 + 1)
    return cells(len(cores), 11, side, 3, lambda g, i, x, y: _small_core(g, cores[i], x, y, side, usable, looks))


def _core(parent: Element, core: Sequence[LogicalCpu], x: float, y: float, width: float, usable: set[int],
          looks: tuple[str, str]) -> None:  # fmt: skip
    """Draw a core as a box, with its hardware threads as numbered cells."""
    height = len(core) * 21 + 3
    svg.add(parent, "rect", x=x, y=y, width=width, height=height, rx=4, fill=svg.CARD, stroke=looks[1])
    for i, cpu in enumerate(core):
        top = y + 3 + i * 21
        free = cpu.id in usable
        svg.add(parent, "rect", x=x + 3, y=top, width=width - 6, height=18, rx=2, **_cell_look(free, looks))
        attributes: dict[str, Any] = {} if free else {"paint_order": "stroke", "stroke": svg.CARD, "stroke_width": 4}
        svg.add(parent, "text", str(cpu.id), x=x + width / 2, y=top + 13, text_anchor="middle", font_size=11,
                fill=svg.INK if free else svg.MUTED, **attributes)  # fmt: skip


def _small_core(parent: Element, core: Sequence[LogicalCpu], x: float, y: float, side: float, usable: set[int],
                looks: tuple[str, str]) -> None:  # fmt: skip
    """Draw a core as a cell, with its hardware threads as stripes."""
    each = side / len(core)
    for i, cpu in enumerate(core):
        look = _cell_look(cpu.id in usable, looks) | {"stroke": looks[1], "stroke_width": 0.8}
        svg.add(parent, "rect", x=x, y=y + i * each, width=11, height=each, **look)


def _cell_look(usable: bool, looks: tuple[str, str]) -> dict[str, Any]:
    if usable:
        return {"fill": looks[0]}
    return {"fill": f"url(#{_HATCH})", "stroke": "#8b96a3", "stroke_width": 0.8, "stroke_dasharray": "3 2"}


def _hatch(root: Element) -> None:
    """Define the hatching of CPUs that may not be used, which is seen without colour and in print."""
    pattern = svg.add(svg.add(root, "defs"), "pattern", id=_HATCH, width=5, height=5, patternUnits="userSpaceOnUse",
                      patternTransform="rotate(45)")  # fmt: skip
    svg.add(pattern, "rect", width=5, height=5, fill=svg.CARD)
    svg.add(pattern, "rect", width=1.6, height=5, fill="#b9c1ca")


# GPUs and disks


def _gpus(gpus: Sequence[Gpu]) -> Layout:
    return _limited([_gpu(g) for g in gpus], "GPU")


def _gpu(gpu: Gpu) -> Layout:
    facts = [
        "unified memory, shared with the CPU" if gpu.unified_memory else size(gpu.memory_bytes),
        _pcie(gpu),
        f"compute capability {gpu.compute_capability}" if gpu.compute_capability else "",
    ]
    name = line(f"GPU {gpu.index}: {gpu.name}", font=12, font_weight=600)
    return frame(stack([name, _muted(" · ".join(f for f in facts if f), 11)], 1), 8, **_GPU_LOOK)


def _pcie(gpu: Gpu) -> str:
    if gpu.pcie_generation is None or gpu.pcie_width is None or gpu.unified_memory:
        return ""  # an integrated GPU's link carries no data
    return f"PCIe {gpu.pcie_generation} x{gpu.pcie_width}"


def _disk(disk: Disk) -> Layout:
    name = line(f"{disk.name}: {_disk_kind(disk)}, {disk_size(disk.size_bytes)}", font=11.5, font_weight=600)
    parts = [name] + ([_muted(disk.model, 11)] if disk.model and clean(disk.model) else [])
    return frame(stack(parts, 1), 8, **_NODE_LOOK)


def _disk_kind(disk: Disk) -> str:
    kind = {"nvme": "NVMe", "sata": "SATA", "scsi": "SCSI", "virtio": "virtio", "mmc": "MMC", "xen": "Xen"}
    spins = {True: " hard disk", False: " SSD", None: " disk"}[disk.rotational]
    if disk.kind in ("virtio", "xen", "other"):  # a hypervisor's disk says nothing true about what it is made of
        spins = " disk"
    return (kind.get(disk.kind, "") + spins).strip()


def _limited(parts: list[Layout], noun: str) -> Layout:
    """Return at most a dozen boxes, and a line with how many more there are."""
    if len(parts) <= MOST_DEVICES:
        return columns(parts, 10)
    more = _muted(f"and {plural(len(parts) - MOST_DEVICES, 'more ' + noun)}", 11)
    return stack([columns(parts[:MOST_DEVICES], 10), more], 6)


# Words


def _legend(host: Host) -> Layout:
    """Return the legend of the cells that are in the drawing."""
    smt = " Its cells are the hardware threads (SMT)." if host.cpu.smt else ""
    words = f"Each box is a core.{smt}" if len(host.cpu.online) <= NUMBERED else _small_text(host)
    parts = [_muted(words, 11)]
    blocked = set(host.cpu.online) - set(host.usable_cpus)
    if blocked:
        parts.append(_sample(f"{plural(len(blocked), 'CPU')} that this process may not use"))
    if host.cpu.offline:
        parts.append(_muted(f"Offline, not drawn: CPUs {format_cpulist(host.cpu.offline)}", 11))
    return stack(parts, 3)


def _small_text(host: Host) -> str:
    return "Each small box is a core" + (", each stripe in it a hardware thread (SMT)." if host.cpu.smt else ".")


def _sample(words: str) -> Layout:
    """Return a hatched cell with its meaning."""
    text = _muted(words, 11)

    def place(available: float) -> Drawable | None:
        inner = text(available - 22)
        if inner is None:
            return None

        def draw(parent: Element, x: float, y: float, w: float, h: float) -> None:
            svg.add(parent, "rect", x=x + 0.5, y=y + 2, width=14, height=12, rx=2, **_cell_look(False, _KIND_LOOKS[0]))
            inner.draw(parent, x + 22, y, w - 22, h)

        return Drawable(inner.width + 22, inner.height, draw)

    return place


def _caption(host: Host) -> str:
    blocked = set(host.cpu.online) - set(host.usable_cpus)
    hatched = " Hatched CPUs exist, but this process may not use them." if blocked else ""
    return f"{clean(host.label)}: CPUs in one box share a core, a cache, a NUMA node or a socket.{hatched}"


def _alt(host: Host) -> str:
    """Return the drawing in sentences."""
    sentences = [f"{clean(host.label)}: {clean(_name(host))}, {_summary(host).replace(' · ', ', ')}."]
    if len(host.usable_cpus) < len(host.cpu.online):
        sentences.append(f"This process may use {len(host.usable_cpus)} of them: {format_cpulist(host.usable_cpus)}.")
    if len(host.cpu.kinds) > 1:
        kinds = (f"{k.cores} {clean(k.name)} (CPUs {format_cpulist(k.cpus)})" for k in host.cpu.kinds)
        sentences.append(f"Kinds of cores: {', '.join(kinds)}.")
    sentences += [_node_text(host, n) for n in host.numa]
    if host.cpu.llc:
        sizes = sorted({f"L{c.level} {cache_size(c.size_bytes)}" for c in host.cpu.llc})
        sentences.append(f"{plural(len(host.cpu.llc), 'last-level cache')}: {', '.join(sizes)}.")
    sentences += [f"GPU {g.index}: {clean(g.name)}, {_gpu_memory(g)}." for g in host.gpus]
    if host.disks:
        disks = (f"{clean(d.name)} {disk_size(d.size_bytes)}" for d in host.disks)
        sentences.append(f"{plural(len(host.disks), 'disk')}: {', '.join(disks)}.")
    return " ".join(sentences)


def _node_text(host: Host, node: NumaNode) -> str:
    cpus = f"CPUs {format_cpulist(node.cpus)}" if node.cpus else "no CPUs"
    found = node_memory(host, node)
    memory = f"{UNKNOWN} memory" if "unknown" in found else f"{found} memory"
    return f"NUMA node {node.id}: {cpus}, {memory}."


def _gpu_memory(gpu: Gpu) -> str:
    return "memory shared with the CPU" if gpu.unified_memory else f"{size(gpu.memory_bytes)} memory"
