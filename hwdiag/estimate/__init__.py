"""Estimates of what another machine would do."""
