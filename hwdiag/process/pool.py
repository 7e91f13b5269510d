"""Work on many pieces in processes of their own, of which one that dies takes only its item along."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
MOST = 8
"""Processes at the same time."""


def in_processes(work: Callable[[Sequence[T]], R], pieces: Sequence[Sequence[T]], lost: Callable[[T], R]) -> list[R]:
    """Return what ``work`` makes of each piece, in their order, by as many processes as this one may use CPUs.

    A piece whose process dies is done again, an item at a time; ``lost`` gives what stands for an item that kills its
    process.
    """
    count = min(MOST, len(os.sched_getaffinity(0)), len(pieces))
    found, broken = attempt(work, pieces, count)
    done = dict(found)
    again = [(i, [item]) for i in broken for item in pieces[i]]
    results = {i: [done[i]] if i in done else [] for i in range(len(pieces))}
    while again:  # a new process for each one that dies
        ready, dead = attempt(work, [item for _, item in again], 1)
        for n, result in ready:
            results[again[n][0]].append(result)
        if dead:
            first, (item,) = again[dead[0]]
            results[first].append(lost(item))
        again = [again[n] for n in dead[1:]]
    return [result for i in range(len(pieces)) for result in results[i]]


def attempt(
    work: Callable[[Sequence[T]], R], pieces: Sequence[Sequence[T]], count: int
) -> tuple[list[tuple[int, R]], list[int]]:
    """Return the results that there are with their pieces' numbers, and the numbers of those that a process which died
    left undone, the one that may have killed it first."""
    done: list[tuple[int, R]] = []
    undone: list[int] = []
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        waiting: list[Future[R] | None] = []
        for piece in pieces:
            try:
                waiting.append(pool.submit(work, piece))
            except BrokenProcessPool:
                waiting.append(None)
        for i, future in enumerate(waiting):
            try:
                if future is None:
                    raise BrokenProcessPool
                done.append((i, future.result()))
            except BrokenProcessPool:
                undone.append(i)
    return done, undone
