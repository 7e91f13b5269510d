"""The report: one safe, accessible page that leads from every claim to its measurements."""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from functools import cache
from hashlib import sha256
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from pydantic import ValidationError

from hwdiag.core.errors import UsageError
from hwdiag.core.files import EmittedFile
from hwdiag.core.finding import Check, Finding
from hwdiag.diagnose.first_screen import actions, asked
from hwdiag.diagnose.model import Asked, Triage
from hwdiag.diagnose.report import dates, figures, render_report
from hwdiag.host.model import Gap
from hwdiag.record import store
from hwdiag.record.model import Record
from hwdiag.record.tuning import tuning
from hwdiag.report.figure import Figure
from hwdiag.report.plots._scaling import curves_of
from tests.report.samples import HOSTILE, changed, hostile_host, make_record

OLD = Path(__file__).parents[1] / "record" / "old"
EXAMPLE = Path(__file__).parents[2] / "outputs" / "example"
PARTS = ("workloads", "measurements", "estimates", "comparisons", "ceilings", "findings", "recommendations",
         "checks", "files", "steps")  # fmt: skip
NOT_DRAWN = {"findings", "recommendations", "checks", "files"}
"""Parts that no figure shows."""
VOID = {"meta", "img", "br", "link", "input", "hr", "path"}


class Page(HTMLParser):
    """What a browser would see of the page, as far as these tests ask."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert not self.open, "every element is closed"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


@cache
def drawn() -> tuple[Figure, ...]:
    """Return the figures of the sample, drawn once for all tests that look at something else."""
    return figures(make_record())


def rendered(record: Record) -> str:
    """Return the report of a record, with the sample's figures."""
    return render_report(record, drawn=drawn())


@pytest.fixture(scope="module")
def html() -> str:
    return rendered(make_record())


@pytest.fixture(scope="module")
def page(html) -> Page:
    return Page(html)


def test_needs_nothing_from_elsewhere(html, page):
    assert not page.all("link")
    assert not [s for s in page.all("script") if "src" in s]
    assert not re.search(r"(?:https?:)?//[a-z]", re.sub(r"base64,[^\"]+", "", html).replace("// Comfort", ""))
    assert all(i["src"].startswith("data:image/svg+xml;base64,") for i in page.all("img"))
    assert "@import" not in html
    assert "url(" not in html


def test_only_our_own_script_may_run(html, page):
    policy = next(m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy")
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert len(scripts) == 1
    assert f"'sha256-{b64encode(sha256(scripts[0].encode()).digest()).decode()}'" in policy
    assert "default-src 'none'" in policy


def test_every_link_leads_somewhere_and_ids_are_unique(page):
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    targets = {a["href"] for a in page.all("a")}
    assert len(targets) > 50
    assert {t[1:] for t in targets if t.startswith("#")} <= set(ids)
    assert {t for t in targets if not t.startswith("#")} == {"scripts/launch.sh"}, "files beside the report alone"


def test_every_measurement_has_its_row(page, record):
    rows = {a["id"] for a in page.all("tr") if "id" in a}
    assert rows == {m.id for m in tuning(record).measurements}


def test_claims_lead_to_their_measurements(html, record):
    first = record.recommendations[0]
    card = html[html.index(first.title) : html.index(record.recommendations[1].title)]
    assert all(f'href="#{i}"' in card for i in first.evidence)
    failed = next(m for m in tuning(record).measurements if not m.outcome.ok)
    assert html.count(f'href="#{failed.id}"') == 2, "the finding, and the list of failures"


def test_order_of_importance(page, record):
    parts = [record.verdict, "Start your program with this script", "Processor", record.recommendations[0].title,
             record.findings[0].detail, "could not be checked, and why", "Checked and fine", "How it runs today",
             "unit of evidence", "One row is one"]  # fmt: skip
    places = [page.text.index(part) for part in parts]
    assert places == sorted(places)


def test_headings_go_down_one_step_at_a_time(page):
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))


