"""Run by path under any interpreter; all else is in the package beside it, where spawned workers find it too."""

import os
import sys

if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    if here not in sys.path:
        sys.path.insert(0, here)  # Python leaves it out where it is told to be isolated
    from hwdiag_inside.answers import main

    main()
    sys.stderr.flush()
    os._exit(0)
