"""Importing torch, which may fail, and may end the process."""

import faulthandler
import gc

from .channel import one_line

WORKLOAD = "import torch"


def import_torch(channel):
    """Return torch; None where it cannot be imported, which the channel was told then.

    Garbage is not looked for meanwhile: it takes a tenth of the time, and finds none.
    """
    faulthandler.enable()
    channel.tell("begin", workload=WORKLOAD)
    was_on = gc.isenabled()
    gc.disable()
    try:
        import torch
    except Exception as error:
        channel.tell("failed", workload=WORKLOAD, kind="import-error", detail=one_line(error))
        return None
    finally:
        if was_on:
            gc.enable()
    return torch