def test_accessible_frame(page):
    assert page.all("html")[0]["lang"] == "en"
    assert any(m.get("name") == "viewport" for m in page.all("meta"))
    for landmark in ("header", "main", "nav", "footer"):
        assert len(page.all(landmark)) == 1
    assert all(i.get("alt") and re.search(r"\d", i["alt"]) for i in page.all("img"))
    assert all(s["aria-labelledby"] for s in page.all("section"))


def test_pictures_are_the_figures(page, record):
    shown = [b64decode(i["src"].partition("base64,")[2]).decode() for i in page.all("img")]
    assert sorted(shown) == sorted(f.svg for f in figures(record))
    assert len(shown) == 7


def test_what_to_do_and_how_to_take_it_back(page):
    assert "scripts/launch.sh -- python your_program.py" in page.text
    assert "12 threads, on CPUs 0-11, memory bound to node 0, tcmalloc" in page.text
    assert "Copying memory gets slower" in page.text
    assert "Start without scripts/launch.sh" in page.text


def test_what_could_not_be_checked_says_why(page):
    assert "Whether every memory channel is filled" in page.text
    assert "/sys/firmware/dmi/tables/DMI permission denied" in page.text


def test_failures_are_not_folded(html):
    before = html[: html.index("Measurements that failed")]
    assert before.count("<details") == before.count("</details")


def test_banner_only_where_the_record_is_not_whole(page):
    words = "did not get to its end"
    assert words not in page.text
    assert words in Page(rendered(make_record(complete=False))).text


def test_same_record_same_bytes(html):
    assert render_report(make_record()) == html


def test_hostile_data_stays_text():
    finding = Finding(id="x", severity="problem", title=HOSTILE, detail=HOSTILE, evidence=(HOSTILE, '"><img src=x>'))
    record = make_record(
        hostile_host(),
        name=HOSTILE,
        verdict=HOSTILE,
        findings=(finding,),
        params={"tune": {"host": HOSTILE, HOSTILE: HOSTILE, "budget": HOSTILE}},
        versions={HOSTILE: HOSTILE},
    )
    measurements = tuple(
        m.model_copy(
            update={"id": HOSTILE, "outcome": m.outcome.model_copy(update={"kind": "error", "detail": HOSTILE})}
        )
        for m in tuning(record).measurements[:1]
    )
    html = render_report(changed(record, measurements=measurements + tuning(record).measurements[1:]))
    assert html.count("<script") == 1
    assert "<img src=x" not in html
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert "alert(&#39;gpu&#39;)" in html, "but it can be read"
    html.encode()
    Page(html)


@pytest.mark.parametrize("missing", PARTS)
def test_any_part_may_be_missing(missing):
    record = make_record(**{missing: ()})
    page = Page((rendered if missing in NOT_DRAWN else render_report)(record))
    ids = {a["id"] for _, a in page.tags if "id" in a}
    assert {a["href"][1:] for a in page.all("a") if a["href"].startswith("#")} <= ids


def test_a_plan_that_the_record_speaks_of_and_lacks_is_one_line(tmp_path):
    """Nothing stands in for it: neither today's default nor a name that looks like it."""
    whole = make_record().model_dump(mode="json")
    for plans, named in (
        ([], "default"),
        ([p for p in whole["studies"]["tune"]["plans"] if p["id"] != "node0"], "node0"),
    ):
        damaged = {**whole, "studies": {"tune": {**whole["studies"]["tune"], "plans": plans}}}
        (tmp_path / "record.json").write_text(json.dumps(damaged))
        with pytest.raises(UsageError, match=f"record.json: studies.tune: .*no plan has the id '{named}'$"):
            rendered(store.load(tmp_path))
    other = make_record().recommendations[0].model_copy(update={"plan": "threads-3"})
    with pytest.raises(UsageError, match="recommendations: launch-overall: no plan has the id 'threads-3'"):
        rendered(make_record(recommendations=(other,)))


