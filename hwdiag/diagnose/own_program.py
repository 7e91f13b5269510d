"""A person's own program in place of the workloads: what is measured of it, and how often it must run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hwdiag.core.errors import UsageError
from hwdiag.core.text import plural
from hwdiag.experiment.budget import BUDGETS, Budget
from hwdiag.experiment.campaign import MOST_AT_ONCE, Campaign
from hwdiag.experiment.lever import DEFAULT, Factor
from hwdiag.experiment.model import Workload
from hwdiag.experiment.statistics import MIN_PAIRS
from hwdiag.parameters.diagnosis import Profile, require_program, user_file_path
from hwdiag.process.model import Command
from hwdiag.tune.user_workloads import command_workload, file_workload


def user_workloads(profile: Profile) -> tuple[Workload, ...]:
    """Return the user's own workloads, which are measured in place of the catalogue. Raises ``UsageError`` where the
    file is missing."""
    if profile.command is not None:
        require_program(profile.command)
        command = Command(
            argv=profile.command,
            metric=profile.metric,
            metric_json=profile.metric_json,
            higher_is_better=profile.higher_is_better,
            timeout_s=profile.command_timeout,
        )
        return (command_workload(command),)
    path = user_file_path(profile)
    return () if path is None else (file_workload(path),)


def budget_of(profile: Profile) -> Budget:
    """Return the budget that a profile asks for."""
    return BUDGETS[profile.budget].lasting(profile.minutes)


def least_runs(budget: Budget, factors: Sequence[Factor]) -> int:
    """Return the number of processes, one after the other, that a whole search needs: the noise, each option once, and
    the confirmation."""
    options = sum(len(factor.levers) for factor in factors)
    beside = math.ceil(options / (MOST_AT_ONCE - 1))  # today's default in each block
    return 2 * budget.noise_blocks + options + beside + 2 * MIN_PAIRS


def runs_of_command(profile: Profile, factors: Sequence[Factor]) -> str:
    """Return how often the person's own command will run, in a sentence; empty where there is none."""
    if profile.command is None:
        return ""
    budget = budget_of(profile)
    minutes = plural(math.ceil(budget.total_s / 60), "minute")
    runs = least_runs(budget, factors)
    return f"the command will run some {runs} times or more, for up to {minutes} (--budget, --minutes)"


def command_runs(campaign: Campaign, workloads: Sequence[Workload], factors: Sequence[Factor]) -> bool:
    """Run it twice, which is not counted: caches are cold at first, and what it leaves may stop the second run.

    Returns:
        Whether the first run ended well.

    Raises:
        UsageError: it takes too long, or only its first run ended well.
    """
    before = campaign.remaining_s
    (first,) = campaign.run([DEFAULT], workloads, "noise")
    if not first.outcome.ok:
        return False
    took, runs = before - campaign.remaining_s, least_runs(campaign.budget, factors)
    if took * runs > campaign.budget.total_s:
        need = math.ceil(took * runs / 60)
        raise UsageError(
            f"parameter minutes: one run of the command takes {took:.3g} s and the search needs some {runs} of "
            f"them, so give it {plural(need, 'minute')} or more, not {campaign.budget.total_s / 60:.3g}"
        )
    (second,) = campaign.run([DEFAULT], workloads, "noise")
    if not second.outcome.ok:
        raise UsageError(
            f"the command ended well once, and its second run did not: {second.outcome.detail}. tune starts it "
            "again and again, so it must do the same each time: clear what it leaves behind before each run, as "
            "in: hwdiag tune -- sh -c 'rm -rf OUTPUT; exec COMMAND'"
        )
    campaign.measurements.clear()
    return True
