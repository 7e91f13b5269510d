"""Takes more and more memory, and keeps it."""

import argparse
import time

p = argparse.ArgumentParser()
p.add_argument("--mib", type=int, required=True)
p.add_argument("--step", type=int, required=True)
p.add_argument("--pause", type=float, default=0.02)
p.add_argument("--lists", action="store_true")
a = p.parse_args()
kept = []
for _ in range(0, a.mib, a.step):
    kept.append([float(i) for i in range(a.step << 15)] if a.lists else b"x" * (a.step << 20))
    time.sleep(a.pause)
print(len(kept))
