"""Processes that are started, stopped, reaped and killed as whole trees, and the one protocol to agents."""
