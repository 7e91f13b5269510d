"""Translation of an exception into the parent's words."""

from .channel import one_line

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "bad_alloc", "ALLOC_FAILED")
"""What torch, the C++ library, and cuBLAS and cuDNN say of it."""


class WrongResult(Exception):
    """A workload's result is further from its reference than the arithmetic allows."""


def is_out_of_memory(error):
    """Return whether an exception says that there was no memory left."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in OUT_OF_MEMORY)


def failure(error):
    """Return the kind and the detail of an exception."""
    message = str(error)
    if isinstance(error, WrongResult):
        return "wrong-result", message
    if isinstance(error, EOFError):
        return "error", one_line(error) + " (standard input is /dev/null, so there is no one to type)"
    if is_out_of_memory(error):
        return "out-of-memory", one_line(error)
    return "error", one_line(error)
