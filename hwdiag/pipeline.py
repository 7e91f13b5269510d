"""The whole way, once: facts, measurements, advice, scripts, record, report. Notebook and command line tell it.

A Run carries a Record that grows with each step; a Replay has the same steps over a Record that is whole already.
"""

from __future__ import annotations

import contextlib
import platform
import shutil
import tempfile
from collections.abc import Collection
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from hwdiag import __version__
from hwdiag.advise.evidence import Evidence
from hwdiag.advise.findings import consult, sorted_out
from hwdiag.advise.model import Recommendation
from hwdiag.advise.recommend import recommend, verdict
from hwdiag.compat import advice as compat
from hwdiag.compat.check import survey
from hwdiag.emit.launch_script import render_launch_script, script_path
from hwdiag.errors import HwdiagError
from hwdiag.estimate.ceilings import ceilings
from hwdiag.home import home
from hwdiag.host.read import read_host
from hwdiag.host.root import Root
from hwdiag.measure.budget import BUDGETS
from hwdiag.measure.campaign import Campaign, Progress, at_once
from hwdiag.measure.compare import estimates
from hwdiag.measure.dispatch import build_vendor_check, dispatch, has_foreign_mkl
from hwdiag.measure.launch import Launch
from hwdiag.measure.model import Workload
from hwdiag.measure.placement import placement
from hwdiag.measure.runtime import find_allocators, heap, runtime
from hwdiag.measure.search import Question
from hwdiag.measure.software import NOT_HERE, probe_software
from hwdiag.measure.tune import DEFAULT, tune
from hwdiag.measure.workloads import catalogue
from hwdiag.params import Profile, interpreter
from hwdiag.record import store
from hwdiag.record.model import EmittedFile, Record
from hwdiag.show.report import figures, render_report
from hwdiag.words import now

