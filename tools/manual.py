"""Write the pages of docs/ that are the command line's own texts: the manual page, and the page of the verbs."""

import os
from pathlib import Path

from hwdiag.cli import make_parser
from hwdiag.cli.texts import manual, verbs_page

DOCS = Path(__file__).resolve().parents[1] / "docs"

os.environ["COLUMNS"] = "80"
DOCS.joinpath("hwdiag.1").write_text(manual(*make_parser()), encoding="utf-8")
DOCS.joinpath("verbs.md").write_text(verbs_page(make_parser()[1]), encoding="utf-8")
