"""The documentation: README.md is short, links lead somewhere, pages name what there is. `make docs` builds it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from hwdiag.cli import make_parser
from hwdiag.cli.texts import verbs_page
from hwdiag.record.model import Record
from hwdiag.workbook.params import NOTEBOOKS

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
LISTED = subprocess.run(["git", "ls-files", "-z", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
PAGES = [ROOT / name for name in LISTED.split("\0") if name and not name.startswith("outputs/")]
LINK = re.compile(r"\]\(([^)#\s]+)(#[^)\s]+)?\)")
MOST_LINES = 150


def test_the_readme_is_one_that_people_read() -> None:
    lines = README.read_text(encoding="utf-8").splitlines()
    assert len(lines) < MOST_LINES
    assert "make diagnose " in "\n".join(lines)
    assert "make test " in "\n".join(lines)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    """Headings are checked too, as GitHub and the site name them."""
    text = page.read_text(encoding="utf-8")
    for target, heading in LINK.findall(text):
        if "://" not in target:
            there = page.parent / target
            assert there.exists(), target
            if heading:
                assert heading[1:] in anchors(there), f"{target}{heading}"


def anchors(page: Path) -> set[str]:
    """Return the names of a page's headings in links."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", ["README.md", "docs/notebooks.md"])
def test_the_table_of_questions_has_every_notebook(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    rows = "\n".join(line for line in text.splitlines() if line.startswith("|"))
    assert [name for name in NOTEBOOKS if f"notebooks/{name}.ipynb)" not in rows] == []


def test_commands_of_the_readme_are_verbs() -> None:
    _, verbs = make_parser()
    named = set(re.findall(r"`hwdiag ([a-z-]+)", README.read_text(encoding="utf-8")))
    assert named - {"VERB"} <= set(verbs)
    assert {"diagnose", "explain", "tune"} <= named


def test_the_page_of_the_record_names_every_field() -> None:
    text = (ROOT / "docs" / "record.md").read_text(encoding="utf-8")
    assert [name for name in Record.model_fields if f"`{name}`" not in text] == []


def test_a_verb_has_its_help_and_details_on_the_page_of_the_verbs() -> None:
    text = verbs_page(make_parser()[1])
    assert "\n## hwdiag explain\n\n```text\nusage: hwdiag explain [OPTIONS]" in text
    assert "is started again for every measurement" in text


def test_a_warning_fails_the_documentation_and_that_fails_make_test() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(r"^docs: .*\n\t\$\(RUN\) sphinx .*-W ", makefile, re.MULTILINE)
    assert re.search(r"^test: .*\bdocs\b.* ##", makefile, re.MULTILINE)


def test_the_example_names_no_folder_of_the_machine_it_was_made_on() -> None:
    """The explained program's libraries were named below a temporary checkout."""
    files = [
        p for p in (ROOT / "outputs" / "example").rglob("*") if p.suffix in {".json", ".html", ".sh", ".py", ".svg"}
    ]
    assert not [p.name for p in files if re.search(r"/tmp/[^\s\"]*/\.venv/", p.read_text(encoding="utf-8"))]
