"""Widgets that choose and steer in JupyterLab. Whatever they show, a static table shows too: widgets do not survive
in files that are reopened, and headless runs have none.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from html import escape
from typing import Any, TypeVar, get_args

from hwdiag.core.choices import BudgetName
from hwdiag.core.command_line import choice_of
from hwdiag.core.errors import HwdiagError
from hwdiag.core.text import listed, plural
from hwdiag.parameters.diagnosis import Profile
from hwdiag.record.model import Record
from hwdiag.report.table import Table

T = TypeVar("T")


def is_interactive() -> bool:
    """Return whether a person watches: Jupyter's server names the session of its kernels, papermill and nbval do
    not."""
    return "JPY_SESSION_NAME" in os.environ


def show_now(thing: Any) -> None:
    """Show something in the running notebook."""
    from IPython.display import display

    display(thing)  # type: ignore[no-untyped-call]


ORDER = "Precedence: these menus, then the cell above or papermill's -p, then HWDIAG_NAME, then the host's profile."
AGAIN = "Chosen for the next run: choose Run, Run All Cells. The outputs below are of a run without it."
WAITS = "Choose, then press Start."
GRACE_S = 8
"""How long a run waits for a first choice in the menus before it begins without one."""
LOOK_S = 0.1


class ProfileChooser:
    """The parameters of the run; in JupyterLab, two menus change the host profile and the budget, and a button starts.

    Cells that run all at once wait some seconds for a choice, and as long as it takes once there is one. Where the
    browser's choices reach the kernel only between cells, as before ipykernel 7, a choice counts from the next run.
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
        self._note: Any = None
        self._start: Any = None
        self._waiting = self._started = False

    def chosen(self) -> Profile:
        """Return the parameters that were chosen. Raises what is wrong with the last choice."""
        if self._wrong is not None:
            raise self._wrong
        return self.profile

    @property
    def compares_only(self) -> bool:
        """Return whether the host profile was chosen in the menu: it is compared with, and gives no folder its name."""
        return self._menus.get("host", "auto") != "auto"

    async def ready(self) -> None:
        """Show the parameters, and wait for a choice where there are menus."""
        show_now(self)
        await self.wait()

    async def wait(self) -> None:
        """Wait for a choice in the menus that are shown: ``GRACE_S`` seconds, or until the button after a first one."""
        if self._note is None or self._started:
            return
        self._waiting, end, before = True, time.monotonic() + GRACE_S, dict(self._menus)
        in_view: float | None = time.monotonic() + 5 * LOOK_S
        try:
            while not self._started and (self._menus != before or time.monotonic() < end):
                left = WAITS if self._menus != before else f"Starts in {end - time.monotonic():.0f} s, or now by Start."
                self._note.value = f"{left} {ORDER}"
                await asyncio.sleep(LOOK_S)
                if in_view and time.monotonic() > in_view:  # running all cells scrolls to the last one
                    in_view = self._start.focus()
            self._note.value = f"Running. {ORDER}"
        finally:
            self._waiting, self._started = False, True

    def table(self) -> Table:
        """Return the parameters as a table."""
        fields = type(self.profile).model_fields
        shown = ((name, value) for name, value in self.profile if name not in ("expect", "title"))
        rows = [(name, choice_of(fields[name], value)) for name, value in shown]
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

        whole = {"description_width": "initial"}
        host = w.Dropdown(options=self._names, value=self.profile.host, description="Compare with profile", style=whole)
        budget = w.Dropdown(options=get_args(BudgetName), value=self.profile.budget, description="Budget")
        self._start = start = w.Button(description="Start", button_style="primary")
        shown = w.HTML(self.table().to_html())
        self._note = w.HTML(f"Chosen in the menus: {listed(self._menus.values())}. {ORDER}" if self._menus else ORDER)
        self._started = False

        def choose(change: Any, name: str) -> None:
            self._menus[name] = change["new"]
            try:
                self.profile, self._wrong = self._load({**self.given, **self._menus}), None
                shown.value = self.table().to_html()
                self._note.value = WAITS if self._waiting else AGAIN
            except HwdiagError as error:  # an exception in a callback would vanish into the server's log
                self._wrong = error
                shown.value = Table(caption="Not possible", header=("why",), rows=[(str(error),)]).to_html()

        for name, menu in (("host", host), ("budget", budget)):
            menu.observe(lambda change, name=name: choose(change, name), names="value")
        start.on_click(lambda _: setattr(self, "_started", True))
        show_now(w.VBox([w.HBox([host, budget, start]), self._note, shown]))


class EmitChooser:
    """A choice of the recommendations that become scripts; in JupyterLab, a checkbox for each.

    A box that is ticked after the scripts were written writes them again.
    """

    def __init__(self, record: Record) -> None:
        self.chosen = {r.id for r in record.recommendations if r.is_taken_on}
        self._choices = [(r.id, r.title) for r in record.recommendations if r.plan is not None]
        self._write: Callable[[Collection[str]], object] | None = None
        self._note: Any = None

    def write(self, write: Callable[[Collection[str]], T]) -> T:
        """Write the chosen scripts by ``write``, now and whenever the choice changes. Returns what it returns now."""
        self._write = write
        return write(self.chosen)

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

        boxes: list[Any] = []
        for name, title in self._choices:
            box = w.Checkbox(value=name in self.chosen, description=title, indent=False, layout=w.Layout(width="auto"))
            box.observe(lambda change, name=name: self._set(name, change["new"]), names="value")
            boxes.append(box)
        self._note = w.HTML("The scripts of ticked boxes are written below, and again whenever you tick or untick one.")
        show_now(w.VBox([*boxes, self._note]))

    def _set(self, name: str, wanted: bool) -> None:
        (self.chosen.add if wanted else self.chosen.discard)(name)
        if self._write is None:
            return
        try:
            self._write(self.chosen)
            said = "Written again"
        except HwdiagError as error:
            said = f"Not written: {escape(str(error))}"
        self._note.value = f"{said}, with {plural(len(self.chosen), 'recommendation')}."
