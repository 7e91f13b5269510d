"""Sockets. None of these changes training or local inference; they are for measured trouble of servers only."""

from __future__ import annotations

from hwdiag.audit.kinds.file import Files
from hwdiag.audit.knobs.model import Knob, KnobCase, Rule
from hwdiag.audit.knobs.rules import at_least, differs_from, fixed, more_than, symptom

CORE, IPV4 = "/proc/sys/net/core", "/proc/sys/net/ipv4"
IP = "https://docs.kernel.org/networking/ip-sysctl.html"
NET = "https://docs.kernel.org/admin-guide/sysctl/net.html"
LARGE = 16 << 20
"""16 MiB: what one stream at 1 Gbit/s over 130 ms holds."""
MIB = 1 << 20


def larger_third(most: int) -> Rule:
    """Return three numbers, of which the last is raised and never lowered."""

    def rule(case: KnobCase) -> str | None:
        parts = case.now.split()
        if case.value is None and (len(parts) != 3 or not all(p.isdecimal() for p in parts) or int(parts[2]) >= most):
            return None
        return case.value or f"{parts[0]} {parts[1]} {most}"

    return rule


def buffer(name: str, what: str) -> Knob:
    """Return the entry for the most that a program may ask for as a socket's buffer."""
    return Knob(
        id=f"net.{name}",
        group="network",
        what=f"The largest {what} buffer, in bytes, that a program may ask for.",
        source=Files(path=f"{CORE}/{name}"),
        known="TCP sizes its buffers by itself and ignores it. For UDP that drops packets.",
        evidence="documented",
        link=NET,
        risk="Memory for each socket.",
        wanted=at_least(LARGE),
        takes=r"\d{4,10}",
        takes_text="bytes",
        persists="sysctl",
    )


def tcp_buffer(name: str, what: str) -> Knob:
    """Return the entry for the sizes of TCP's buffers."""
    return Knob(
        id=f"net.{name}",
        group="network",
        what=f"The least, first and largest {what} buffer of a TCP connection, in bytes.",
        source=Files(path=f"{IPV4}/{name}"),
        known="For connections whose speed times delay is larger. Popular values are smaller than today's defaults, so "
        "it is only ever raised.",
        evidence="documented",
        link=IP,
        risk="Memory for each connection.",
        wanted=larger_third(2 * LARGE),
        takes=r"\d{3,8} \d{3,9} \d{4,10}",
        takes_text="three numbers of bytes",
        persists="sysctl",
    )


def large_default(name: str) -> Knob:
    """Return the reason where every socket gets a large buffer, whether it needs it or not."""
    return Knob(
        id=f"net.{name}",
        group="network",
        what="The buffer, in bytes, that each socket starts with.",
        source=Files(path=f"{CORE}/{name}"),
        known="Every UDP and raw socket gets it. TCP does not.",
        evidence="folklore",
        link=NET,
        objection=more_than(MIB - 1, f"{name} is {{now}} bytes, for every UDP and raw socket: memory without a gain"),
        severity="note",
    )


KNOBS = (
    buffer("rmem_max", "receive"),
    buffer("wmem_max", "send"),
    tcp_buffer("tcp_rmem", "receive"),
    tcp_buffer("tcp_wmem", "send"),
    large_default("rmem_default"),
    large_default("wmem_default"),
    Knob(
        id="net.tcp_slow_start",
        group="network",
        what="Whether a TCP connection starts slowly again after a pause.",
        source=Files(path=f"{IPV4}/tcp_slow_start_after_idle"),
        known="For large answers to far clients. On a local network it is not to be seen.",
        evidence="documented",
        link=IP,
        risk="Bursts that a slow link drops.",
        wanted=fixed("0"),
        takes="[01]",
        takes_text="0 or 1",
        persists="sysctl",
    ),
    Knob(
        id="net.backlog",
        group="network",
        what="How many packets may wait for a CPU.",
        source=Files(path=f"{CORE}/netdev_max_backlog"),
        known="Matters only where /proc/net/softnet_stat counts dropped packets.",
        evidence="documented",
        link=NET,
        risk="More delay when it is full.",
        wanted=at_least(5000),
        takes=r"\d{3,6}",
        takes_text="a number of packets",
        trigger=symptom("dropped-packets"),
        persists="sysctl",
    ),
    Knob(
        id="net.tcp_fastopen",
        group="network",
        what="Sending data with the first packet of a TCP connection.",
        source=Files(path=f"{IPV4}/tcp_fastopen"),
        known="The program must ask for it, and aiohttp and asyncio, so ComfyUI too, do not. Some firewalls drop such "
        "packets.",
        evidence="folklore",
        link=IP,
        objection=differs_from("1", "0", because="tcp_fastopen is {now}: no Python server uses it, so it does nothing"),
        severity="note",
    ),
)
