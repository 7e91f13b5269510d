"""The audit as a person sees it: sections with a verdict each, and the tables behind them."""

from __future__ import annotations

from hwdiag.audit.knobs import BY_ID, KNOBS
from hwdiag.audit.model import Audit, Row
from hwdiag.core.text import listed
from hwdiag.report.answers import answers_table
from hwdiag.report.format import UNKNOWN, plural
from hwdiag.report.section import Section
from hwdiag.report.table import Table, join_few

STATES = {
    "as wanted": "as wanted",
    "differs": "could be set",
    "unknown": "unknown",
    "objection": "look at it",
    "nothing to want": "fine",
}


def verdict(audit: Audit) -> str:
    """Return the verdict in one sentence."""
    known = [r for r in audit.rows if r.now is not None]
    wrong = [r for r in audit.rows if r.objection]
    settings = plural(len({r.knob for r in known}), "setting")
    chosen = f"{plural(len(audit.chosen), 'change')} chosen" if audit.chosen else "none needs changing"
    harm = f"; {plural(len(wrong), 'value')} with no use or a bad effect" if wrong else ""
    return f"{settings} checked; {chosen}{harm}."


def settings(audit: Audit, *, everything: bool = False) -> Section:
    """Return the section on the host's settings, and on what is known of them."""
    return Section(verdict(audit), (settings_table(audit, everything=everything),))


def settings_table(audit: Audit, *, everything: bool = False) -> Table:
    """Return a table with one row for each entry and value; with ``everything``, also those where nothing is to be
    said."""
    rows = [r for r in audit.rows if everything or r.chosen or r.objection or r.state in ("differs", "unknown")]
    told = tuple(_row(r) for r in rows)
    if everything:
        here = {r.knob for r in audit.rows}
        told += tuple(
            (k.id, "", "not here", "never set" if k.wanted is None else "", k.known, k.evidence, k.risk or "none")
            for k in KNOBS
            if k.id not in here
        )
    left = len(audit.rows) - len(rows)
    caption = f"Settings to look at; {left} more are fine or do not apply" if left else "Settings"
    return Table(caption, ("Setting", "Of", "Now", "Wanted", "Why", "Evidence", "Risk"), told)


def _row(row: Row) -> tuple[str, ...]:
    if row.chosen:
        wanted = f"{row.wanted}, chosen"
    elif row.wanted is None:
        wanted = STATES[row.state]
    else:
        wanted = f"{row.wanted}, if chosen" if row.state != "as wanted" else "as wanted"
    why = f"{row.objection}. {row.why}" if row.objection else row.why
    of = join_few(row.targets, 4) if len(row.targets) <= 4 else plural(len(row.targets), "place")
    return (row.knob, of, row.now if row.now is not None else UNKNOWN, wanted, why, row.evidence, row.risk or "none")


def chosen(audit: Audit) -> Section:
    """Return the section on what the scripts set."""
    if not audit.chosen:
        return Section(
            "No symptom or measurement here is a reason for a change. To set something anyway, name it in the "
            "parameter knobs.",
            (),
        )
    table = chosen_table(audit)
    names = listed(dict.fromkeys(r.knob for r in audit.chosen))
    return Section(f"{plural(len(table.rows), 'change')}: {names}.", (table,))


def chosen_table(audit: Audit) -> Table:
    """Return a table of what the scripts set, and why."""
    rows = tuple(
        (r.knob, join_few(r.where, 4), r.now if r.now is not None else UNKNOWN, r.wanted or "", r.why, r.risk, link(r))
        for r in audit.chosen
    )
    header = ("Setting", "Where", "Now", "Will be", "Chosen because", "Risk", "Source")
    return Table("What the scripts set", header, rows)


def link(row: Row) -> str:
    return BY_ID[row.knob].link if row.knob in BY_ID else UNKNOWN


def symptoms(audit: Audit) -> Section:
    """Return the section on what is wrong, as far as can be told now."""
    asked = [f for f in audit.findings if not f.id.startswith("setting-")]
    fine = sum(c.state == "fine" for c in audit.checks)
    unchecked = len(audit.checks) - fine
    found = f"{plural(len(asked), 'finding')}; " if asked else "No finding; "
    verdict = f"{found}{plural(fine, 'check is', 'checks are')} fine, {unchecked} could not be made."
    return Section(verdict, (symptoms_table(audit),))


def symptoms_table(audit: Audit) -> Table:
    """Return a table of each question with its answer."""
    asked = (f for f in audit.findings if not f.id.startswith("setting-"))
    return answers_table("Symptoms", (*asked, *audit.checks))
