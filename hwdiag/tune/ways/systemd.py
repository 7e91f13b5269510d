"""A systemd service: CPUAffinity, NUMAPolicy and Environment of systemd.exec(5), from version 243 on."""

from __future__ import annotations

from collections.abc import Iterator

from hwdiag.core.files import File
from hwdiag.core.jinja import systemd_word
from hwdiag.host.cpulist import format_cpulist
from hwdiag.process.launch import Launch
from hwdiag.tune.way import Start, Way

UNIT = "hwdiag-program"


def files(start: Start) -> Iterator[File]:
    """Yield the unit; of several instances a template, and for each what binds it."""
    several = len(start.members) > 1
    unit = f"{UNIT}@" if several else UNIT
    name = f"{UNIT}@{{0..{len(start.members) - 1}}}" if several else UNIT
    own = () if several else binding(start.members[0])
    what = f"A systemd unit{' of which each instance is bound by itself' if several else ''}"
    yield File(path=f"{unit}.service", text=unit_text(start, unit, name, own), what=what)
    for i, member in enumerate(start.members if several else ()):
        text = "\n".join(["[Service]", f"Environment=HWDIAG_INSTANCE={i}", *binding(member), ""])
        yield File(path=f"{UNIT}@{i}.service.d/binding.conf", text=text, what=f"The CPUs of instance {i}")


def unit_text(start: Start, unit: str, name: str, own: tuple[str, ...]) -> str:
    """Return the unit's text."""
    several = len(start.members) > 1
    lines = [
        "#",
        f"# Install:    cp -r {unit}* ~/.config/systemd/user/ && systemctl --user daemon-reload",
        f"# Start:      systemctl --user start {name}",
        f"# Take back:  systemctl --user stop '{unit}{'*' if several else ''}' && rm -r ~/.config/systemd/user/{unit}*",
        "",
        "[Unit]",
        f"Description=Program {'%i of ' + str(len(start.members)) + ' ' if several else ''}started as hwdiag measured",
        "",
        "[Service]",
        *([f"Environment=HWDIAG_INSTANCES={len(start.members)}"] if several else []),
        *(f"Environment={assignment(n, v)}" for n, v in start.environment.items()),
        *([f"UnsetEnvironment={' '.join(start.unset)}"] if start.unset else []),
        *own,
        *(f"WorkingDirectory={path}" for path in path_words(start)),
        f"ExecStart={' '.join(map(systemd_word, absolute(start)))}",
        "Restart=on-failure",
        "",
        "[Install]",
        "WantedBy=default.target",
        "",
    ]
    return start.header() + "\n".join(lines)


def binding(member: Launch) -> tuple[str, ...]:
    """Return the lines that bind one process."""
    lines = [] if member.cpus is None else [f"CPUAffinity={format_cpulist(member.cpus)}"]
    if member.memory is not None:
        lines += [f"NUMAPolicy={member.memory.mode}", f"NUMAMask={format_cpulist(member.memory.nodes)}"]
    return tuple(lines)


def assignment(name: str, value: str) -> str:
    """Return one assignment of Environment=, in which a dollar sign is itself and a percent sign is doubled."""
    return systemd_word(f"{name}={value}").replace("$$", "$")


def path_words(start: Start) -> tuple[str, ...]:
    """Return the folder to start in as WorkingDirectory= takes it, percent signs doubled; none for a path that systemd
    would read as more than one line."""
    path = str(start.folder or "")
    return (path.replace("%", "%%"),) if path.isprintable() and path and not path.endswith("\\") else ()


def absolute(start: Start) -> tuple[str, ...]:
    """Return the command with its program's path made absolute where it is a relative one, as systemd wants it."""
    program, *rest = start.words
    if "/" in program and not program.startswith("/") and start.folder is not None:
        program = str(start.folder / program)
    return (program, *rest)


WAY = Way("systemd", "a systemd service", files)