def test_nothing_at_all(host):
    nothing = dict.fromkeys((*PARTS, "plans"), ())
    page = Page(render_report(make_record(host, **nothing, noise=None, params={}, versions={})))
    assert "Nothing could be measured" in page.text
    assert len(page.all("img")) == 1


@pytest.mark.parametrize("path", sorted(OLD.glob("*.json")), ids=lambda path: path.stem)
def test_the_report_of_each_topic_is_as_sound(path):
    page = Page(render_report(store.load(path), path.parent))
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for a in page.all("a") if a["href"].startswith("#")} <= set(ids)
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))
    assert len(page.text) > 500


# The first screen


def first_screen(**more) -> str:
    text = Page(rendered(make_record(**more))).text
    return text[: text.index("The host")]


ASKED = (
    Asked(topic="explain", title="The program", looked_at="a small program", seconds=6.1, beyond="your own program",
          command="hwdiag explain -- python your_program.py"),
    Asked(topic="dataloader", title="Data", why_not="no data was given", beyond="storage and loader",
          command="hwdiag dataloader --data FOLDER"),
)  # fmt: skip


def test_the_first_screen_says_what_to_do_and_what_it_gains():
    said = first_screen()
    assert "All recommended changes were measured together." in said
    assert "Start your program with this script: 1.12x as fast here." in said
    assert "scripts/launch.sh -- python your_program.py" in said
    assert "Mend what was found: torch dies under tcmalloc, once in four starts" in said
    assert "hwdiag explain -- python your_program.py" in said
    assert "hwdiag diagnose --budget thorough" not in said, "what was decided is not open"


def test_without_a_gain_the_first_screen_claims_none_and_says_what_would_decide():
    nothing = make_record().recommendations[0].model_copy(update={"plan": None, "speedup": None})
    said = first_screen(recommendations=(nothing,), comparisons=(), findings=())
    assert "measured together" not in said
    assert "scripts/launch.sh" not in said
    assert "hwdiag diagnose --budget thorough" in said


def test_what_was_not_looked_at_is_said_with_the_command_that_would():
    record = make_record()
    triage = Triage(started_at="2026-01-01T00:00:00Z", asked=ASKED, total_s=270)
    page = Page(rendered(record.model_copy(update={"studies": {**record.studies, "diagnose": triage}})))
    assert "Not looked at: storage and loader." in page.text[: page.text.index("The host")]
    told = page.text[page.text.index("What was looked at, and what was not") :]
    assert "Looked at: a small program, in 6.1 s." in told
    assert "Not looked at: no data was given." in told
    assert "hwdiag dataloader --data FOLDER" in told


def test_what_another_run_looked_at_is_not_called_left_out():
    record = make_record()
    triage = Triage(started_at="2026-01-01T00:00:00Z", asked=ASKED)
    there = {**record.studies, "diagnose": triage, "dataloader": triage}
    assert [a.topic for a in asked(record.model_copy(update={"studies": there}))] == ["explain"]


def test_a_command_of_ones_own_stands_in_what_is_to_be_copied():
    said = first_screen(params={"tune": {"command": ["python", "my train.py"]}})
    assert "scripts/launch.sh -- python 'my train.py'" in said
    assert "hwdiag explain -- python 'my train.py'" in said


@pytest.mark.parametrize("path", ["javascript:alert(1)", "//evil/x", "/etc/passwd", "../up/launch.sh", "a b/launch.sh"])
def test_only_plain_paths_below_the_report_are_links(path):
    with pytest.raises(ValidationError, match="path"):
        EmittedFile(path=path, what="x")
    files = (EmittedFile(path="scripts/launch.sh", what="x"),)
    assert "scripts/launch.sh" in {a["href"] for a in Page(rendered(make_record(files=files))).all("a")}


