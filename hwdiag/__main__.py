"""``python -m hwdiag``, and the command ``hwdiag``."""

import sys


def main() -> int:
    """Run the command line and return its exit status; a Ctrl-C while it is being loaded ends it as any other does."""
    try:
        from hwdiag.cli import main as run

        return run()
    except KeyboardInterrupt:
        print("hwdiag: interrupted; nothing is left running", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
