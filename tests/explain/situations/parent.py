"""Runs a command and says only whether it failed."""

import subprocess
import sys

if subprocess.run(sys.argv[1:]).returncode:
    sys.exit("the job failed")
