"""Looks at the stacks of this process at random moments, in a thread of its own, and adds up what they do.

A look counts for the time since the one before: where a call in C holds the interpreter's lock, the looks that could
not be made meanwhile count as that call. While one Python thread alone is at work, the interval at which the
interpreter hands its lock on is short, or looks would come up to 5 ms late, and behind the end of what they were to
see. In a program with several busy threads it is left alone.
"""

import _thread
import os
import random
import sys
import threading
import time

from . import THREAD, live, stacks
from .loaders import LoaderClock
from .memory import MemoryOverTime

SLOW_AFTER_S, SLOW_RATE = 20.0, 25.0
"""After so long the looks become rarer: what is seen by then is exact enough."""
WRITE_S, WRITE_LATER_S = 2.0, 10.0
"""Between two reports; the longer time once the looks are rarer, too."""
MOST_BLOCKS = 240
"""Blocks of one thread; two become one where there are more."""
BLOCK_S = 0.25
MOST_THREADS = 8
MOST_KEYS = 48
"""Kinds of doing in all; the names of functions are among them."""
MOST_PLACES = 2000
SWITCH_S = 0.0002
USUAL_SWITCH_S = 0.005
LONGEST_S = 5.0
"""The most that one look counts for: the machine may have slept."""
YOUNG_S = 0.2
"""Between two looks for young tensors, while no operation was seen."""
OLD_S, OLD_MOST_S = 0.3, 10.0
"""The shortest and the longest between two looks for tensors of any age, which take some 10 ms."""


class ThreadSeen:
    """The activity of one thread: seconds by kind, before its loop, and in blocks of its loop."""

    def __init__(self, name):
        self.name = name
        self.before, self.blocks, self.pending = {}, [], []
        self.block_s = BLOCK_S
        self.places = {}
        self.first = self.last = None
        self.gap = 0.0
        """The longest time between two looks that saw it at work: its loop goes on for so long after the last."""
        self.samples = 0
        self.loaded, self.other = {}, stacks.PYTHON

    def saw(self, what, loaded, inside, seconds, now, where):
        """Count a look: ``loaded`` is exact, the seconds within DataLoaders until now; the look counts for the rest."""
        for kind, total in loaded.items():
            took = min(seconds, max(0.0, total - self.loaded.get(kind, 0.0)))
            if took:
                self.add(kind, took, now)
                seconds -= took
        self.loaded = loaded
        if inside:
            what = self.other
        elif what != stacks.IMPORT:
            self.other = what
        self.samples += 1
        if where is not None and (where in self.places or len(self.places) < MOST_PLACES):
            self.places[where] = self.places.get(where, 0.0) + seconds
        self.add(what, seconds, now)

    def add(self, what, seconds, now):
        if self.first is None and what not in stacks.AT_WORK:
            put(self.before, what, seconds)
            return
        self.first = now - seconds if self.first is None else self.first
        # What comes after the last look at the loop is the program's end, unless the loop goes on.
        self.pending.append((now - self.first, what, seconds))
        if what in stacks.AT_WORK:
            self.gap = max(self.gap, now - (self.last or now))
            self.last = now
            self.settle(now)
        elif len(self.pending) > 5000:
            kinds = {}
            for _, kind, took in self.pending:
                put(kinds, kind, took)
            self.pending = [(now - self.first, kind, took) for kind, took in kinds.items()]

    def settle(self, until):
        """Take into the loop what was seen until then."""
        later = [p for p in self.pending if self.first + p[0] > until]
        for since, what, seconds in self.pending[: len(self.pending) - len(later)]:
            while int(since / self.block_s) >= MOST_BLOCKS:
                self.fold()
            at = int(since / self.block_s)
            while len(self.blocks) <= at:
                self.blocks.append([0, {}])
            self.blocks[at][0] += 1
            put(self.blocks[at][1], what, seconds)
        self.pending = later

    def fold(self):
        """Make one block of each two."""
        folded = []
        for i in range(0, len(self.blocks), 2):
            count, kinds = 0, {}
            for block in self.blocks[i : i + 2]:
                count += block[0]
                for what, seconds in block[1].items():
                    put(kinds, what, seconds)
            folded.append([count, kinds])
        self.blocks, self.block_s = folded, self.block_s * 2

    def found(self, training):
        """Return what is known; functions within which a net was at work make no data."""
        if self.last is not None:
            self.settle(self.last + self.gap)
        after = {}
        for _, what, seconds in list(self.pending):
            put(after, what, seconds)
        return {
            "thread": self.name,
            "samples": self.samples,
            "block_s": self.block_s,
            "blocks": [[count, clean(kinds, training)] for count, kinds in self.blocks],
            "before": clean(self.before, training),
            "after": clean(after, training),
            "places": [
                [name, round(s, 3)] for name, s in sorted(self.places.items(), key=lambda p: -p[1])[:20] if s >= 0.05
            ],
        }


class FirstStep:
    """The first step of a training, or the first call of a net: over once a net is called again."""

    def __init__(self):
        self.is_over = self.began = self.left = False

    def saw(self, whats):
        """Take what all threads were seen doing."""
        if self.is_over:
            return
        called = stacks.MODEL in whats
        self.is_over = called and self.left
        self.left = self.left or (self.began and not called)
        self.began = self.began or called


