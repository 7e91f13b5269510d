"""Tables say the same in a terminal and in HTML."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from hwdiag.record.tuning import tuning
from hwdiag.report.host_table import host_table
from hwdiag.report.table import Ids, Share, Table
from hwdiag.tune import tables
from tests.report.samples import HOSTILE, make_record


def every_table(record):
    return {
        "host": host_table(record.host),
        "software": tables.software_table(record.software),
        "plan": tables.plan_table(tuning(record).plans, tuning(record).workloads),
        "results": tables.results_table(record),
        "ceilings": tables.ceilings_table(record),
        "comparisons": tables.comparisons_table(record),
        "findings": tables.findings_table(record),
        "recommendations": tables.recommendations_table(record),
        "checks": tables.checks_table(record),
        "files": tables.files_table(record),
        "failures": tables.failures_table(record),
        "measurements": tables.measurements_table(tuning(record).measurements, tables.titles_of(record)),
    }


@pytest.fixture
def all_tables(record):
    return every_table(record)


class Cells(HTMLParser):
    """Counts what an accessible table needs."""

    def __init__(self) -> None:
        super().__init__()
        self.captions = self.columns = self.rows = 0

    def handle_starttag(self, tag, attrs):
        scope = dict(attrs).get("scope")
        self.captions += tag == "caption"
        self.columns += scope == "col"
        self.rows += scope == "row"


def test_html_is_accessible_and_inline(all_tables):
    for name, table in all_tables.items():
        found = Cells()
        found.feed(table.to_html())
        assert (found.captions, found.columns, found.rows) == (1, len(table.header), len(table.rows)), name
        assert "<style" not in table.to_html()
        assert "overflow-x:auto" in table.to_html()


def test_every_row_has_a_cell_for_every_column(all_tables):
    for name, table in all_tables.items():
        assert table.rows, name
        assert {len(row) for row in table.rows} == {len(table.header)}, name


def test_text_is_aligned(all_tables):
    for table in all_tables.values():
        _, header, rule, *rows = table.to_text().splitlines()
        assert len(rows) == len(table.rows)
        starts = [i for i, c in enumerate(rule) if c == "-" and (i == 0 or rule[i - 1] == " ")]
        assert len(starts) == len(table.header)
        assert all(line[s - 1 : s] in ("", " ") for s in starts if s for line in (header, *rows))


def test_text_fits_where_it_can(all_tables):
    for name in ("host", "software", "findings", "checks", "files"):
        assert max(map(len, all_tables[name].to_text(90).splitlines())) <= 90


def test_numbers_are_at_the_right():
    table = Table("c", ("n", "v"), (("a", "1"), ("b", "100")), frozenset({1}))
    assert table.to_text().splitlines()[3] == "a    1"
    assert "text-align:right" in table.to_html()


def test_results_of_rates_and_times(record):
    rows = {(row[0], row[1]): row for row in tables.results_table(record).rows}
    product = rows["Matrix product, fp32, 2048 x 2048", "cpu"]
    assert product[2] == "460 GFLOP/s (457 to 463)"
    assert str(product[3]) == "97 %"
    assert product[4] == "3 / 27"
    assert rows["ResNet-18, fp32, batch 1", "cpu"][2] == "20.3 ms (20.2 to 20.5)"
    assert str(rows["Memory copy, 256 MiB", "cpu"][3]) == "81 %"


def test_share_is_unknown_without_a_ceiling():
    table = tables.results_table(make_record(ceilings=()))
    assert {row[3] for row in table.rows} == {"unknown"}


def test_an_unnamed_hypervisor_is_still_one(record):
    system = record.host.system.model_copy(update={"hypervisor": "unknown"})
    facts = dict(host_table(record.host.model_copy(update={"system": system})).rows)
    assert facts["Hypervisor"] == "a hypervisor of unknown make"


def test_findings_come_worst_first(record):
    shuffled = record.model_copy(update={"findings": record.findings[::-1]})
    assert [row[0] for row in tables.findings_table(shuffled).rows] == ["problem", "warning", "note"]


def test_failure_says_of_what(all_tables):
    assert "killed by SIGILL" in all_tables["failures"].to_text()
    assert "failed (signal): killed by SIGILL" in all_tables["measurements"].to_text()


def test_ids_become_links_only_where_they_lead_somewhere():
    assert Ids(("m1",)).to_html({"m1"}) == '<span class="ids"><a href="#m1">m1</a></span>'
    assert Ids(("m1",)).to_html() == '<span class="ids">m1</span>'
    assert Ids(("host.cpu",)).to_html({"m1"}) == '<span class="ids">host.cpu</span>'
    assert "href" not in Ids(('"><script>',)).to_html({'"><script>'})
    many = Ids(tuple(f"m{i}" for i in range(20)))
    assert str(many) == "m0 … m19 (20)"
    assert many.to_html({"m3"}).count("href") == 1


def test_gauge_stays_in_its_scale():
    assert 'value="1.000"' in Share(1.07).to_html()
    assert str(Share(1.07)) == "107 %"


def test_hostile_text_is_escaped_and_cannot_steer_a_terminal():
    table = Table(HOSTILE, (HOSTILE,), ((HOSTILE,),))
    assert "<script" not in table.to_html()
    for text in (table.to_html(), table.to_text(), repr(table)):
        assert "\x1b" not in text
        assert "\u202e" not in text


def test_software_that_died_says_of_what(record):
    died = record.software.model_copy(
        update={
            "outcome": tuning(record)
            .measurements[0]
            .outcome.model_copy(update={"kind": "signal", "detail": "killed by SIGILL"})
        }
    )
    assert "failed (signal): killed by SIGILL" in tables.software_table(died).to_text()
