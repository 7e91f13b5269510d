"""Records on a web server: a listing and one file, each bounded in size and time."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hwdiag.compare.compare import newest
from hwdiag.core.errors import UsageError
from hwdiag.record import index, web

EXAMPLE = Path(__file__).parents[2] / "outputs" / "example"
PAGES = {
    "/": ("?C=M", "/elsewhere/", "http://192.0.2.1/x/", "/fleet/"),
    "/fleet/": ("../", "a/", "a%2F/", "slow/", "http://["),
    "/fleet/a/": ("record.json", "other.json", "verification.json", "deep/"),
    "/fleet/a/deep/": ("/fleet/a/", "record.json#x"),
}
"""Where the links of each page lead."""
FILES = {"/fleet/a/record.json": "audit/record.json", "/one": "audit/record.json"}


class Handler(BaseHTTPRequestHandler):
    """Gives pages and files, and what a server should not."""

    def do_GET(self) -> None:
        path = self.path
        if path in PAGES:
            self.give("text/html", "".join(f'<a href="{link}">x</a>' for link in PAGES[path]).encode())
        elif path in FILES:
            self.give("application/json", (EXAMPLE / FILES[path]).read_bytes())
        elif path == "/fleet/a/verification.json":
            self.give("application/json", b"{}")
        elif path == "/away":
            self.send_response(302)
            self.send_header("Location", "http://192.0.2.1/record.json")
            self.end_headers()
        elif path == "/fleet/slow/":
            self.send_response(200)
            self.end_headers()
            for _ in range(40):
                time.sleep(0.05)
                self.wfile.write(b" ")
        elif path == "/large":
            self.give("application/json", b" " * 300_000)
        else:
            self.send_error(404)

    def give(self, kind: str, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        found.daemon_threads = True
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{found.server_port}"
        found.shutdown()
        thread.join()


def test_a_listing_is_walked_and_what_is_wrong_is_a_line(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "ANSWER_S", 0.4)
    table = index.build_index([f"{server}/fleet/"])
    assert [r.location for r in index.rows(table)] == [f"{server}/fleet/a/record.json"]
    refused = {r.location.removeprefix(server): r.why for r in index.refused(table)}
    assert refused["/fleet/slow/"] == "it takes more than 0 s"
    assert refused["/fleet/a/deep/record.json"] == "the server says 404"
    assert refused["/fleet/a/verification.json"].startswith("not a verification")
    assert set(refused) == {"/fleet/slow/", "/fleet/a/deep/record.json", "/fleet/a/verification.json", "/fleet/a%2F/"}


def test_one_file_is_read(server: str) -> None:
    (row,) = index.rows(index.build_index([f"{server}/one"]))
    assert newest([row]) == [row]
    assert row.name == json.loads((EXAMPLE / "audit" / "record.json").read_text())["name"]


@pytest.mark.parametrize(
    ("path", "why"),
    [("/none", "the server says 404"), ("/away", "it leads to another server"), ("/large", "larger than 256 KiB")],
)
def test_what_cannot_be_read_is_one_line(server: str, path: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        list(web.web_files(f"{server}{path}", ("record.json",), 256 << 10))


def test_no_server_is_one_line() -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        list(web.web_files("http://127.0.0.1:9/x", ("record.json",), 1 << 20))


def test_all_answers_of_one_server_together_are_bounded(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "SERVER_S", 0.0)
    with pytest.raises(UsageError, match="more than 0 minutes"):
        list(web.web_files(f"{server}/one", ("record.json",), 1 << 20))
