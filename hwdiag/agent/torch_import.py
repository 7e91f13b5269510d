"""Importing torch, which may fail, and may end the process."""

import faulthandler

from .channel import one_line

WORKLOAD = "import torch"


def import_torch(channel):
    """Return torch; None where it cannot be imported, which the channel was told then."""
    faulthandler.enable()
    channel.tell("begin", workload=WORKLOAD)
    try:
        import torch
    except Exception as error:
        channel.tell("failed", workload=WORKLOAD, kind="import-error", detail=one_line(error))
        return None
    return torch
