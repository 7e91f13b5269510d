"""One diagnosis of a host: facts, measurements, advice, scripts, record, report, for notebook and command line.

A Run carries a Record that grows with each step; a Replay has the same steps over a Record that is whole already.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from hwdiag.audit.audit import audit
from hwdiag.audit.emit import settings_files
from hwdiag.audit.model import Audit
from hwdiag.compat import advice as compat
from hwdiag.compat.check import survey
from hwdiag.compat.model import Survey
from hwdiag.core.errors import HwdiagError, UsageError
from hwdiag.core.files import EmittedFile, File
from hwdiag.core.finding import Check, Recommendation, of_topic, worst_first
from hwdiag.core.home import home
from hwdiag.core.text import now, plural
from hwdiag.core.value import TopicStudy
from hwdiag.diagnose.report import figures, render_report
from hwdiag.experiment.budget import BUDGETS, Budget
from hwdiag.experiment.campaign import MOST_AT_ONCE, Campaign, Progress, at_once
from hwdiag.experiment.ceilings import ceilings
from hwdiag.experiment.commands import Commands
from hwdiag.experiment.estimates import estimates
from hwdiag.experiment.lever import DEFAULT, Factor, Plan, plan_by_id
from hwdiag.experiment.model import Workload
from hwdiag.experiment.net_facts import NetFacts, describe_file
from hwdiag.experiment.statistics import MIN_PAIRS
from hwdiag.experiment.workloads import catalogue
from hwdiag.host.activity import watch
from hwdiag.host.archive import open_root
from hwdiag.host.read import read_host
from hwdiag.parameters.diagnosis import Profile, interpreter, user_file_path
from hwdiag.process.launch import Launch
from hwdiag.process.model import Command
from hwdiag.process.software import NOT_HERE, probe_software
from hwdiag.record import store
from hwdiag.record.model import Record, Topic, first_error
from hwdiag.record.store import write_file
from hwdiag.record.tuning import Tuning, tuning
from hwdiag.record.versions import versions
from hwdiag.tune.comfyui import render_comfyui
from hwdiag.tune.dispatch import build_vendor_check, has_foreign_mkl
from hwdiag.tune.emit import is_emitted, launch_files
from hwdiag.tune.evidence import Evidence
from hwdiag.tune.factors import factors
from hwdiag.tune.findings import consult, sorted_out
from hwdiag.tune.recommend import recommend, verdict
from hwdiag.tune.runtime import find_allocators
from hwdiag.tune.tune import tune
from hwdiag.tune.user_workloads import command_workload, file_workload
from hwdiag.tune.within import SWITCHES, switching_folder

DEVICE_BLOCKS = 3
"""Processes per GPU: enough to see whether they agree."""


class Diagnosis:
    """One diagnosis of this host, or a snapshot's facts of another, step by step.

    Every step gives the Record as far as it is known.
    """

    def __init__(self, profile: Profile, *, outputs: Path | None = None, progress: Progress | None = None) -> None:
        """Check the interpreter and the output folder, and read the host.

        Raises:
            UsageError: the profile's interpreter, workload file or snapshot does not exist, or the snapshot is refused.
            HwdiagError: the output folder cannot be written.
        """
        self.profile = profile
        self.progress = progress
        self.python = interpreter(profile)
        self.own = user_workloads(profile)
        self.started_at = now()
        self.root = open_root(profile.snapshot)
        host = read_host(self.root)
        shown = Path(profile.snapshot).name.partition(".")[0] if profile.snapshot else ""
        self.name = store.folder_name(profile.host, shown or host.system.hostname)
        self.outputs = outputs or home() / "outputs"
        store.require_writable(self.outputs / self.name)
        self.record = Record(
            name=self.name,
            started_at=self.started_at,
            finished_at=self.started_at,
            versions=versions(),
            params={"tune": profile.model_dump(mode="json")},
            verdict="",
            host=host,
            studies={"tune": Tuning(started_at=self.started_at)},
        )

    @cached_property
    def folder(self) -> Path:
        """Return the run's own folder. It is made when the first file is written: a run that is cut off leaves none."""
        return store.create_folder(self.outputs, self.name, self.started_at)

    def probe_software(self) -> Record:
        """Ask the target interpreter's torch what it is. On another host than this one, nobody can be asked."""
        if not self.record.host.is_here:
            return self._learn(software=NOT_HERE)
        timeout_s = self.profile.child_timeout
        software = probe_software(self.python, timeout_s=timeout_s)
        if software.outcome.kind == "not-started":
            return self._learn(software=software)
        found = survey(self.python, packages=compat.NEEDED, timeout_s=timeout_s, cpu=self.record.host.cpu.model)
        self._add("compat", found)
        return self._learn(software=software)

    def plan(self) -> Record:
        """Decide which workloads are measured, and which factors of the way to start them are tried."""
        host = self.record.host
        listed = tuple(w for w in catalogue(host) if w.name in self.profile.workloads and self._has(w))
        workloads = self.own or listed
        models = tuple(w.name for w in workloads if w.family == "model")
        facts = self._facts(workloads)
        self.factors = self._factors(workloads, facts)
        return self._tuned(
            facts=facts,
            plans=(DEFAULT, *(Plan.of(lever) for factor in self.factors for lever in factor.levers)),
            workloads=workloads,
            overall_of=models or tuple(w.name for w in workloads),
        )

    def measure(self) -> Record:
        """Measure, on the CPU and on each GPU that torch sees. Without a torch that runs here, only a command can be.

        Raises:
            UsageError: one run of the command takes too long for the time that there is.
        """
        r, study = self.record, self.study
        is_command = self.profile.command is not None
        if not (r.software.outcome.ok or is_command) or not r.host.is_here:
            return r
        budget = BUDGETS[self.profile.budget].lasting(self.profile.minutes)
        teams_of = max((len(x.launch.members) for factor in self.factors for x in factor.levers), default=1)
        campaign = Campaign(
            self.python,
            budget if self.profile.goal == "latency" else budget.for_teams(),
            seed=self.profile.seed,
            child_timeout_s=self.profile.child_timeout,
            progress=self.progress,
            most=at_once(r.host, study.workloads, teams_of),
            runner=Commands() if is_command else None,
        )
        if is_command and not self._command_runs(campaign):
            return self._tuned(measurements=tuple(campaign.measurements))
        on_gpu = [w for w in study.workloads if w.kind not in ("numpy", "onednn") and w.family != "own"]
        for i, _ in enumerate(r.software.cuda_devices if on_gpu else ()):
            for _ in range(DEVICE_BLOCKS):
                campaign.run([DEFAULT], on_gpu, "device", device=f"cuda:{i}")
        tuned = tune(
            campaign,
            self.factors,
            study.workloads,
            study.overall_of,
            self.profile.min_effect / 100,
            risky=self.profile.unsupported,
            accuracy=self.profile.accuracy,
        )
        measured = tuple(campaign.measurements)
        return self._tuned(
            measurements=measured,
            plans=tuned.plans,
            steps=tuned.steps,
            noise=tuned.noise,
            comparisons=tuned.comparisons,
            shares=tuned.shares,
            untried=tuned.untried,
            estimates=estimates(measured),
            ceilings=ceilings(measured, study.workloads),
        )

    def runs_of_command(self) -> str:
        """Return how often the person's own command will run, in a sentence; empty where there is none."""
        if self.profile.command is None:
            return ""
        budget = BUDGETS[self.profile.budget].lasting(self.profile.minutes)
        minutes = plural(math.ceil(budget.total_s / 60), "minute")
        runs = least_runs(budget, self.factors)
        return f"the command will run some {runs} times or more, for up to {minutes} (--budget, --minutes)"

    def _has(self, workload: Workload) -> bool:
        """Return whether the target interpreter has the library that the workload is about."""
        needed = {"numpy": self.record.software.numpy_version, "onednn": self.record.software.onednn}
        return workload.kind not in needed or bool(needed[workload.kind])

    def _command_runs(self, campaign: Campaign) -> bool:
        """Run it twice, which is not counted: caches are cold at first, and what it leaves may stop the second run.

        Returns:
            Whether the first run ended well.

        Raises:
            UsageError: it takes too long, or only its first run ended well.
        """
        before = campaign.remaining_s
        (first,) = campaign.run([DEFAULT], self.study.workloads, "noise")
        if not first.outcome.ok:
            return False
        took, runs = before - campaign.remaining_s, least_runs(campaign.budget, self.factors)
        if took * runs > campaign.budget.total_s:
            need = math.ceil(took * runs / 60)
            raise UsageError(
                f"parameter minutes: one run of the command takes {took:.3g} s and the search needs some {runs} of "
                f"them, so give it {plural(need, 'minute')} or more, not {campaign.budget.total_s / 60:.3g}"
            )
        (second,) = campaign.run([DEFAULT], self.study.workloads, "noise")
        if not second.outcome.ok:
            raise UsageError(
                f"the command ended well once, and its second run did not: {second.outcome.detail}. tune starts it "
                "again and again, so it must do the same each time: clear what it leaves behind before each run, as "
                "in: hwdiag tune -- sh -c 'rm -rf OUTPUT; exec COMMAND'"
            )
        campaign.measurements.clear()
        return True

    def _facts(self, workloads: Sequence[Workload]) -> NetFacts | None:
        """Ask what ``build()`` of a file of the person's own gives; None of all else."""
        path = next((w.path for w in workloads if w.path is not None), None)
        if path is None or not (self.record.host.is_here and self.record.software.outcome.ok):
            return None
        return describe_file(self.python, path, self.profile.child_timeout)

    def _factors(self, workloads: Sequence[Workload], facts: NetFacts | None) -> tuple[Factor, ...]:
        host, software, here = self.record.host, self.record.software, self.record.host.is_here
        return factors(
            host,
            software,
            workloads,
            goal=self.profile.goal,
            threads=self.profile.threads,
            allocators=find_allocators(software.prefix) if here else (),
            vendor_check=build_vendor_check(self._scratch) if here and has_foreign_mkl(host, software) else None,
            facts=facts,
            folder=switching_folder(self._scratch) if here and self.profile.command is not None else None,
        )

    @cached_property
    def _scratch(self) -> Path:
        """Return a folder for what is built to be measured. It is removed at the end of the run."""
        self._held = tempfile.TemporaryDirectory(prefix="hwdiag-")
        return Path(self._held.name)

    def advise(self) -> Record:
        """Draw findings, checks, recommendations and the verdict from the evidence."""
        r, study, compatibility = self.record, self.study, self.compatibility
        audited = audit(
            self.root,
            r.host,
            role=self.profile.role,
            activity=watch(self.root, 0),
            measurements=study.measurements,
        )
        evidence = Evidence(
            profile=self.profile,
            host=r.host,
            software=r.software,
            **{name: getattr(study, name) for name in Evidence.model_fields if name in Tuning.model_fields},
        )
        found, checks = consult(evidence)
        recommendations = recommend(evidence)
        of_packages, packages_run = sorted_out(() if compatibility is None else compat.consult(compatibility))
        if compatibility is not None and compatibility.cure is not None and not recommendations:
            plan, needed = compat.needed_plan(compatibility.cure)
            recommendations = (needed,)
            self._tuned(plans=(*study.plans, plan))
        self._add("audit", audited)
        said = (
            ("tune", found, checks),
            ("compat", of_packages, packages_run),
            ("audit", audited.findings, audited.checks),
        )
        return self._learn(
            findings=worst_first(f for topic, findings, _ in said for f in of_topic(topic, findings)),
            checks=tuple(c for topic, _, checks in said for c in of_topic(topic, (*checks, *untried(study, topic)))),
            recommendations=of_topic("tune", recommendations),
            verdict=verdict(evidence, recommendations),
        )

    def emit(self, chosen: Collection[str] | None = None) -> Record:
        """Write what is handed over: scripts of the recommendations that are ``chosen``, by their ids, and of settings.

        Where nothing was measured there is none of the first to write.
        """
        r, made_at = self.record, self.started_at
        audited = r.study("audit", Audit)
        wanted = [x for x in r.recommendations if is_emitted(x, chosen)]
        launches = {x.id: self._launch(x) for x in wanted}
        files = [
            *launch_files(
                launches,
                wanted,
                r.host,
                plans=self.study.plans,
                software=r.software,
                folder=self.folder,
                command=self.profile.command,
                made_at=made_at,
            ),
            *(settings_files(audited, r.host, made_at=made_at) if audited is not None and r.host.is_here else ()),
        ]
        if self.profile.comfyui is not None and files:
            files += self._comfyui(Path(self.profile.comfyui).expanduser().absolute())
        written = [write_file(self.folder, f) for f in files]
        libraries = {path for launch in launches.values() for path in launch.preload}
        written += [self._copy(Path(path), "A library that a launch script preloads") for path in sorted(libraries)]
        if any(launch.python_path for launch in launches.values()):
            text = (switching_folder(self._scratch) / "sitecustomize.py").read_text()
            what = "What switches torch in every Python that a launch script starts"
            written.append(self._write(f"scripts/{SWITCHES}/sitecustomize.py", text, what))
        return self._learn(files=tuple(written))

    def finish(self) -> Record:
        """Draw the figures, write the report, and last of all the record.

        Raises:
            HwdiagError: something could not be written, because the disk is full for example.
        """
        drawn = figures(self.record)
        files = [
            *self.record.files,
            *(self._write(f"figures/{f.name}.svg", f.svg, f.caption) for f in drawn),
            EmittedFile(path="report.html", what="The report, one file, readable offline"),
            EmittedFile(path=store.FILE, what="The record: all of it, for machines"),
        ]
        self._learn(files=tuple(files), finished_at=now(), complete=True)
        self._write("report.html", render_report(self.record), "")
        store.save(self.record, self.folder)
        return self.record

    @property
    def study(self) -> Tuning:
        """Return the study of the search so far."""
        return tuning(self.record)

    @property
    def compatibility(self) -> Survey | None:
        """Return how torch and numpy run here, step by step; None where they could not be asked."""
        return self.record.study("compat", Survey)

    def _learn(self, **facts: object) -> Record:
        self.record = self.record.model_copy(update=facts)
        return self.record

    def _add(self, topic: Topic, study: TopicStudy) -> Record:
        return self._learn(studies={**self.record.studies, topic: study})

    def _tuned(self, **facts: object) -> Record:
        return self._add("tune", self.study.model_copy(update=facts))

    def _comfyui(self, folder: Path) -> list[File]:
        launch = str((self.folder / "scripts" / "launch.sh").absolute())
        texts = render_comfyui(self.record.host, str(folder), self.python, launch, made_at=self.started_at)
        return [
            File(path=f"scripts/{name}", text=text, what="Start ComfyUI", executable=name.endswith(".sh"))
            for name, text in texts.items()
        ]

    def _launch(self, recommendation: Recommendation) -> Launch:
        """Return the Launch that a recommendation starts, with what torch and numpy were seen to need here."""
        launch = plan_by_id(self.study.plans, recommendation.plan or DEFAULT.id).launch
        return launch if self.compatibility is None else compat.with_cure(launch, self.compatibility.cure)

    def _copy(self, library: Path, what: str) -> EmittedFile:
        path = f"scripts/{library.name}"
        try:
            shutil.copyfile(library, self.folder / path)
        except OSError as error:
            raise HwdiagError(f"cannot write {self.folder / path}: {error.strerror}") from None
        return EmittedFile(path=path, what=what)

    def _write(self, path: str, text: str, what: str) -> EmittedFile:
        return write_file(self.folder, File(path=path, text=text, what=what))


