"""Starts a process while it is imported."""

import multiprocessing

multiprocessing.get_context("spawn").Process(target=print).start()
