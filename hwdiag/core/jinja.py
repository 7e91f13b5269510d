"""Templates of scripts and units: every value is quoted, or made one line of a comment."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment


def templates(package: str) -> Environment:
    """Return the templates of a package, such as ``hwdiag.tune``, beside those that all share."""
    from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

    # A shell script is no place for HTML escaping: every value passes the filter "quote" or "comment" instead.
    loader = ChoiceLoader([PackageLoader(package), PackageLoader("hwdiag.core")])
    found = Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    found.filters["quote"] = lambda value: shlex.quote(str(value))
    found.filters["comment"] = one_line
    found.filters["systemd"] = systemd_word
    return found


def one_line(text: object) -> str:
    """Return the text without control characters and line ends, so that it cannot leave a shell comment."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())


def systemd_word(text: object) -> str:
    """Return the text as one word of a unit's command line in which nothing is expanded (systemd.service(5), "Command
    lines")."""
    special = {"\\": "\\\\", '"': '\\"', "%": "%%", "$": "$$"}
    return f'"{"".join(special.get(c) or (c if c.isprintable() else hex_bytes(c)) for c in str(text))}"'


def hex_bytes(character: str) -> str:
    """Return a character's bytes as hexadecimal escapes: ``\\x0a`` for a line end."""
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))
