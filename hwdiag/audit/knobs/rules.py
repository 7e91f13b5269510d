"""The rules that entries share: which value is wanted, what speaks for a change, what is wrong with a value."""

from __future__ import annotations

from hwdiag.audit.knobs.model import KnobCase, Rule

GIB = 2**30


# Wanted values


def fixed(value: str) -> Rule:
    """Return a rule: this value, unless the person gave another."""
    return lambda case: case.value or value


def given(case: KnobCase) -> str | None:
    """Return the value that the person gave, and nothing else."""
    return case.value


def at_least(value: int) -> Rule:
    """Raise to this; never lower what is there, unless the person asks."""
    return lambda case: case.value or (str(value) if case.number is not None and case.number < value else None)


def on_numa(value: str) -> Rule:
    """Return a rule: this value where there is more than one NUMA node."""
    return lambda case: (case.value or value) if len(case.host.numa) > 1 else None


# What speaks for a change


def symptom(name: str) -> Rule:
    """Return a rule: the symptom, where it was seen here."""
    return lambda case: case.symptoms.get(name)


def symptom_of_target(name: str) -> Rule:
    """Return a rule: the symptom, where it was seen of this disk or GPU."""
    return lambda case: case.symptoms.get(f"{name}:{case.setting.target}")


# What is wrong with a value


def differs_from(*fine: str, because: str) -> Rule:
    """Return a rule: the reason, where the value is none of these."""
    return lambda case: because.format(now=case.now) if case.now and case.now not in fine else None


def equals(*bad: str, because: str) -> Rule:
    """Return a rule: the reason, where the value is one of these."""
    return lambda case: because.format(now=case.now) if case.now in bad else None


def more_than(limit: int, because: str) -> Rule:
    """Return a rule: the reason, where the value is above this number."""
    return lambda case: because.format(now=case.now) if case.number is not None and case.number > limit else None


def present(because: str) -> Rule:
    """Return a rule: the reason, where the setting is there at all."""
    return lambda case: because.format(now=case.now, where=case.setting.where) if case.setting.now else None


# Facts that several entries ask for


def swaps_to_memory(case: KnobCase) -> bool:
    """Return whether swap lies in compressed memory (zram, zswap), where reading it back is cheap."""
    return case.others.get("/sys/module/zswap/parameters/enabled") == "Y" or any(
        where.startswith("/sys/block/zram") and size != "0" for where, size in case.others.items()
    )


def unified_memory(case: KnobCase) -> bool:
    """Return whether a GPU that programs compute on takes its memory from the host's."""
    return any(g.unified_memory for g in case.host.accelerators)
