"""All files about ways to start a program, as texts: a script for each recommendation, and units for many instances."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path, PurePath

from hwdiag.core.files import File
from hwdiag.core.finding import Recommendation
from hwdiag.experiment.lever import Plan, plan_by_id
from hwdiag.host.model import Host
from hwdiag.process.launch import Launch
from hwdiag.process.model import Software
from hwdiag.tune.instances_script import render_instances_script, render_unit, unit_path
from hwdiag.tune.launch_script import render_launch_script, script_path
from hwdiag.tune.settings_file import render_settings, settings_path


def launch_files(
    launches: Mapping[str, Launch],
    recommendations: Collection[Recommendation],
    host: Host,
    *,
    plans: Sequence[Plan],
    software: Software,
    folder: Path,
    command: tuple[str, ...] | None,
    made_at: str,
) -> Iterator[File]:
    """Yield a script for each recommendation, a unit where it starts several instances, and what a program sets itself.

    Args:
        launches: what each starts, by the recommendation's id.
        recommendations: those that were chosen.
        host: the host that they are for.
        plans: all that were tried.
        software: the torch that was measured.
        folder: the run's own, which units name their script in.
        command: the user's, if it was what was measured.
        made_at: UTC, ISO 8601.
    """
    for r in recommendations:
        launch = launches[r.id]
        render = render_instances_script if r.instances > 1 else render_launch_script
        plan = None if r.plan is None else plan_by_id(plans, r.plan)
        settings = settings_path(r) if plan is not None and plan.techniques else ""
        text = render(launch, r, host, made_at=made_at, settings=PurePath(settings).name)
        yield File(path=script_path(r), text=text, what=r.title, executable=True)
        if plan is not None and plan.techniques:
            what = "What to import in the program"
            yield File(path=settings, text=render_settings(plan, r, software, made_at=made_at), what=what)
        if r.instances > 1:
            script = (folder / script_path(r)).resolve()
            unit = render_unit(launch, r, host, script=script, command=command, made_at=made_at)
            yield File(path=unit_path(r), text=unit, what="A systemd unit that starts the instances as services")


def is_emitted(recommendation: Recommendation, chosen: Collection[str] | None) -> bool:
    """Return whether a script is written for a recommendation.

    The overall one's always is: where nothing helps, it sets nothing and says so. Of the others all that change
    something are, those of other accuracies under their own names, but for offers at a risk; or those whose ids are
    ``chosen``.
    """
    if recommendation.id == "launch-overall":
        return True
    if chosen is None:
        return recommendation.is_taken_on
    return recommendation.plan is not None and recommendation.id in chosen
