"""The end of a process by exit(3): handlers of C code and destructors of libraries run then, after Python's own end.

The destructors of torch's profiler crash a process whose recording is still open, as it is where C code calls exit(3),
and hang in a forked child, which has none of the profiler's threads.
"""

import atexit
import ctypes

CALLBACK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
kept: "list[object]" = []
"""What C code points to, for as long as the process lives."""


def before_c_exit(function):
    """Have exit(3) call ``function``, which must not raise; where Python ends by itself, nothing is called.

    The handler is registered under a handle of its own, as those of a library are, so that it can be taken back alone
    before the interpreter is gone (glibc's ``__cxa_finalize``, which calls what it takes back).
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "gnu_get_libc_version"):
        return  # musl's __cxa_finalize takes nothing back
    handle, state = ctypes.create_string_buffer(1), {"python": True}
    callback = CALLBACK(lambda _: function() if state["python"] else None)
    kept.append((handle, callback))
    if libc.__cxa_atexit(callback, None, ctypes.byref(handle)) == 0:
        atexit.register(_take_back, libc, handle, state)


def _take_back(libc, handle, state):
    state["python"] = False
    libc.__cxa_finalize(ctypes.byref(handle))


def without_destructors():
    """Have exit(3) end this process with its status at once, after what is registered from now on, and after flushing
    the streams of C."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "on_exit"):
        libc.on_exit(libc._exit, None)
        libc.__cxa_atexit(libc.fflush, None, None)
