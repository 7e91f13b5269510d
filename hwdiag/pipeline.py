"""The whole way, once: facts, measurements, advice, scripts, record, report. Notebook and command line tell it.

A Run carries a Record that grows with each step; a Replay has the same steps over a Record that is whole already.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from functools import cached_property
from pathlib import Path

from hwdiag.advise.audit import audit
from hwdiag.advise.evidence import Evidence
from hwdiag.advise.findings import consult, worst_first
from hwdiag.advise.model import Recommendation
from hwdiag.advise.recommend import recommend, verdict
from hwdiag.emit.comfyui import render_comfyui
from hwdiag.emit.launch_script import render_launch_script, script_path
from hwdiag.emit.settings import File, settings_files
from hwdiag.estimate.ceilings import ceilings
from hwdiag.home import home
from hwdiag.host.activity import watch
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.measure.budget import BUDGETS
from hwdiag.measure.campaign import Campaign, Progress
from hwdiag.measure.candidates import DEFAULT, candidates, find_allocators
from hwdiag.measure.compare import estimates
from hwdiag.measure.search import search
from hwdiag.measure.software import NOT_HERE, probe_software
from hwdiag.measure.workloads import catalogue
from hwdiag.params import Profile, interpreter
from hwdiag.record import store
from hwdiag.record.model import EmittedFile, Record
from hwdiag.record.store import write_file
from hwdiag.record.versions import versions
from hwdiag.show.report import figures, render_report
from hwdiag.words import now

DEVICE_BLOCKS = 3
"""Processes per GPU: enough to see whether they agree."""


class Run:
    """One diagnosis of this host, or a snapshot's facts of another, step by step.

    Every step gives the Record as far as it is known.
    """

    def __init__(self, profile: Profile, *, outputs: Path | None = None, progress: Progress | None = None) -> None:
        """Check the interpreter and the output folder, and read the host.

        Raises:
            UsageError: the profile's interpreter or snapshot does not exist, or the snapshot is refused.
            HwdiagError: the output folder cannot be written.
        """
        self.profile = profile
        self.progress = progress
        self.python = interpreter(profile)
        self.started_at = now()
        self.root = Root.open(profile.snapshot)
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
            params=profile.model_dump(mode="json"),
            verdict="",
            host=host,
        )

    @cached_property
    def folder(self) -> Path:
        """The run's own folder, made when the first file is written: a run that is cut off leaves none."""
        return store.create_folder(self.outputs, self.name, self.started_at)

    def probe_software(self) -> Record:
        """Ask the target interpreter's torch what it is. On another host than this one, nobody can be asked."""
        if not self.record.host.is_here:
            return self._learn(software=NOT_HERE)
        return self._learn(software=probe_software(self.python, timeout_s=self.profile.child_timeout))

    def plan(self) -> Record:
        """Decide which workloads are measured under which Launches."""
        host, software = self.record.host, self.record.software
        workloads = tuple(w for w in catalogue(host) if w.name in self.profile.workloads)
        models = tuple(w.name for w in workloads if w.family == "model")
        launches = candidates(
            host,
            software,
            threads=self.profile.threads,
            allocators=find_allocators(software.prefix) if host.is_here else (),
            numactl=shutil.which("numactl") is not None if host.is_here else True,
        )
        return self._learn(
            launches=launches, workloads=workloads, overall_of=models or tuple(w.name for w in workloads)
        )

    def measure(self) -> Record:
        """Measure, on the CPU and on each GPU that torch sees. Without a torch that runs here, nothing is measured."""
        r = self.record
        if not r.software.outcome.ok:
            return r
        campaign = Campaign(
            self.python,
            BUDGETS[self.profile.budget],
            seed=self.profile.seed,
            child_timeout_s=self.profile.child_timeout,
            progress=self.progress,
        )
        for i, _ in enumerate(r.software.cuda_devices):
            for block in range(DEVICE_BLOCKS):
                campaign.run(DEFAULT, r.workloads, "device", block, device=f"cuda:{i}")
        compared = search(campaign, r.launches, r.workloads, r.overall_of, self.profile.min_effect / 100)
        measured = tuple(campaign.measurements)
        return self._learn(
            measurements=measured,
            comparisons=compared,
            estimates=estimates(measured),
            ceilings=ceilings(measured, r.workloads),
        )

    def advise(self) -> Record:
        """Draw findings, checks, recommendations and the verdict from the evidence."""
        r = self.record
        audited = audit(
            self.root,
            r.host,
            role=self.profile.role,
            activity=watch(self.root, 0),
            measurements=r.measurements,
        )
        evidence = Evidence(
            profile=self.profile,
            numactl=shutil.which("numactl") is not None,
            **{name: getattr(r, name) for name in Evidence.model_fields if name in Record.model_fields},
        )
        findings, checks = consult(evidence)
        recommendations = recommend(evidence)
        return self._learn(
            audit=audited,
            findings=worst_first((*findings, *audited.findings)),
            checks=(*checks, *audited.checks),
            recommendations=recommendations,
            verdict=verdict(evidence, recommendations),
        )

    def emit(self, chosen: Collection[str] | None = None) -> Record:
        """Write a launch script for each recommendation with these ids, by default for all that change something.

        The overall one is always written: where nothing helps, its script sets nothing and says so. Where nothing was
        measured there is none to write.
        """
        wanted = [r for r in self.record.recommendations if is_emitted(r, chosen)]
        files = [File(path=script_path(r), text=self._script(r), what=r.title, executable=True) for r in wanted]
        if self.record.audit is not None and self.record.host.is_here:
            files += settings_files(self.record.audit, self.record.host, made_at=self.started_at)
        if self.profile.comfyui is not None and files:
            files += self._comfyui(Path(self.profile.comfyui).expanduser().absolute())
        return self._learn(files=tuple(write_file(self.folder, f) for f in files))

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

    def _learn(self, **facts: object) -> Record:
        self.record = self.record.model_copy(update=facts)
        return self.record

    def _comfyui(self, folder: Path) -> list[File]:
        launch = str((self.folder / "scripts" / "launch.sh").absolute())
        texts = render_comfyui(self.record.host, str(folder), self.python, launch, made_at=self.started_at)
        return [
            File(path=f"scripts/{name}", text=text, what="Start ComfyUI", executable=name.endswith(".sh"))
            for name, text in texts.items()
        ]

    def _script(self, recommendation: Recommendation) -> str:
        launch = next((x for x in self.record.launches if x.name == recommendation.launch), DEFAULT)
        return render_launch_script(launch, recommendation, self.record.host, made_at=self.started_at)

    def _write(self, path: str, text: str, what: str) -> EmittedFile:
        return write_file(self.folder, File(path=path, text=text, what=what))


class Replay(Run):
    """The same steps over a recorded run: nothing is read, measured or written."""

    def __init__(self, path: Path) -> None:
        """Load the record. Raises ``UsageError`` if there is none that is whole."""
        self.record = store.load(path)
        self.folder = path if path.is_dir() else path.parent
        self.profile = Profile.model_validate(self.record.params)

    def probe_software(self) -> Record:
        return self.record

    plan = measure = advise = finish = probe_software

    def emit(self, chosen: Collection[str] | None = None) -> Record:  # noqa: ARG002
        return self.record


def is_emitted(recommendation: Recommendation, chosen: Collection[str] | None) -> bool:
    """Whether a script is written for it."""
    if recommendation.id == "launch-overall":
        return True
    return recommendation.launch is not None and (chosen is None or recommendation.id in chosen)


def run_all(profile: Profile, *, outputs: Path | None = None, progress: Progress | None = None) -> Run:
    """All steps in order."""
    run = Run(profile, outputs=outputs, progress=progress)
    for step in (run.probe_software, run.plan, run.measure, run.advise, run.emit, run.finish):
        step()
    return run
