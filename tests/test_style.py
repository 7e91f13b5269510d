"""The words of docs/style.md, held over every sentence that a user can see."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STYLE = ROOT / "docs" / "style.md"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(ROOT.glob("docs/**/*.md"))]
WHAT = r"(?:^|[.!?] )What (?=\w+ )[^.?!\n]{6,}\.(?:\s|$)"
"""A sentence that begins with "What" and ends with a full stop."""


def words() -> list[str]:
    """The phrases in the first column of the table of words."""
    table = STYLE.read_text(encoding="utf-8").partition("## Words")[2]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| ")]
    return [phrase for cell in cells[2:-1] for phrase in re.findall(r"`([^`]+)`", cell)]


WORDS = words()
AVOIDED = re.compile(
    "|".join([rf"\b(?:{'|'.join(f'(?i:{w[0]}){re.escape(w[1:])}' for w in WORDS)})\b", WHAT]), re.MULTILINE
)
"""Names of variables in capitals are none of these."""
TEMPLATE = re.compile(r"\{[{%].*?[%}]\}")


def texts_of_code(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts of a module, with their lines, but not its docstrings; of an f-string what does not vary."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    left_out = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    joined = [n for n in ast.walk(tree) if isinstance(n, ast.JoinedStr)]
    left_out |= {id(part) for n in joined for part in n.values}
    for text in joined:
        yield text.lineno, "".join(str(p.value) if isinstance(p, ast.Constant) else "X" for p in text.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in left_out:
            yield node.lineno, node.value


def avoided(texts: Iterator[tuple[object, str]]) -> list[str]:
    """The places of phrases that a person should not meet."""
    return [f"{where}: {m[0]!r} in {text[:80]!r}" for where, text in texts if (m := AVOIDED.search(text))]


def test_the_list_of_words_is_read() -> None:
    assert {"for want of", "tells", "in place of", "nobody's"} <= set(WORDS)
    assert len(WORDS) > 30


@pytest.mark.parametrize(
    "text",
    [
        "Killed for want of memory.",
        "The driver tells its clock.",
        "What it costs was not measured.",
        "Fine: In place of",
    ],
)
def test_a_riddle_is_found(text: str) -> None:
    assert avoided(iter([(1, text)]))


@pytest.mark.parametrize("text", ["What is this machine?", "What it sets", "It tolls.", "A placement of threads."])
def test_plain_words_are_let_through(text: str) -> None:
    assert avoided(iter([(1, text)])) == []


def test_the_code_speaks_plainly() -> None:
    """Findings, checks, settings, help texts, reports: every text in the package that has a space in it."""
    files = sorted(ROOT.glob("hwdiag/**/*.py"))
    texts = ((f"{p.relative_to(ROOT)}:{n}", t) for p in files for n, t in texts_of_code(p) if " " in t)
    assert avoided(texts) == []


def test_messages_and_templates_speak_plainly() -> None:
    """Scripts with their comments, which a person reads before starting one as root."""
    files = [ROOT / "hwdiag" / "explain" / "messages.yaml", *ROOT.glob("hwdiag/**/templates/**/*.*")]
    assert len(files) > 15
    read = ((p, TEMPLATE.sub("X", p.read_text(encoding="utf-8"))) for p in files)
    lines = ((f"{p.name}:{n}", line) for p, text in read for n, line in enumerate(text.splitlines(), 1))
    assert avoided(lines) == []


def test_notebooks_speak_plainly() -> None:
    notebooks = sorted(ROOT.glob("notebooks/*.ipynb"))
    cells = ((p.name, c) for p in notebooks for c in json.loads(p.read_text(encoding="utf-8"))["cells"])
    assert avoided((name, "".join(c["source"])) for name, c in cells if c["cell_type"] == "markdown") == []


def test_stored_outputs_speak_plainly() -> None:
    """Records hold their version's sentences: tools/example-again.py says them again in today's words."""
    plain = re.compile(AVOIDED.pattern.rpartition("|(?:^|")[0])
    for path in sorted(ROOT.glob("notebooks/*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        outputs = [o for c in cells for o in c.get("outputs", ())]
        text = "".join(line for o in outputs for line in (o.get("text") or o.get("data", {}).get("text/plain", ())))
        assert outputs
        assert (path.name, plain.findall(text)) == (path.name, [])


@pytest.mark.parametrize("page", [p for p in PAGES if p != STYLE], ids=lambda p: str(p.relative_to(ROOT)))
def test_a_page_speaks_plainly(page: Path) -> None:
    lines = page.read_text(encoding="utf-8").splitlines()
    assert avoided((f"{page.name}:{n}", line) for n, line in enumerate(lines, 1)) == []
