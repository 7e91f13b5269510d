"""The CPU scheduler: what guides change there does nothing, or is gone."""

from __future__ import annotations

from hwdiag.audit.kinds.file import Files
from hwdiag.audit.kinds.mention import Mention
from hwdiag.audit.knobs.model import Knob
from hwdiag.audit.knobs.rules import equals, present

BOOT_FILES = ("/etc/sysctl.d", "/etc/sysctl.conf")

KNOBS = (
    Knob(
        id="sched.autogroup",
        group="scheduler",
        what="Group processes by terminal, for a desktop's sake.",
        source=Files(path="/proc/sys/kernel/sched_autogroup_enabled"),
        known="Whatever systemd starts is in a cgroup, which overrides it: turning it off does nothing for a service. "
        "CPUWeight= of the unit is what counts.",
        evidence="folklore",
        link="sched(7), the autogroup feature",
        objection=equals("0", because="sched_autogroup_enabled is 0: it does nothing for services and harms a desktop"),
        severity="note",
    ),
    Knob(
        id="sched.migration_cost",
        group="scheduler",
        what="How long a process counts as warm in a CPU's cache.",
        source=Mention(
            folders=BOOT_FILES, pattern=r"-?kernel[./]sched_(migration_cost|min_granularity|wakeup_granularity)"
        ),
        known="No sysctl since Linux 5.13.",
        evidence="folklore",
        link="https://docs.kernel.org/scheduler/sched-design-CFS.html",
        objection=present("{where} sets '{now}', which Linux has no longer had since 5.13"),
        severity="note",
    ),
)
