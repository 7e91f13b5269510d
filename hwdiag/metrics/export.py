"""Ways out: a text file for node_exporter, and an endpoint for Prometheus that ends with its verb."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import AF_INET6
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import generate_latest, make_wsgi_app
from prometheus_client.registry import CollectorRegistry

from hwdiag.core.errors import HwdiagError, UsageError
from hwdiag.core.files import write_whole

LOOPBACK = "127.0.0.1"
REQUEST_S = 5.0
"""For one request, after which its connection is closed."""


def write_textfile(registry: CollectorRegistry, path: Path) -> None:
    """Write the metrics as node_exporter's textfile collector reads them, whole or not at all.

    Raises:
        HwdiagError: it could not be written.
    """
    try:
        write_whole(path, generate_latest(registry).decode())
    except OSError as error:
        raise HwdiagError(f"cannot write {path}: {error.strerror}") from None


def address(text: str) -> tuple[str, int]:
    """Return host and port of ``9101``, ``127.0.0.1:9101`` or ``[::1]:9101``. A port alone is one that no other machine
    reaches.

    Raises:
        UsageError: it is no such address.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or LOOPBACK
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise UsageError(f"--serve takes PORT or ADDRESS:PORT, such as 9101 or 0.0.0.0:9101, not {text[:60]!r}")
    return host, int(port)


class _Handler(WSGIRequestHandler):
    """Answers one request in silence, within its time."""

    timeout = REQUEST_S

    def log_message(self, format: str, *args: object) -> None:
        pass


class _MetricsServer(ThreadingMixIn, WSGIServer):
    """Answers each request in a thread that ends with the process."""

    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that went away."""


class _MetricsServer6(_MetricsServer):
    """The same over IPv6."""

    address_family = AF_INET6


@contextmanager
def serving(registry: CollectorRegistry, where: tuple[str, int]) -> Iterator[str]:
    """Serve the metrics while the block runs; gives the URL.

    Raises:
        HwdiagError: nothing can listen there.
    """
    host, port = where
    server = _MetricsServer6 if ":" in host else _MetricsServer
    try:
        found = make_server(host, port, make_wsgi_app(registry), server, handler_class=_Handler)
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise HwdiagError(f"cannot serve metrics at {host}:{port}: {reason}") from None
    thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    shown = f"[{host}]" if ":" in host else host
    try:
        yield f"http://{shown}:{found.server_port}/metrics"
    finally:
        found.shutdown()
        found.server_close()
        thread.join()
