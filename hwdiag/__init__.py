"""hwdiag: guided diagnostics for Linux hosts that run PyTorch.

The rooms, in the order in which data flows through them::

    host      What is this machine?           Root -> Host
    measure   What does it do?                Launch, Workload -> Measurement
    estimate  What would another machine do?  ceilings, catalogue, counts, estimates
    devices   What is it worth here?          CPU against GPU: kernels, precisions, techniques
    feeding   Is the data there in time?      storage, decoders, DataLoader: what to set
    compat    Will my stack run?              packages imported in children, crashes explained
    advise    What should change?             findings, recommendations
    emit      How is it changed and undone?   launch scripts
    record    What was found?                 Record on disk
    show      How does a person see it?       tables, figures, report

``pipeline`` knows the whole way; ``workbook``, one module a notebook, and ``cli`` only tell it.
Importing this package imports nothing else; torch is never imported outside a child process.
"""

__version__ = "0.1.0"
