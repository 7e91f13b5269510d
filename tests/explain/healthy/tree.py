"""A script that starts others, which start others: a tree of short-lived processes."""

import subprocess
import sys

WORK = "sum(i * i for i in range(1_500_000))"
for n in range(5):
    children = [subprocess.Popen(["sh", "-c", f"{sys.executable} -c '{WORK}'; true"]) for _ in range(2)]
    for child in children:
        child.wait()
    print(n)
