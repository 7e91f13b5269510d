"""One diagnosis of a host: facts, measurements, advice, scripts, record, report, for notebook and command line.

A Diagnosis carries a Record that grows with each step; ``replay.Replay`` has the same steps over one that is whole.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Sequence
from functools import cached_property, partial
from pathlib import Path

from hwdiag.core.files import EmittedFile, File
from hwdiag.core.home import home
from hwdiag.core.text import now
from hwdiag.core.value import TopicStudy
from hwdiag.diagnose.accelerators import gpu_of_own, measure_devices, usable_devices
from hwdiag.diagnose.causes import causes_of
from hwdiag.diagnose.conclusions import concluded
from hwdiag.diagnose.files import write_files
from hwdiag.diagnose.model import Triage
from hwdiag.diagnose.own_program import budget_of, command_runs, runs_of_command, user_workloads
from hwdiag.diagnose.report import figures, render_report
from hwdiag.diagnose.topic import Asking
from hwdiag.diagnose.topics import TOPICS
from hwdiag.diagnose.triage import BEFORE, CAUSES_SHARE, Interview, share_of
from hwdiag.experiment.campaign import Campaign, Progress, at_once
from hwdiag.experiment.ceilings import ceilings
from hwdiag.experiment.commands import Commands
from hwdiag.experiment.estimates import estimates
from hwdiag.experiment.lever import DEFAULT, Factor, Plan
from hwdiag.experiment.model import Workload
from hwdiag.experiment.net_facts import NetFacts, describe_file
from hwdiag.experiment.workloads import catalogue
from hwdiag.host.archive import open_root
from hwdiag.host.read import read_host
from hwdiag.parameters.diagnosis import Profile, interpreter
from hwdiag.process.measuring_lock import another_measures
from hwdiag.process.software import NOT_HERE, probe_software
from hwdiag.record import store
from hwdiag.record.model import Record, Topic
from hwdiag.record.store import write_file
from hwdiag.record.tuning import Tuning, tuning
from hwdiag.record.versions import versions
from hwdiag.tune.dispatch import build_vendor_check, has_foreign_mkl
from hwdiag.tune.factors import factors
from hwdiag.tune.glance import Glance, glance
from hwdiag.tune.runtime import find_allocators
from hwdiag.tune.tune import tune
from hwdiag.tune.within import switching_folder


class Diagnosis:
    """One diagnosis of this host, or a snapshot's facts of another, step by step.

    Every step gives the Record as far as it is known.
    """

    def __init__(
        self,
        profile: Profile,
        *,
        outputs: Path | None = None,
        progress: Progress | None = None,
        own_folder: bool = False,
    ) -> None:
        """Check the interpreter and the output folder, and read the host.

        ``own_folder``: the folder under outputs/ has the machine's name, whichever profile it is compared with.

        Raises:
            UsageError: the profile's interpreter, workload file or snapshot does not exist, or the snapshot is refused.
            HwdiagError: the output folder cannot be written.
        """
        self.profile = profile
        self.progress: Progress = progress or (lambda text, share: None)
        self.interview = Interview(budget_of(profile).total_s)
        self.python = interpreter(profile)
        self.own = user_workloads(profile)
        self.started_at = now()
        self.root = open_root(profile.snapshot)
        host = read_host(self.root)
        shown = Path(profile.snapshot).name.partition(".")[0] if profile.snapshot else ""
        self.name = store.folder_name("auto" if own_folder else profile.host, shown or host.system.hostname)
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
        with self.interview.counted():
            software = probe_software(self.python, timeout_s=self.profile.child_timeout)
        self._learn(software=software)
        return self.record if software.outcome.kind == "not-started" else self._ask("compat")

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
        """Ask the other topics, then measure, on the CPU and on each GPU that torch sees.

        Without a torch that runs here, only a command can be measured.

        Raises:
            UsageError: one run of the command takes too long for the time that there is.
        """
        r, is_command = self.record, self.profile.command is not None
        if not (r.software.outcome.ok or is_command) or not r.host.is_here:
            return r
        if self.own:
            self.interview.leave_out(BEFORE, "it is not about the program that was given")
        for topic in BEFORE if not self.own else ():
            self._ask(topic)
        campaign = self._campaign()
        if is_command and not command_runs(campaign, self.study.workloads, self.factors):
            return self._tuned(measurements=tuple(campaign.measurements))
        self._search(campaign, self._measure_gpus(campaign))
        measured = tuple(campaign.measurements)
        self._tuned(
            measurements=measured, estimates=estimates(measured), ceilings=ceilings(measured, self.study.workloads)
        )
        return self._tuned(looks=causes_of(self.python, self.study, self._causes_s(), self.progress))

    def _campaign(self) -> Campaign:
        """Return the campaign of this run, with the time that the questions left."""
        r, profile = self.record, self.profile
        budget = budget_of(profile)
        if profile.minutes is None:  # which is for measurements alone
            budget = budget.model_copy(update={"total_s": self.interview.measuring_s - self._causes_s()})
        teams_of = max((len(x.launch.members) for factor in self.factors for x in factor.levers), default=1)
        return Campaign(
            self.python,
            budget if profile.goal == "latency" else budget.for_teams(),
            seed=profile.seed,
            child_timeout_s=profile.child_timeout,
            progress=self.progress,
            most=partial(at_once, r.host, teams_of=teams_of, gpu=gpu_of_own(r.host, self.own)),
            runner=Commands() if profile.command is not None else None,
            ends=True,
        )

    def _causes_s(self) -> float:
        """Return the seconds for the causes of what lies far below its ceiling."""
        return CAUSES_SHARE * self.interview.total_s

    def _measure_gpus(self, campaign: Campaign) -> tuple[str, ...]:
        """Measure today's default on each GPU that torch can use; return in words what there was no time for."""
        on_gpu = [w for w in self.study.workloads if w.kind not in ("numpy", "onednn") and w.family != "own"]
        return measure_devices(campaign, usable_devices(self.record.software) if on_gpu else (), on_gpu)

    def _search(self, campaign: Campaign, left_out: tuple[str, ...]) -> None:
        """Search for the fastest plan, and look closer at the data where more may be gained by it."""
        study = self.study
        seen = self._glance(campaign)
        self._deepen(campaign, seen)
        tuned = tune(
            campaign,
            self.factors,
            study.workloads,
            study.overall_of,
            self.profile.min_effect / 100,
            risky=self.profile.unsupported,
            accuracy=self.profile.accuracy,
            seen=seen,
        )
        self._tuned(
            plans=tuned.plans,
            steps=tuned.steps,
            noise=tuned.noise,
            comparisons=tuned.comparisons,
            shares=tuned.shares,
            untried=(*left_out, *tuned.untried),
            open_levers=tuned.open_levers,
        )

    def _glance(self, campaign: Campaign) -> Glance:
        """Look once at what each accuracy may give: it decides what the time is spent on."""
        return glance(campaign, self.factors, self.study.workloads, self.study.overall_of)

    def _deepen(self, campaign: Campaign, seen: Glance) -> None:
        """Spend a share of the rest on each topic that can measure more, by what it may gain beside the search."""
        for topic, answer in [*self.interview.answers.items()]:
            if answer.deepen is not None:
                seconds = share_of(answer.hope, seen.hope) * campaign.remaining_s
                self._add(topic, self.interview.deepen(topic, seconds).study)

    def runs_of_command(self) -> str:
        """Return how often the person's own command will run, in a sentence; empty where there is none."""
        return runs_of_command(self.profile, self.factors)

    def _has(self, workload: Workload) -> bool:
        """Return whether the target interpreter has the library that the workload is about."""
        needed = {"numpy": self.record.software.numpy_version, "onednn": self.record.software.onednn}
        return workload.kind not in needed or bool(needed[workload.kind])

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
        """Judge the settings, and draw findings, checks, recommendations and the verdict from all that was found."""
        self._ask("audit")
        why = "nothing could be measured" if self.record.host.is_here else "the host is known from a snapshot only"
        self.interview.leave_out(TOPICS, why)
        total_s = self.interview.total_s if self.record.host.is_here else None
        asked = tuple(self.interview.asked[topic] for topic in TOPICS if topic in self.interview.asked)
        self._add("diagnose", Triage(started_at=self.started_at, asked=asked, total_s=total_s))
        self.record = concluded(self.record, self.profile, self.interview.answers)
        return self.record

    def emit(self, chosen: Collection[str] | None = None) -> Record:
        """Write what is handed over: scripts of the recommendations that are ``chosen``, by their ids, and of
        settings."""
        return self._learn(files=write_files(self.record, self.profile, self.python, self.folder, chosen))

    def finish(self) -> Record:
        """Draw the figures, write the report, and last of all the record.

        Raises:
            HwdiagError: something could not be written, because the disk is full for example.
        """
        drawn = figures(self.record)
        files = [
            *self.record.files,
            *(write_file(self.folder, File(path=f"figures/{f.name}.svg", text=f.svg, what=f.caption)) for f in drawn),
            EmittedFile(path="report.html", what="The report, one file, readable offline"),
            EmittedFile(path=store.FILE, what="The record: all of it, for machines"),
        ]
        self._learn(files=tuple(files), finished_at=now(), complete=True)
        write_file(self.folder, File(path="report.html", text=render_report(self.record, drawn=drawn), what=""))
        store.save(self.record, self.folder)
        return self.record

    @property
    def study(self) -> Tuning:
        """Return the study of the search so far."""
        return tuning(self.record)

    def _ask(self, topic: Topic) -> Record:
        """Ask a topic its short question; its study becomes a part of the record."""
        r = self.record
        share = 1.0 if self.study.measurements else self.interview.spent_s / self.interview.total_s
        self.progress(TOPICS[topic].title, min(1.0, share))
        asking = Asking(
            profile=self.profile,
            python=self.python,
            root=self.root,
            host=r.host,
            software=r.software,
            seconds=0.0,
            measurements=self.study.measurements,
            progress=self.progress,
        )
        answer = self.interview.ask(topic, asking)
        return r if answer is None else self._add(topic, answer.study)

    def _learn(self, **facts: object) -> Record:
        self.record = self.record.model_copy(update=facts)
        return self.record

    def _add(self, topic: Topic, study: TopicStudy) -> Record:
        return self._learn(studies={**self.record.studies, topic: study})

    def _tuned(self, **facts: object) -> Record:
        return self._add("tune", self.study.model_copy(update=facts))


def run_all(
    profile: Profile,
    *,
    outputs: Path | None = None,
    progress: Progress | None = None,
    announce: Callable[[str], None] = lambda text: None,
) -> Diagnosis:
    """Run all steps in order and return the diagnosis.

    ``announce`` is told how often a command will run, before it does, and of another run that measures.
    """
    run = Diagnosis(profile, outputs=outputs, progress=progress)
    run.probe_software()
    run.plan()
    if text := run.runs_of_command():
        announce(text)
    if another_measures():
        announce(
            "another run of hwdiag measures on this host now: each disturbs the other, and the report says so "
            "(--wait 30 waits for its end)"
        )
    for step in (run.measure, run.advise, run.emit, run.finish):
        step()
    return run