class Replay(Diagnosis):
    """The same steps over a recorded run: nothing is read, measured or written."""

    def __init__(self, path: Path) -> None:
        """Load the record. Raises ``UsageError`` if there is none that is whole, or it holds no search for a launch."""
        self.record = store.load(path)
        self.folder = path if path.is_dir() else path.parent
        if "tune" not in self.record.studies:
            raise UsageError(f"{path} holds no search for a launch")
        try:
            self.profile = Profile.model_validate(self.record.params.get("tune", {}))
        except ValidationError as error:
            raise UsageError(f"{path}: {first_error(error, below='params.tune')}") from None

    def probe_software(self) -> Record:
        return self.record

    plan = measure = advise = finish = probe_software

    def emit(self, chosen: Collection[str] | None = None) -> Record:  # noqa: ARG002
        return self.record


def user_workloads(profile: Profile) -> tuple[Workload, ...]:
    """Return the user's own workloads, which are measured in place of the catalogue. Raises ``UsageError`` where the
    file is missing."""
    if profile.command is not None:
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


def untried(study: Tuning, topic: str) -> tuple[Check, ...]:
    """Return the levers that the search had no time for, as a check that could not be made."""
    if topic != "tune" or not study.untried:
        return ()
    title = f"Not tried for want of time: {', '.join(study.untried)}"
    return (Check(id="levers-untried", state="unchecked", title=title, detail="hwdiag tune --minutes gives more time"),)


def least_runs(budget: Budget, factors: Sequence[Factor]) -> int:
    """Return the number of processes, one after the other, that a whole search needs: the noise, each option once, and
    the confirmation."""
    options = sum(len(factor.levers) for factor in factors)
    beside = math.ceil(options / (MOST_AT_ONCE - 1))  # today's default in each block
    return 2 * budget.noise_blocks + options + beside + 2 * MIN_PAIRS


def run_all(
    profile: Profile,
    *,
    outputs: Path | None = None,
    progress: Progress | None = None,
    announce: Callable[[str], None] = lambda text: None,
) -> Diagnosis:
    """Run all steps in order and return the diagnosis.

    ``announce`` is told how often a command will run, before it does.
    """
    run = Diagnosis(profile, outputs=outputs, progress=progress)
    run.probe_software()
    run.plan()
    if text := run.runs_of_command():
        announce(text)
    for step in (run.measure, run.advise, run.emit, run.finish):
        step()
    return run
