"""Audit of a host's settings: their values, and what of them helps or harms."""