class StackSampler:
    """The thread that looks."""

    def __init__(self, witness, task):
        self.witness, self.recorder, self.objects = witness, witness.recorder, witness.objects
        self.rate, self.on = float(task["rate"]), bool(task.get("stacks", True))
        self.random = random.Random()
        self.judge = stacks.StackJudge(witness.torch.__file__)
        self.threads = {}
        self.loaders, self.step = LoaderClock(), FirstStep()
        self.memory = MemoryOverTime(witness.torch)
        self.main = threading.main_thread().ident
        self.seen, self.young, self.old, self.cost_s = 0, 0.0, 0.0, 0.0
        self.began = time.monotonic()
        self.switched = self.stopped = self.importing = False
        self.lock = _thread.allocate_lock()

    def start(self):
        _thread.start_new_thread(self.run, ())

    def stop(self):
        self.stopped = True
        self.switch(False)

    def run(self):
        try:
            name_thread()
            self.loop()
        except BaseException:
            self.stopped = True

    def loop(self):
        if self.on:
            self.loaders.install()
        began = last = written = time.monotonic()
        while not self.stopped and not self.witness.done:
            is_early = last - began < SLOW_AFTER_S
            rate = self.rate if is_early else min(self.rate, SLOW_RATE)
            time.sleep(self.random.uniform(0.5, 1.5) / rate)
            if self.stopped or self.witness.done or os.getpid() != self.witness.pid:
                return
            now = time.monotonic()
            spent = time.thread_time()
            self.look(now, min(now - last, LONGEST_S))
            last = now
            if self.judge.in_worker:
                self.witness.withdraw()
                return
            if self.on:
                self.memory.watch(now)
            if self.recorder is not None:
                self.recorder.watch(self.seen, now, not self.step.is_over, self.importing)
            if self.objects is not None:
                self.objects.watch(self.seen, now, self.recorder)
            if now - written > (WRITE_S if is_early else WRITE_LATER_S) and not self.witness.done:
                written = now
                self.witness.look()
                self.witness.tell()
            self.cost_s += time.thread_time() - spent

    def look(self, now, seconds):
        """Look once at all threads."""
        own = _thread.get_ident()
        found, busy = {}, 0
        for ident, frame in stacks.frames().items():
            if ident == own:
                continue
            what, inside, codes = self.judge.judge(frame)
            found[ident] = (what, inside, codes)
            busy += what != stacks.WAIT
        self.switch(self.on and busy <= 1)
        whats = {what for what, _, _ in found.values()}
        self.step.saw(whats)
        self.importing = stacks.IMPORT in whats
        if self.seen < 2:
            self.seen = max(self.seen, self.operations(whats, now))
        if not self.on:
            return
        fed = next((w for w in whats if w.startswith(stacks.INPUT)), None)
        self.loaders.install()
        for ident, (what, inside, codes) in found.items():
            if ident == self.main and what == stacks.WAIT and fed is not None:
                what = fed  # it waits for a thread of its own that makes the data
            if ident != self.main and ident not in self.threads and what in (stacks.WAIT, stacks.IMPORT, stacks.PYTHON):
                continue
            thread = self.threads.get(ident)
            if thread is None:
                if len(self.threads) >= MOST_THREADS:
                    continue
                thread = self.threads[ident] = ThreadSeen("main" if ident == self.main else thread_name(ident))
            inside = inside and self.loaders.installed
            loaded = self.loaders.seconds(ident, inside)
            thread.saw(what, loaded, inside, seconds, now, stacks.place(codes[0]) if codes else None)

    def operations(self, whats, now):
        """Return 2 where a net was seen at work, 1 where anything of torch was, else 0."""
        if whats & stacks.AT_WORK:
            return 2
        if stacks.TORCH in whats:
            return 1
        if self.seen == 0 and now - self.young > YOUNG_S:
            self.young = now
            old = now >= self.old
            if old:
                self.old = now + min(OLD_MOST_S, max(OLD_S, (now - self.began) / 2))
            return 1 if has_tensor(self.witness.torch, old) else 0
        return 0

    def switch(self, short):
        """Make the interpreter hand its lock on at once, or as usual. An interval that the program chose itself is
        left."""
        now = sys.getswitchinterval()
        if short and not self.switched and abs(now - USUAL_SWITCH_S) < 1e-6:
            sys.setswitchinterval(SWITCH_S)
            self.switched = True
        elif not short and self.switched:
            if abs(now - SWITCH_S) < 1e-6:
                sys.setswitchinterval(USUAL_SWITCH_S)
            self.switched = False

    def found(self):
        """Return what was seen, for the report."""
        training = self.judge.training_places()
        return {
            "threads": [t.found(training) for t in list(self.threads.values())],
            "loaders": list(self.loaders.loaders.values()),
            "memory": self.memory.found(),
            "cost_s": round(self.cost_s, 4),
            "seen": self.seen,
        }


def put(kinds, what, seconds):
    if what not in kinds and len(kinds) >= MOST_KEYS:
        what = stacks.PYTHON
    kinds[what] = kinds.get(what, 0.0) + seconds


def clean(kinds, training):
    """Return seconds by kind, those of functions with a net at work in them as Python."""
    found = {}
    for what, seconds in list(kinds.items()):
        put(found, stacks.PYTHON if what in training else what, seconds)
    return {what: round(seconds, 4) for what, seconds in found.items()}


def has_tensor(torch, old):
    """Return whether there is a tensor among the youngest objects, or among all: importing torch leaves none."""
    kinds = {torch.Tensor, torch.nn.Parameter}
    return live.count(kinds, (0, 1, 2) if old else (0, 1)) > 0


def thread_name(ident):
    thread = threading._active.get(ident)
    return str(getattr(thread, "name", "") or "thread")[:60]


def name_thread():
    """Name this thread for those who look from outside: prctl(PR_SET_NAME)."""
    import ctypes

    ctypes.CDLL(None).prctl(15, THREAD.encode(), 0, 0, 0)
