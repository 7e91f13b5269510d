"""Comparison of hosts and dates."""