LIBRARIES = ("pydantic", "numpy", "scipy", "matplotlib", "psutil", "nvidia-ml-py", "papermill")
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
        host = read_host(Root.open(profile.snapshot))
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
        timeout_s = self.profile.child_timeout
        software = probe_software(self.python, timeout_s=timeout_s)
        if software.outcome.kind == "not-started":
            return self._learn(software=software)
        found = survey(self.python, packages=compat.NEEDED, timeout_s=timeout_s, cpu=self.record.host.cpu.model)
        return self._learn(software=software, compatibility=found)

    def plan(self) -> Record:
        """Decide which workloads are measured, and which questions are asked about the way to start them."""
        host = self.record.host
        workloads = tuple(w for w in catalogue(host) if w.name in self.profile.workloads and self._has(w))
        models = tuple(w.name for w in workloads if w.family == "model")
        self.questions = self._questions()
        return self._learn(
            launches=(DEFAULT, *(o for q in self.questions for o in q.options)),
            workloads=workloads,
            overall_of=models or tuple(w.name for w in workloads),
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
            most=at_once(r.host, r.workloads),
        )
        for i, _ in enumerate(r.software.cuda_devices):
            for _ in range(DEVICE_BLOCKS):
                campaign.run([DEFAULT], [w for w in r.workloads if w.kind != "numpy"], "device", device=f"cuda:{i}")
        tuned = tune(
            campaign,
            self.questions,
            r.workloads,
            r.overall_of,
            self.profile.min_effect / 100,
            risky=self.profile.unsupported,
        )
        measured = tuple(campaign.measurements)
        return self._learn(
            measurements=measured,
            launches=tuned.launches,
            steps=tuned.steps,
            noise=tuned.noise,
            comparisons=tuned.comparisons,
            estimates=estimates(measured),
            ceilings=ceilings(measured, r.workloads),
        )

    def _has(self, workload: Workload) -> bool:
        """Whether the target interpreter has the library that the workload is about."""
        needed = {"numpy": self.record.software.numpy_version, "onednn": self.record.software.onednn}
        return workload.kind not in needed or bool(needed[workload.kind])

    def _questions(self) -> tuple[Question, ...]:
        host, software, here = self.record.host, self.record.software, self.record.host.is_here
        vendor_check = build_vendor_check(self._scratch) if here and has_foreign_mkl(host, software) else None
        return (
            # Placement first: its thread counts are then seen beside today's default, as the curve shows them.
            placement(host, software, threads=self.profile.threads),
            runtime(host, software),
            heap(host, software, find_allocators(software.prefix) if here else ()),
            dispatch(host, software, vendor_check),
        )

    @cached_property
    def _scratch(self) -> Path:
        """A folder for what is built to be measured; it is gone when the run is."""
        self._held = tempfile.TemporaryDirectory(prefix="hwdiag-")
        return Path(self._held.name)

    def advise(self) -> Record:
        """Draw findings, checks, recommendations and the verdict from the evidence."""
        r = self.record
        evidence = Evidence(
            profile=self.profile,
            **{name: getattr(r, name) for name in Evidence.model_fields if name in Record.model_fields},
        )
        findings, checks = consult(evidence)
        if r.compatibility is not None:
            findings, checks = sorted_out((*findings, *checks, *compat.consult(r.compatibility)))
        recommendations = recommend(evidence)
        if r.compatibility is not None and r.compatibility.cure is not None and not recommendations:
            launch, needed = compat.needed_launch(r.compatibility.cure)
            recommendations = (needed,)
            self._learn(launches=(*r.launches, launch))
        return self._learn(
            findings=findings,
            checks=checks,
            recommendations=recommendations,
            verdict=verdict(evidence, recommendations),
        )

    def emit(self, chosen: Collection[str] | None = None) -> Record:
        """Write a launch script for each recommendation with these ids, by default for all that change something.

        The overall one is always written: where nothing helps, its script sets nothing and says so. Where nothing was
        measured there is none to write.
        """
        wanted = [r for r in self.record.recommendations if is_emitted(r, chosen)]
        files = [self._write(script_path(r), self._script(r), r.title) for r in wanted]
        for file in files:
            (self.folder / file.path).chmod(0o755)
        libraries = {path for r in wanted for path in self._launch(r).preload}
        files += [self._copy(Path(path), "A library that a launch script preloads") for path in sorted(libraries)]
        return self._learn(files=tuple(files))

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

    def _script(self, recommendation: Recommendation) -> str:
        launch = self._launch(recommendation)
        if self.record.compatibility is not None:
            launch = compat.with_cure(launch, self.record.compatibility.cure)
        return render_launch_script(launch, recommendation, self.record.host, made_at=self.started_at)

    def _launch(self, recommendation: Recommendation) -> Launch:
        return next((x for x in self.record.launches if x.name == recommendation.launch), DEFAULT)

    def _copy(self, library: Path, what: str) -> EmittedFile:
        path = f"scripts/{library.name}"
        try:
            shutil.copyfile(library, self.folder / path)
        except OSError as error:
            raise HwdiagError(f"cannot write {self.folder / path}: {error.strerror}") from None
        return EmittedFile(path=path, what=what)

    def _write(self, path: str, text: str, what: str) -> EmittedFile:
        target = self.folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        except OSError as error:
            raise HwdiagError(f"cannot write {target}: {error.strerror}") from None
        return EmittedFile(path=path, what=what)


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
    asked_for = not recommendation.offered if chosen is None else recommendation.id in chosen
    return recommendation.launch is not None and asked_for


def versions() -> dict[str, str]:
    """Versions of hwdiag, of the Python it runs in, and of the libraries that figures depend on."""
    found = {"hwdiag": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def run_all(profile: Profile, *, outputs: Path | None = None, progress: Progress | None = None) -> Run:
    """All steps in order."""
    run = Run(profile, outputs=outputs, progress=progress)
    for step in (run.probe_software, run.plan, run.measure, run.advise, run.emit, run.finish):
        step()
    return run
