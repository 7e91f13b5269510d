"""A class has a name of its own, and a docstring says what a function returns or does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "hwdiag"
QUESTIONS = frozenset({
    "What", "Whether", "How", "Which", "Why", "Who", "Where", "When", "Does", "Did", "Is", "Are", "Was", "Has",
    "Can", "Will", "Of", "Those", "Its", "Same", "As",
})  # fmt: skip
"""First words of an answer to a question that nobody asked."""
OPENINGS = {ast.FunctionDef: QUESTIONS | {"The", "All"}, ast.ClassDef: QUESTIONS, ast.Module: QUESTIONS}
"""First words that a docstring must not have."""

Documented = ast.FunctionDef | ast.ClassDef | ast.Module


@cache
def definitions() -> list[tuple[Path, Documented]]:
    """Return each module, class and function, with its module's path below hwdiag/."""
    paths = sorted(ROOT.rglob("*.py"))
    trees = ((path.relative_to(ROOT), ast.parse(path.read_text(encoding="utf-8"))) for path in paths)
    return [(path, node) for path, tree in trees for node in ast.walk(tree) if isinstance(node, Documented)]


def class_places() -> dict[str, list[str]]:
    """Return where each class is defined, by its name."""
    places: dict[str, list[str]] = {}
    for path, node in definitions():
        if isinstance(node, ast.ClassDef):
            places.setdefault(node.name, []).append(f"{path}:{node.lineno}")
    return places


def questions(kind: type[Documented]) -> Iterator[str]:
    """Yield each docstring of a kind that begins with a question, or with a word that answers one."""
    for path, node in definitions():
        if isinstance(node, kind) and (text := ast.get_docstring(node)):
            first = text.split("\n", 1)[0]
            if first.split()[0].strip(",.:;?") in OPENINGS[kind] or first.rstrip().endswith("?"):
                yield f"{path}:{node.body[0].lineno}: {first}"


def test_no_two_classes_share_a_name() -> None:
    doubled = {name: places for name, places in class_places().items() if len(places) > 1}
    assert not doubled, f"{len(doubled)} names of classes are taken more than once: {doubled}"


@pytest.mark.parametrize("kind", OPENINGS, ids=lambda kind: kind.__name__)
def test_a_docstring_begins_with_what_it_describes(kind: type[Documented]) -> None:
    found = list(questions(kind))
    assert not found, f"{len(found)} docstrings begin with a question, or answer one:\n" + "\n".join(found)
