"""Steps of the audit notebook and of ``hwdiag audit``: parameters in, an audit to walk through, scripts out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from hwdiag.audit import show
from hwdiag.audit.audit import audit, parse_choice
from hwdiag.audit.emit import settings_files
from hwdiag.audit.model import Audit
from hwdiag.core.errors import UsageError
from hwdiag.core.outside import user_path
from hwdiag.core.text import now
from hwdiag.host.activity import watch
from hwdiag.host.archive import open_root
from hwdiag.host.model import Host
from hwdiag.host.read import read_host
from hwdiag.parameters.audit import AuditParams
from hwdiag.parameters.diagnosis import load_topic
from hwdiag.process.preflight import preflight
from hwdiag.process.storage import read_speed
from hwdiag.record import store
from hwdiag.record.model import Record
from hwdiag.report.host_table import host_section
from hwdiag.report.section import Section
from hwdiag.workbook.cells import replayed
from hwdiag.workbook.params import ChosenParameters
from hwdiag.workbook.records import chosen_params, record_of, replayed_study, save, sorted_by_kind, told


def load(given: Mapping[str, Any]) -> AuditParams:
    """Return the parameters, checked. Raises ``UsageError`` for an unknown name, or a wrong value."""
    params = load_topic(AuditParams, given)
    parse_choice(params.knobs)
    if params.models is not None and not user_path(params.models).is_dir():
        raise UsageError(f"parameter models: there is no folder {params.models}")
    return params


def parameters(namespace: Mapping[str, Any]) -> ChosenParameters[AuditParams]:
    """Return what the notebook's first cells set, checked; ``namespace`` is its ``globals()``."""
    return chosen_params(namespace, "audit", AuditParams, load)


class AuditRun:
    """One audit, to be walked through: ``machine``, ``settings``, ``symptoms``, ``chosen``, ``save``."""

    def __init__(self, params: AuditParams) -> None:
        """Read the host. Raises ``UsageError`` where its snapshot is refused."""
        self.params = params
        self.started_at = now()
        self.root = open_root(params.snapshot)
        self.host: Host = read_host(self.root)

    @cached_property
    def audit(self) -> Audit:
        """Return the audit, made once, when it is first asked for."""
        here = self.root.source == "live"
        models = str(user_path(self.params.models).resolve()) if self.params.models else None
        found = audit(
            self.root,
            self.host,
            role=self.params.role,
            knobs=self.params.knobs,
            activity=watch(self.root, self.params.watch),
            models=models,
            read=read_speed(Path(models)) if models and here else None,
        )
        findings, checks = sorted_by_kind(preflight(self.host))
        return found.model_copy(update={"findings": (*found.findings, *findings), "checks": (*found.checks, *checks)})

    @cached_property
    def record(self) -> Record:
        """Return the audit as a record."""
        shown = Path(self.params.snapshot).name.partition(".")[0] if self.params.snapshot else ""
        return record_of(
            "audit",
            self.audit,
            host=self.host,
            verdict=show.verdict(self.audit),
            params=self.params.model_dump(mode="json"),
            said=(*self.audit.findings, *self.audit.checks),
            name=store.folder_name("auto", shown or self.host.system.hostname),
        )

    def machine(self) -> Section:
        """Return the section on what this machine is."""
        return host_section(self.host)

    def settings(self) -> Section:
        """Return the section on the host's settings, and on what is known of them."""
        return show.settings(self.audit)

    def symptoms(self) -> Section:
        """Return the section on what is wrong, as far as can be told now."""
        return show.symptoms(self.audit)

    def chosen(self) -> Section:
        """Return the section on what the scripts set."""
        return show.chosen(self.audit)

    def save(self) -> str:
        """Write the record and the scripts under outputs/; says where.

        Raises:
            HwdiagError: something could not be written.
        """
        return told(*save(self.record, settings_files(self.audit, self.host, made_at=self.started_at)))


class ReplayedAudit(AuditRun):
    """A recorded audit, shown in place of one."""

    def __init__(self) -> None:
        """Raises ``UsageError`` where there is no record of an audit."""
        self.audit, self.record, self._folder = replayed_study("audit", Audit)
        self.host = self.record.host

    def save(self) -> str:
        return told(self.record, self._folder)


def start(choice: ChosenParameters[AuditParams]) -> AuditRun:
    """Begin an audit; with HWDIAG_REPLAY set, walk through the one recorded there instead."""
    return ReplayedAudit() if replayed() is not None else AuditRun(choice.params)
