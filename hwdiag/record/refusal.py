"""Files that are not what they should be: one line for whatever is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from hwdiag.core.errors import UsageError
from hwdiag.core.outside import OutsideError
from hwdiag.record.model import first_error


@contextmanager
def refused_as_no(what: str, path: Path) -> Iterator[None]:
    """Turn what goes wrong while this file is read as a ``what`` into one line.

    Raises:
        UsageError: there is no such file, or it is no ``what``.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(f"no {what} at {path}: {error.strerror}") from None
    except ValidationError as error:
        raise UsageError(f"{path} is not a {what}: {first_error(error)}") from None
    except OutsideError as error:
        raise UsageError(f"{path} is not a {what}: {error}") from None
