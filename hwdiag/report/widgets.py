"""Widgets that choose and steer in JupyterLab. Whatever they show, a static table shows too: widgets do not survive
in files that are reopened, and headless runs have none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

from hwdiag.core.choices import BudgetName
from hwdiag.core.errors import HwdiagError
from hwdiag.core.text import listed
from hwdiag.parameters.diagnosis import Profile
from hwdiag.record.model import Record
from hwdiag.report.table import Table


def is_interactive() -> bool:
    """Return whether a person watches: Jupyter's server names the session of its kernels, papermill and nbval do
    not."""
    return "JPY_SESSION_NAME" in os.environ


def show_now(thing: Any) -> None:
    """Show something in the running notebook."""
    from IPython.display import display

    display(thing)  # type: ignore[no-untyped-call]


ORDER = "Precedence: these menus, then the cell above or papermill's -p, then HWDIAG_NAME, then the host's profile."
AGAIN = "Chosen for the next run. The outputs below are of a run without it: choose Run, Run All Cells."


class ProfileChooser:
    """The parameters of the run; in JupyterLab, two menus change the host profile and the budget of the next one.

    Cells that run all at once don't wait for menus: a choice counts from the next run on, and that is said.
    """

    def __init__(
        self,
        profile: Profile,
        names: Iterable[str],
        load: Callable[[Mapping[str, Any]], Profile],
        given: Mapping[str, Any] | None = None,
    ) -> None:
        """Start with ``profile``, which ``load`` made of the parameters ``given``; ``names`` are all profiles."""
        self.profile = profile
        self.given = dict(given or {})
        self._names = list(names)
        self._load = load
        self._menus: dict[str, str] = {}
        self._wrong: HwdiagError | None = None

    def chosen(self) -> Profile:
        """Return the parameters that were chosen. Raises what is wrong with the last choice."""
        if self._wrong is not None:
            raise self._wrong
        return self.profile

    def table(self) -> Table:
        """Return the parameters as a table."""
        rows = [(name, text_of(value)) for name, value in self.profile if name not in ("expect", "title")]
        return Table(
            caption=f"Parameters: {self.profile.title or self.profile.host}", header=("parameter", "value"), rows=rows
        )

    def _ipython_display_(self) -> None:
        if is_interactive() and self._names:
            self._show_menus()
        else:
            show_now(self.table())

    def _show_menus(self) -> None:
        import ipywidgets as w

        host = w.Dropdown(options=self._names, value=self.profile.host, description="Host")
        budget = w.Dropdown(options=get_args(BudgetName), value=self.profile.budget, description="Budget")
        shown = w.HTML(self.table().to_html())
        note = w.HTML(f"Chosen in the menus: {listed(self._menus.values())}. {ORDER}" if self._menus else ORDER)

        def choose(change: Any, name: str) -> None:
            self._menus[name] = change["new"]
            try:
                self.profile, self._wrong = self._load({**self.given, **self._menus}), None
                shown.value, note.value = self.table().to_html(), AGAIN
            except HwdiagError as error:  # an exception in a callback would vanish into the server's log
                self._wrong = error
                shown.value = Table(caption="Not possible", header=("why",), rows=[(str(error),)]).to_html()

        for name, menu in (("host", host), ("budget", budget)):
            menu.observe(lambda change, name=name: choose(change, name), names="value")
        show_now(w.VBox([w.HBox([host, budget]), note, shown]))


class EmitChooser:
    """A choice of the recommendations that become scripts; in JupyterLab, a checkbox for each."""

    def __init__(self, record: Record) -> None:
        self.chosen = {r.id for r in record.recommendations if r.plan is not None and not r.offered}
        self._choices = [(r.id, r.title) for r in record.recommendations if r.plan is not None]

    def table(self) -> Table:
        """Return a table of what will be written."""
        rows = [("yes" if i in self.chosen else "no", title) for i, title in self._choices]
        return Table(
            caption="Scripts to write",
            header=("written", "recommendation"),
            rows=rows or [("-", "none: keep what you have")],
        )

    def _ipython_display_(self) -> None:
        if is_interactive() and self._choices:
            self._show_checkboxes()
        else:
            show_now(self.table())

    def _show_checkboxes(self) -> None:
        import ipywidgets as w

        boxes = []
        for name, title in self._choices:
            box = w.Checkbox(value=name in self.chosen, description=title, indent=False, layout=w.Layout(width="auto"))
            box.observe(lambda change, name=name: self._set(name, change["new"]), names="value")
            boxes.append(box)
        show_now(w.VBox(boxes))

    def _set(self, name: str, wanted: bool) -> None:
        (self.chosen.add if wanted else self.chosen.discard)(name)


def text_of(value: Any) -> str:
    """Return a parameter's value as a person writes it."""
    if value is None:
        return "as found"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
