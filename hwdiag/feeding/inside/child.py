"""Run by path under any interpreter; all else is in the package beside it, where spawned workers find it too."""

import os
import sys

if __name__ == "__main__":
    from hwdiag_inside.answers import main

    main()
    sys.stderr.flush()
    os._exit(0)