def test_lists_of_measurements_are_not_printed(html):
    printed = html[html.index("@media print") : html.index("</style>")]
    for name in (".ids", ".drawn", ".evidence", ".rows"):
        assert re.search(rf"{re.escape(name)}[ ,][^{{}}]*{{ display: none", printed)
    hidden = r'<(span|details|dt|dd|div) class="[^"]*\b(ids|drawn|evidence)\b.*?</\1>'
    outside = re.sub(hidden, "", html, flags=re.DOTALL)
    section = outside.index('<section aria-labelledby="measurements">')
    assert not re.search(r">m\d{4}<", outside[:section])


def test_a_host_does_not_contradict_its_nodes():
    """A machine that was given more memory while it ran told 23.5 GiB, and its only node 15.7 GiB."""
    host = make_record().host
    nodes = tuple(n.model_copy(update={"memory_bytes": 10 << 30}) for n in host.numa)
    text = Page(rendered(make_record(host.model_copy(update={"numa": nodes})))).text
    assert "10 GiB" not in text.replace("20 GiB for all nodes", "")
    assert "left out: the kernel reports 20 GiB for all nodes, and 256 GiB in /proc/meminfo" in text


def test_a_script_that_sets_nothing_is_no_step_and_fewer_bits_are_one() -> None:
    """The first step was to start a script that set nothing; what was twice as fast in bf16 was missing."""
    found = actions(store.load(EXAMPLE))
    assert [a.command for a in found[:2]] == ["cat scripts/settings.py", "cat scripts/settings_reduced.py"]
    assert "1.10x as fast here" in found[0].words
    assert found[1].words.endswith("2.11x as fast here at lower precision. Compare your results.")


def test_the_heading_is_one_line_and_what_else_was_found_is_below_it() -> None:
    """A verdict with two accuracies was a heading of five lines."""
    html = render_report(store.load(EXAMPLE))
    head = re.search(r'class="verdict">([^<]*)<', html)
    assert head is not None
    assert "At lower precision" not in head[1]
    assert len(head[1]) < 90
    assert re.search(r'class="besides">At lower precision [^<]*2.11x as fast', html)


def test_an_opportunity_says_the_same_steps_as_the_first_screen() -> None:
    """The card said to start a script that sets nothing; the first screen said to import a file."""
    text = Page(render_report(store.load(EXAMPLE))).text
    cards = text[text.index("Each gain was measured") :]
    assert "scripts/launch.sh -- python" not in text
    assert "cat scripts/settings.py" in cards
    assert "channels_last: Stores images pixel by pixel" in cards
    assert "Remove the import of the settings file from the program." in cards


def test_what_several_topics_could_not_check_is_said_once() -> None:
    record, title = store.load(EXAMPLE), "The far side of the moon"
    missed = tuple(Check(id=f"{topic}.moon", state="unchecked", title=title) for topic in ("audit", "explain"))
    gap = Gap(what=title, why="nobody looked")
    host = record.host.model_copy(update={"gaps": (*record.host.gaps, gap)})
    text = Page(rendered(record.model_copy(update={"host": host, "checks": (*record.checks, *missed)}))).text
    assert text[text.index("could not be checked, and why") : text.index("Checked and fine")].count(title) == 1


def test_a_curve_over_threads_is_of_nothing_else() -> None:
    """A plan with one thread and bf16 was "best: 1.58x with 1 thread" over a curve that showed 0.64x there."""
    curves = curves_of(store.load(EXAMPLE))
    assert {p.estimate.plan for c in curves for p in c.points} == {"default", "threads=1"}
    assert all(c.best.threads == 2 for c in curves)


def test_times_of_studies_are_shown_only_where_they_are_of_another_run() -> None:
    record = store.load(EXAMPLE)
    assert dates(record) == []
    assert dates(
        record.model_copy(update={"started_at": "2026-12-02T00:00:00Z", "finished_at": "2026-12-02T00:05:00Z"})
    )
