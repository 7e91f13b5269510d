"""``python -m hwdiag``."""

import sys

from hwdiag.cli import main

sys.exit(main())
