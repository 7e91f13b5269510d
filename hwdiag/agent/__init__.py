"""Code that runs inside the person's interpreter: standard library and torch only, Python 3.8; hwdiag not installed
there.

``main.py`` is run by path and makes this folder a package of its own; ``hwdiag`` itself imports none of it to measure.
"""
