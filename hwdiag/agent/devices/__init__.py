"""Runs in a child under any interpreter that has torch: standard library and torch only, Python 3.8."""
