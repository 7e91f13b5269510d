"""Files on a web server: one file, or those that a listing of folders leads to. Bounded in size, time and number."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import partial
from html.parser import HTMLParser
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urldefrag, urljoin, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

from hwdiag.core.errors import UsageError
from hwdiag.core.outside import OutsideError, size

ANSWER_S = 10.0
"""For one answer, with all its bytes."""
SERVER_S = 900.0
"""For all answers of one server."""
LISTINGS = 30_000
"""Folders that are looked into, at most."""
LISTING_BYTES = 8 << 20
"""Of one folder's listing: 50,000 names are 5 MB."""
DEEPEST = 6
"""Folders below the one that was named."""
PIECE = 1 << 16


@dataclass(frozen=True)
class WebFile:
    """One file on a server: what tells whether it has changed, and how it is read."""

    url: str
    stamp: str
    """Empty where the server does not tell: such a file is read each time."""
    read: Callable[[], bytes]


@dataclass(frozen=True)
class _Server:
    """A server, and when what it may take is over."""

    opener: OpenerDirector
    ends: float


class _SameServer(HTTPRedirectHandler):
    """Follows a redirection only where it leads to the same server: records lie where a person said."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        if urlsplit(newurl)[:2] != urlsplit(req.full_url)[:2]:
            raise OutsideError("it leads to another server")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Links(HTMLParser):
    """Collects where the links of a page lead."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def web_files(url: str, names: Collection[str], most_bytes: int) -> Iterator[WebFile]:
    """Yield the file at a URL, or where that is a page of links, the files of these names that it leads to.

    Only links to what lies below the URL are followed, as listings of web servers have them.

    Raises:
        UsageError: it cannot be reached.
    """
    server = _Server(build_opener(_SameServer), time.monotonic() + SERVER_S)
    try:
        kind, page = get(server, url, most_bytes)
    except (OutsideError, OSError) as error:
        raise UsageError(f"{url} cannot be read: {why(error)}") from None
    if "html" not in kind:
        yield WebFile(url, "", lambda: page)
        return
    yield from listed(server, url, page, names, most_bytes)


def listed(server: _Server, url: str, page: bytes, names: Collection[str], most_bytes: int) -> Iterator[WebFile]:
    """Yield the files of these names in a listing and in those below it."""
    base = url if url.endswith("/") else f"{url}/"
    seen, folders, count = {base}, [(base, page, 0)], 0
    while folders:
        folder, page, depth = folders.pop()
        for link in links(folder, page):
            if not link.startswith(folder) or link in seen:
                continue
            seen.add(link)
            if not link.endswith("/"):
                if link.rpartition("/")[2] in names:
                    yield WebFile(link, "", partial(content, server, link, most_bytes))
            elif depth < DEEPEST and count < LISTINGS:
                count += 1
                try:
                    folders.append((link, get(server, link, LISTING_BYTES)[1], depth + 1))
                except (OutsideError, OSError) as error:
                    yield WebFile(link, "", partial(refused, why(error)))


def links(folder: str, page: bytes) -> list[str]:
    """Return the addresses that a page links to, without what follows a ``?`` or ``#``."""
    parser = _Links()
    parser.feed(page.decode(errors="replace"))
    found = []
    for link in parser.found:
        try:
            found.append(urldefrag(urljoin(folder, link.partition("?")[0])).url)
        except ValueError:  # no address
            continue
    return found


def refused(reason: str) -> bytes:
    """Raise ``OutsideError``: a folder that could not be looked into is a line among what is refused."""
    raise OutsideError(reason)


def content(server: _Server, url: str, most_bytes: int) -> bytes:
    """Return a file's bytes. Raises ``OutsideError``."""
    try:
        return get(server, url, most_bytes)[1]
    except OSError as error:
        raise OutsideError(why(error)) from None


def get(server: _Server, url: str, most_bytes: int) -> tuple[str, bytes]:
    """Return the type and the bytes of an answer that came in time.

    Raises:
        OSError: the server does not answer, or with an error.
        OutsideError: the answer is too large, takes too long or is none.
    """
    end = min(server.ends, time.monotonic() + ANSWER_S)
    if time.monotonic() >= end:
        raise OutsideError(f"its server took more than {SERVER_S / 60:.0f} minutes for all of them")
    try:
        with server.opener.open(Request(url, headers={"User-Agent": "hwdiag"}), timeout=ANSWER_S) as answer:
            pieces, left = [], most_bytes + 1
            while left > 0 and (piece := answer.read1(min(left, PIECE))):
                pieces.append(piece)
                left -= len(piece)
                if time.monotonic() > end:
                    raise OutsideError(f"it takes more than {ANSWER_S:.0f} s")
            kind = answer.headers.get_content_type()
    except (HTTPException, ValueError) as error:
        if isinstance(error, OutsideError):
            raise
        raise OutsideError(f"no answer of a web server: {type(error).__name__}") from None
    if left <= 0:
        raise OutsideError(f"larger than {size(most_bytes)}")
    return kind, b"".join(pieces)


def why(error: Exception) -> str:
    """Return the reason in a clause."""
    if isinstance(error, HTTPError):
        return f"the server says {error.code}"
    reason = error.reason if isinstance(error, URLError) else error
    text = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
    return " ".join(text.split())[:200] or type(error).__name__
