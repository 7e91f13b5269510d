"""Versions of the packages that a program's interpreter has, by their metadata on disk: nothing is imported."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

NAMES = ("torch", "torchvision", "torchaudio", "numpy", "triton", "transformers", "intel_extension_for_pytorch")
"""Those whose versions have to fit each other."""
MOST_FOLDERS = 8
MOST_TEXT = 1 << 16
LONGEST = 1000
SITES = ("/site-packages/", "/dist-packages/")
"""Folders that an interpreter's packages are in: in the path of a mapped library, or in a traceback."""
BEFORE = re.compile(r"""[^\s"':(\0]*$""")
METADATA = re.compile(r"(?P<name>[A-Za-z0-9_]+)-(?P<version>[^-]+)\.(?:dist|egg)-info")


def packages(texts: Iterable[str]) -> dict[str, str]:
    """Return the versions of these packages in the folders that such paths and tracebacks name.

    Args:
        texts: paths of mapped libraries, and what the program wrote.
    """
    folders = dict.fromkeys(folder for text in texts for folder in sites(text[-MOST_TEXT:]))
    found: dict[str, str] = {}
    for folder in [*folders][:MOST_FOLDERS]:
        for name, version in versions(Path(folder)):
            found.setdefault(name, version)
    return found


def sites(text: str) -> Iterator[str]:
    """Yield each folder of packages that the text names, as an absolute path."""
    for site in SITES:
        at = text.find(site)
        while at >= 0:
            path = BEFORE.search(text[max(0, at - LONGEST) : at])
            if path and path[0].startswith("/"):
                yield path[0] + site.rstrip("/")
            at = text.find(site, at + 1)


def versions(folder: Path) -> list[tuple[str, str]]:
    """Return name and version of each known package whose metadata lies in the folder."""
    found = []
    for name in NAMES:
        try:
            entries = sorted(folder.glob(f"{name}-*-info"))
        except OSError:
            continue
        matches = (METADATA.fullmatch(entry.name) for entry in entries)
        found += [(name, match["version"][:60]) for match in matches if match and match["name"] == name]
    return found
