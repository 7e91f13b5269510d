"""Processes: how one is started, supervised, reaped and observed."""
