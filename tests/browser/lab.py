"""JupyterLab in a real browser: a server on copies of the notebooks, and a page that Playwright drives."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
FLAGS += ["--disable-sync"]
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
SETTINGS = {"notification": {"fetchNews": "false", "checkForUpdates": False}, "themes": {}}


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Lab:
    """A page of a running JupyterLab."""

    def __init__(self, page: Any, url: str, home: Path) -> None:
        self.page, self.url, self.home = page, url, home

    def open(self, name: str) -> None:
        """Open a notebook, when the server is there."""
        until = time.monotonic() + 60
        while True:
            try:
                self.page.goto(f"{self.url}/lab/workspaces/{name}/tree/notebooks/{name}.ipynb")
                break
            except Exception:
                if time.monotonic() > until:
                    raise
                time.sleep(0.3)
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=60_000)
        self.page.wait_for_selector("text=| Idle", timeout=60_000)

    def run_all(self) -> None:
        self.page.click("#jp-MainMenu >> text=Run")
        self.page.click('[data-command="runmenu:run-all"]')

    def interrupt(self) -> None:
        self.page.click('[data-command="notebook:interrupt-kernel"]')

    def cells(self, name: str) -> list[dict[str, Any]]:
        """Save the notebook, and return its code cells as they are in the file."""
        path = self.home / "notebooks" / f"{name}.ipynb"
        before = path.stat().st_mtime_ns
        self.page.keyboard.press("Escape")
        self.page.keyboard.press("Control+s")
        until = time.monotonic() + 20
        while time.monotonic() < until:
            time.sleep(0.2)
            text = path.read_text(encoding="utf-8")
            if path.stat().st_mtime_ns != before and text.rstrip().endswith("}"):  # Jupyter writes in place
                break
        return [c for c in json.loads(text)["cells"] if c["cell_type"] == "code"]

    def wait_idle(self, name: str, seconds: float) -> list[dict[str, Any]]:
        """Wait until all cells have run, or one failed; return them."""
        until = time.monotonic() + seconds
        while True:
            cells = self.cells(name)
            if all(c["execution_count"] for c in cells) or errors_of(cells) or time.monotonic() > until:
                return cells
            time.sleep(1)


def errors_of(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [o for c in cells for o in c["outputs"] if o["output_type"] == "error"]


@contextmanager
def running_lab(home: Path, theme: str = "light", width: int = 1200, **env: str) -> Iterator[Lab]:
    """Start JupyterLab on copies of the notebooks without their outputs in ``home``, and a browser; end both."""
    sync = pytest.importorskip("playwright.sync_api", reason="no playwright here")
    if CHROMIUM is None:
        pytest.skip("no Chromium here (make packages installs it)")
    shutil.copytree(ROOT / "params", home / "params")
    (home / "notebooks").mkdir()
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        notebook = json.loads(path.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            cell.update({"outputs": [], "execution_count": None} if cell["cell_type"] == "code" else {})
        (home / "notebooks" / path.name).write_text(json.dumps(notebook), encoding="utf-8")
    settings = home / "config" / "lab" / "user-settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    for name, values in {**SETTINGS, "themes": {"theme": THEMES[theme]}}.items():
        (settings / f"{name}.jupyterlab-settings").write_text(json.dumps(values), encoding="utf-8")
    port = free_port()
    words = ["-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={port}", "--ServerApp.port_retries=0"]
    words += ["--IdentityProvider.token=", f"--ServerApp.root_dir={home}", "--ServerApp.ip=127.0.0.1"]
    jupyter = {f"JUPYTER_{k}_DIR": str(home / k.lower()) for k in ("CONFIG", "DATA", "RUNTIME")}
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("HWDIAG_")}
    own = {"HWDIAG_HOME": str(home), "IPYTHONDIR": str(home / "ipython"), **jupyter, **env}
    with open(home / "log", "w", encoding="utf-8") as log:
        server = subprocess.Popen([sys.executable, *words], cwd=home, env={**inherited, **own}, stdout=log, stderr=log)
        try:
            with sync.sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
                page = browser.new_page(viewport={"width": width, "height": 1000}, color_scheme=theme)
                yield Lab(page, f"http://127.0.0.1:{port}", home)
                browser.close()
        finally:
            server.terminate()
            server.wait(30)
