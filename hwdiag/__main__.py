"""``python -m hwdiag``, and the command ``hwdiag``."""

import os
import signal
import sys


def interrupted(*_: object) -> None:
    """End at once: nothing was started yet, and an exception within an import would become another one."""
    os.write(2, b"hwdiag: interrupted; nothing is left running\n")
    os._exit(130)


def main() -> int:
    """Run the command line and return its exit status; a Ctrl-C while it is being loaded ends it as any other does."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.default_int_handler:  # one who ignores it has it ignored
        signal.signal(signal.SIGINT, interrupted)
    try:
        from hwdiag.cli import main as run
        from hwdiag.core.printing import open_standard_files, plain
    except (OSError, MemoryError) as error:  # of this host, not of hwdiag: no memory, no file
        os.write(2, f"hwdiag: cannot be loaded: {' '.join(str(error).split()) or 'not enough memory'}\n".encode())
        return 1
    open_standard_files()
    sys.stdout = plain(sys.stdout)
    return run(loaded=lambda: signal.signal(signal.SIGINT, before))


if __name__ == "__main__":
    sys.exit(main())
