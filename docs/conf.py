"""Settings of the documentation's site: `make docs` builds it from docs/, the notebooks and two pages of the root."""

import hwdiag

project = "hwdiag"
author = "the authors of hwdiag"
copyright = author
release = version = hwdiag.__version__

extensions = ["myst_nb"]
root_doc = "docs/index"
include_patterns = ["docs/**", "notebooks/*.ipynb", "CONTRIBUTING.md", "CHANGELOG.md"]
exclude_patterns = [
    ".*",
    "build",
    "outputs",
    "hwdiag",
    "tests",
    "benchmarks",
    "tools",
    "params",
    "**/.ipynb_checkpoints",
]
nb_execution_mode = "off"  # the outputs are those that are committed
nb_merge_streams = True
suppress_warnings = ["mystnb.unknown_mime_type"]  # what papermill reads of a run, beside what a person reads
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

html_theme = "furo"
html_title = f"hwdiag {release}"
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
