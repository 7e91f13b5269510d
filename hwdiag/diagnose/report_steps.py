"""Steps of ``hwdiag report``: a record, or all of a host's as one, in; a page and its summary out."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hwdiag.core.errors import HwdiagError, UsageError
from hwdiag.core.home import home
from hwdiag.diagnose.report import dates, render_report
from hwdiag.diagnose.topics import TOPICS, sections_of
from hwdiag.record import sources, store
from hwdiag.record.merge import merged, same_machine
from hwdiag.record.model import Record
from hwdiag.report.format import utc
from hwdiag.report.table import Table
from hwdiag.tune.tables import findings_table, recommendations_table


@dataclass(frozen=True)
class Report:
    """One record to tell, of one run or merged from several."""

    record: Record
    folder: Path
    """What its files are told from."""
    page: Path
    """Where the page goes, if nowhere else."""
    left_out: tuple[str, ...] = ()
    """Files that are not told, and why, a line each."""

    def html(self) -> str:
        """Return the page. Raises ``UsageError`` where a field of a study is wrong."""
        return render_report(self.record, self.folder)

    def tables(self) -> Iterator[Table]:
        """Return the tables of recommendations and findings, where there are some."""
        return (t for t in (recommendations_table(self.record), findings_table(self.record)) if t.rows)

    def lines(self) -> Iterator[str]:
        """Say of each topic when it was looked at, and its verdict."""
        dated = dict(dates(self.record))
        for topic, shown in TOPICS.items():
            first = next(sections_of(self.record, topic), None)
            if first is not None:
                at = f" ({utc(dated[shown.title])})" if dated.get(shown.title) else ""
                yield f"{shown.title}{at}: {first.verdict}"


def of_record(path: Path) -> Report:
    """Return the report of one record. Raises ``UsageError`` where there is none that is whole."""
    file = store.record_file(path)
    return Report(store.load(file), file.parent, file.parent / "report.html")


def of_host(name: str) -> Report:
    """Return the report of all records of a host, wherever under outputs/ they are, by the newest of that name.

    Raises:
        UsageError: there is none.
    """
    outputs = home() / "outputs"
    found, refused = everything(outputs)
    mine = {place: r for place, r in found.items() if name in (r.name, Path(place).parts[0])}
    if not mine:
        known = sorted({r.name for r in found.values()})
        raise UsageError(f"no record of {name} in {outputs} (known: {', '.join(known) or 'none'})")
    newest = max(mine.items(), key=lambda item: (item[1].started_at, item[0]))[1]
    same = {f"outputs/{place}": r for place, r in found.items() if same_machine(r, newest)}
    left = [f"{place}: another machine that is called {name}" for place in mine if f"outputs/{place}" not in same]
    left += [line for line in refused if line.startswith(f"{name}/")]
    page = outputs / f"{store.folder_name('auto', name)}.html"
    return Report(merged(same), home(), page, tuple(left))


def everything(outputs: Path) -> tuple[dict[str, Record], list[str]]:
    """Return all records by their folders below outputs/, and what is refused. The example counts where it is alone."""
    records: dict[str, Record] = {}
    refused = []
    if outputs.is_dir():
        for source in sources.local(outputs):
            place = os.path.relpath(source.location, outputs)
            try:
                records[str(Path(place).parent)] = store.load(Path(source.location))
            except HwdiagError as error:
                refused.append(f"{place}: {str(error).removeprefix(source.location).lstrip(': ')}")
    own = {place: r for place, r in records.items() if Path(place).parts[0] != "example"}
    return own or records, refused
