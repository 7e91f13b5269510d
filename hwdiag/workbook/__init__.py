"""What the notebooks and the command line call, one module a notebook. Their cells and verbs hold no logic.

Each module checks the parameters, gives something to walk through section by section, and writes what was found:
``diagnosing`` (diagnose and launch), ``checking`` (compatibility), ``estimating``, ``comparing``, ``auditing``,
``weighing`` (devices), ``feeding`` (input_pipeline), ``monitoring``, and ``profiling`` for the command line alone.
"""
