"""No package imports one above it, topics do not import each other, and no modules import each other in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1] / "hwdiag"
LAYERS = (
    ("core",),
    ("host",),
    ("agent",),
    ("process",),
    ("experiment",),
    ("catalogue",),
    ("parameters",),
    ("record",),
    ("report", "metrics"),
    ("workbook",),
    (
        "audit",
        "compat",
        "compare",
        "dataloader",
        "devices",
        "estimate",
        "explain",
        "monitor",
        "profile",
        "tune",
        "verify",
    ),
    ("diagnose",),
    ("api",),
    ("cli",),
    ("__main__",),
)
"""From the bottom to the top. Packages of one layer do not import each other."""
ALLOWED: dict[tuple[str, str], str] = {
    ("hwdiag.parameters.devices", "hwdiag.devices.nets"): "a net is looked up only where one is named",
}
"""Imports that point up, with the reason."""


def module_name(path: Path) -> str:
    parts = ("hwdiag", *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


@cache
def imports(name: str) -> tuple[str, ...]:
    """Return each module that a module imports, at whatever time."""
    return tuple(imported(name))


def imported(name: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            above = name.split(".")[: -node.level] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                whole = f"{module}.{alias.name}"
                yield whole if whole in MODULES else module
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name


def layer(name: str) -> tuple[int, str]:
    """The height of a module's package, and the package."""
    package = name.split(".")[1] if "." in name else ""
    return next((n for n, names in enumerate(LAYERS) if package in names), -1), package


def test_every_package_has_its_layer() -> None:
    packages = {name.split(".")[1] for name in MODULES if "." in name}
    assert packages == {name for names in LAYERS for name in names}


def test_no_import_points_up_or_to_another_topic() -> None:
    wrong = set()
    for name in MODULES:
        (height, package) = layer(name)
        for found in imports(name):
            if found not in MODULES:
                continue
            other, its = layer(found)
            if other > height or (other == height and its != package):
                wrong.add((name, found))
    assert wrong == set(ALLOWED)


def circles() -> list[list[str]]:
    """Return the modules that import each other: the strongly connected components of more than one (Tarjan)."""
    graph = {name: sorted({found for found in imports(name) if found in MODULES} - {name}) for name in MODULES}
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in graph[name]:
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            component = []
            while not component or component[-1] != name:
                component.append(stack.pop())
            if len(component) > 1:
                found.append(sorted(component))

    for name in graph:
        if name not in index:
            visit(name)
    return found


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert circles() == []


def test_the_agent_imports_nothing_of_ours() -> None:
    agents = [name for name in MODULES if name.startswith("hwdiag.agent.")]
    assert [(name, found) for name in agents for found in imports(name)
            if found.startswith("hwdiag.") and not found.startswith("hwdiag.agent.")] == []  # fmt: skip


def test_a_notebook_has_the_name_of_its_package_and_verb() -> None:
    notebooks = {path.stem for path in (ROOT.parent / "notebooks").glob("*.ipynb")}
    assert {name for name in notebooks if f"hwdiag.{name}.steps" not in MODULES} == set()
    verbs = {name.split(".")[1] for name in MODULES if name.endswith(".verb")}
    assert notebooks <= verbs
