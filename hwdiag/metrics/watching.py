"""Metrics of a recording while it is made: to a text file every few seconds, and to whoever asks the endpoint."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hwdiag.core.errors import HwdiagError, UsageError
from hwdiag.host.source import Column
from hwdiag.metrics.export import address, serving, write_textfile
from hwdiag.metrics.families import SampledMetrics, VerificationMetrics, registry_of
from hwdiag.record.verification import Verification, load_verification

See = Callable[[float, Sequence[float]], None]
"""Called with each sample: seconds since the start, and the values."""
EVERY_S = 5.0
"""Between two writings of the text file: node_exporter is asked every 15 s or so."""


class LiveMetrics:
    """Metrics of one recording, as a context: its endpoint and its text file are gone at the end."""

    def __init__(self, textfile: Path | None, serve: str | None, verification: Path | None) -> None:
        """``serve``: ADDRESS:PORT or PORT; ``verification``: a file whose newest content is exported too.

        Raises:
            UsageError: a wrong address, or a name that node_exporter does not read.
        """
        self.textfile = None if textfile is None else prom_file(textfile)
        self.where = None if serve is None else address(serve)
        self._verification = verification
        self._stack = contextlib.ExitStack()
        self._due = 0.0
        self._is_written = False

    def __enter__(self) -> LiveMetrics:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        if self._is_written and self.textfile is not None:
            with contextlib.suppress(OSError):  # old values would look like new ones
                self.textfile.unlink()

    def with_metrics(self, columns: Sequence[Column], see: See) -> See:
        """Return what exports each sample, and passes it on.

        Raises:
            HwdiagError: nothing can listen there, or the file cannot be written.
        """
        if self.where is None and self.textfile is None:
            return see
        sampled = SampledMetrics(columns)
        registry = registry_of(sampled, VerificationMetrics(self.read_verification))
        if self.where is not None:
            url = self._stack.enter_context(serving(registry, self.where))
            print(f"metrics at {url}", file=sys.stderr, flush=True)

        def seen(seconds: float, values: Sequence[float]) -> None:
            sampled.see(values)
            if self.textfile is not None and time.monotonic() >= self._due:
                self._due = time.monotonic() + EVERY_S
                try:
                    write_textfile(registry, self.textfile)
                except HwdiagError as error:
                    if not self._is_written:
                        raise
                    print(f"hwdiag: {error}", file=sys.stderr)
                self._is_written = True
            see(seconds, values)

        return seen

    def read_verification(self) -> Verification | None:
        """Return what the file says now; None where there is no verification yet."""
        with contextlib.suppress(UsageError):
            return None if self._verification is None else load_verification(self._verification)
        return None


def prom_file(path: Path) -> Path:
    """Return the path of a text file. Raises ``UsageError`` for a name that node_exporter does not read."""
    if path.suffix != ".prom":
        raise UsageError(
            f"--textfile needs a name that ends in .prom, which node_exporter reads, not {path.name[:60]!r}"
        )
    return path


def write_verification(found: Verification, path: Path) -> None:
    """Write the metrics of a verification as a text file.

    Raises:
        HwdiagError: it could not be written, or its name is not one that node_exporter reads.
    """
    write_textfile(registry_of(VerificationMetrics(lambda: found)), prom_file(path))
