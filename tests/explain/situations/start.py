"""Starts threads, or processes that start processes."""

import argparse
import os
import threading
import time

p = argparse.ArgumentParser()
p.add_argument("--threads", type=int, default=0)
p.add_argument("--forks", type=int, default=0)
a = p.parse_args()
time.sleep(0.4)
for _ in range(a.threads):
    threading.Thread(target=time.sleep, args=(1.5,), daemon=True).start()
for _ in range(a.forks):
    if os.fork() == 0:
        time.sleep(1.5)
        os._exit(0)
