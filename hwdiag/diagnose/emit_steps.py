"""Steps of ``hwdiag emit``: a record and a recommendation of it in, files for the chosen ways to start programs out."""

from __future__ import annotations

from pathlib import Path

from hwdiag.core.errors import UsageError
from hwdiag.core.files import File
from hwdiag.core.finding import Recommendation
from hwdiag.core.params import suggestion
from hwdiag.diagnose.files import launch_of
from hwdiag.experiment.lever import BASELINE
from hwdiag.experiment.model import Measurement
from hwdiag.record.model import Record
from hwdiag.record.tuning import recommended_plan, tuning
from hwdiag.tune.settings_file import settings_path
from hwdiag.tune.way import IMAGE, Start
from hwdiag.tune.ways import ways

ALL = "all"


def starting(
    record: Record, folder: Path, chosen: str | None, command: tuple[str, ...], image: str | None = None
) -> Start:
    """Return the start of a program by a recommendation of a record.

    Args:
        record: that has it.
        folder: where the record is, with its scripts.
        chosen: the recommendation's id; None takes the overall one.
        command: the person's; empty takes the one that was measured, where it was one.
        image: of containers.

    Raises:
        UsageError: the record has no such recommendation.
    """
    recommendation = find(record, chosen or "launch-overall")
    plan = recommendation.plan or BASELINE
    found = tuning(record)
    chosen_plan = recommended_plan(record, recommendation)
    own = next((w.command.argv for w in found.workloads if w.command is not None), ())
    return Start(
        launch=launch_of(record, recommendation),
        recommendation=recommendation,
        host=record.host,
        scripts=(folder / "scripts").absolute(),
        made_at=record.started_at,
        command=command or tuple(own),
        folder=Path.cwd() if command else None,
        image=image or IMAGE,
        settings=Path(settings_path(recommendation)).name if chosen_plan is not None and chosen_plan.techniques else "",
        peak_bytes=peak(found.measurements, plan),
    )


def find(record: Record, name: str) -> Recommendation:
    """Return a recommendation by its id. Raises ``UsageError`` where there is none."""
    known = [r.id for r in record.recommendations if r.topic in ("tune", "")]
    for r in record.recommendations:
        if r.id == name and r.id in known:
            return r
    raise UsageError(f"the record has no recommendation {name!r}{suggestion(name, known)}")


def peak(measurements: tuple[Measurement, ...], plan: str) -> int | None:
    """Return the most memory that a process was seen to take under a plan, in bytes."""
    seen = [m.peak_rss_bytes for m in measurements if m.plan == plan and m.peak_rss_bytes is not None]
    return max(seen, default=None)


def emitted(start: Start, wanted: str) -> list[File]:
    """Return the files of the ways that are named, with commas between them, each below its way's folder.

    Raises:
        UsageError: there is no such way, or it has nothing for this Plan.
    """
    known = ways()
    names = list(dict.fromkeys(name.strip() for name in wanted.split(",")))
    for name in names:
        if name != ALL and name not in known:
            raise UsageError(f"--for takes {', '.join([*known, ALL])}, not {name!r}")
    chosen = list(known.values()) if ALL in names else [known[name] for name in names]
    files = [
        f.model_copy(update={"path": f"{way.name}/{f.path}", "what": f.what})
        for way in chosen
        for f in way.files(start)
    ]
    if not files:
        raise UsageError(f"{wanted} starts several instances, and this Plan is of one process")
    return files
