"""Write the manual page, docs/hwdiag.1, anew from the command line's own texts."""

import os
from pathlib import Path

from hwdiag.cli import make_parser
from hwdiag.cli.texts import manual

os.environ["COLUMNS"] = "80"
Path(__file__).resolve().parents[1].joinpath("docs", "hwdiag.1").write_text(manual(*make_parser()), encoding="utf-8")
