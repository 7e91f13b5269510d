"""Parameters as a notebook and the documentation show them, made from the topics' models.

``python -m hwdiag.workbook.params --write`` writes the notebooks' parameters cells and docs/parameters.md anew;
without ``--write`` it says which of them differ.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel

from hwdiag.core.command_line import choice_of, default_of, flags_of
from hwdiag.core.errors import HwdiagError
from hwdiag.core.home import home
from hwdiag.core.kinds import kind_of
from hwdiag.core.params import option_of
from hwdiag.core.value import Value
from hwdiag.parameters.diagnosis import TOPICS
from hwdiag.report.table import Table

M = TypeVar("M", bound=Value)

NOTEBOOKS = {
    "diagnose": "run",
    "explain": "explain",
    "audit": "audit",
    "compat": "compat",
    "devices": "devices",
    "dataloader": "dataloader",
    "estimate": "estimate",
    "monitor": "monitor",
    "compare": "compare",
}
"""The topic whose parameters a notebook has."""
OFTEN = {
    "host", "budget", "python", "data_dir", "workload_file", "command", "accuracy", "dataset_file", "step_ms", "nets",
    "parts",
}  # fmt: skip
LONG = 10
"""Lines from which on a parameters cell shows first what is often needed."""
MADE = "<!-- made by python -m hwdiag.workbook.params --write -->\n"


class ChosenParameters(Generic[M]):
    """The parameters of a notebook's run, shown as a table."""

    def __init__(self, params: M) -> None:
        self.params = params

    def table(self) -> Table:
        """Return the parameters as a table."""
        fields = type(self.params).model_fields
        rows = [(name, choice_of(fields[name], value)) for name, value in self.params]
        return Table("Parameters", ("parameter", "value"), rows)

    def _repr_html_(self) -> str:
        return self.table().to_html()

    def __repr__(self) -> str:
        return repr(self.table())


def cell_of(model: type[BaseModel]) -> str:
    """Return the source of a notebook's parameters cell: papermill wants one ``name: type = value  # help`` a line.

    Every value is ``None``, not given, so that variables and profiles count. In a long cell the parameters that most
    runs want come first.
    """
    lines = {
        name: f"{name}: {'list' if kind_of(f).is_list else kind_of(f).type.__name__} = None  # {f.description}"
        for name, f in model.model_fields.items()
    }
    first = [line for name, line in lines.items() if name in OFTEN]
    rest = [line for name, line in lines.items() if name not in OFTEN]
    return "\n".join(lines.values() if len(lines) < LONG else [*first, "# Seldom needed:", *rest])


def table_of(model: type[BaseModel]) -> str:
    """Return the parameters as a Markdown table."""
    lines = [("Parameter", "Option", "What it is", "Default"), ("---",) * 4]
    for name, field in model.model_fields.items():
        option = option_of(field)
        flag = option.metavar if option.positional else flags_of(name, field)[0]
        lines.append((f"`{name}`", f"`{flag}`", field.description or "", f"`{default_of(field) or None}`"))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def documentation() -> str:
    """Return docs/parameters.md: every topic's table."""
    text = "# Parameters\n\n" + MADE
    text += (
        "Every parameter is given as an option of its verb, as `--set NAME=VALUE`, as `-p NAME VALUE` to papermill, in "
        "the notebook's first cell, as a variable `HWDIAG_NAME`, or in a profile `params/HOST.yaml`.\n"
        "A value that was given wins over the variable, the variable over the profile, the profile over the default.\n"
        "A list is given as `a,b`, as `[a, b]`, or by its option again and again.\n"
        "A wrong name or value stops at once, with one line that says what is allowed.\n\n"
        "A profile may hold the parameters of all verbs: with `budget: thorough` in it, `hwdiag devices --host NAME` "
        "takes that budget too.\n"
        "Profiles are there for `auto`, `dgx`, `xeon-e5v2`, `xeon-e5v2-rtx3060`, `threadripper` and `datacenter`.\n"
        "They say what hardware to expect, and a host that differs gets a finding, not an error.\n"
        "`hwdiag init-host NAME` writes one that expects what it finds here.\n"
    )
    for verb, model in TOPICS.items():
        notebooks = [f"[{name}](../notebooks/{name}.ipynb)" for name, topic in NOTEBOOKS.items() if topic == verb]
        verbs = "`hwdiag run`, `tune` and `diagnose`" if verb == "run" else f"`hwdiag {verb}`"
        text += f"\n## {verbs}\n\n"
        text += f"Notebook: {', '.join(notebooks)}.\n\n" if notebooks else ""
        text += table_of(model)
    return text


def with_cell(text: str, source: str) -> str:
    """Return a notebook with this parameters cell. Raises ``HwdiagError`` where it has none."""
    notebook = json.loads(text)
    cell = next((c for c in notebook["cells"] if "parameters" in c["metadata"].get("tags", ())), None)
    if cell is None:
        raise HwdiagError("a notebook has no cell that is tagged 'parameters'")
    cell["source"] = source.splitlines(keepends=True)
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def documents(root: Path) -> Iterator[tuple[Path, str]]:
    """Give each file that shows parameters, with the text that it should have."""
    for name, verb in NOTEBOOKS.items():
        path = root / "notebooks" / f"{name}.ipynb"
        if path.is_file():
            yield path, with_cell(path.read_text(encoding="utf-8"), cell_of(TOPICS[verb]))
    yield root / "docs" / "parameters.md", documentation()


def main() -> int:
    """Compare or write the files; exit status 1 where one differed and nothing was written."""
    words = argparse.ArgumentParser(prog="python -m hwdiag.workbook.params", description=documents.__doc__)
    words.add_argument("--write", action="store_true", help="write what differs")
    write = words.parse_args().write
    differ = [(p, t) for p, t in documents(home()) if not p.is_file() or p.read_text(encoding="utf-8") != t]
    for path, text in differ:
        print(f"{'wrote' if write else 'differs'}: {path}")
        if write:
            path.write_text(text, encoding="utf-8")
    return int(bool(differ) and not write)


if __name__ == "__main__":
    sys.exit(main())
