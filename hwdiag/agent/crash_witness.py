"""Handler of SIGILL, SIGSEGV, SIGBUS and SIGFPE that looks inside the dying process. Standard library only.

The signal is raised again with its default action afterwards. That needs no ptrace and no core file, and works under
user-mode emulation, as the emulator answers for /proc/self/maps.

The handler is Python, called through ctypes, so it needs the interpreter's lock. A crash in a thread that cannot have
it, because another thread holds it and waits, leaves that thread stuck in the handler with the signal blocked; the
parent sees this in /proc, ends the agent, and the verdict degrades to the package and its stage.
"""

import ctypes
import mmap
import os
import platform
import signal
import sys
import threading

from .channel import one_line
from .machine_code import executable

HERE = os.path.dirname(os.path.abspath(__file__))
CODE_BYTES = 16
"""Bytes reported at the instruction: x86's longest has 15."""
FRAMES = 12

SA_SIGINFO = 4
SIGNALS = (signal.SIGILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE)
PC_OFFSET = {"x86_64": 168, "aarch64": 440}
"""Where ucontext_t keeps the program counter: REG_RIP in gregs, and mcontext.pc (glibc, sys/ucontext.h)."""


class Sigaction(ctypes.Structure):
    """struct sigaction of glibc and musl on x86-64 and AArch64."""

    _fields_ = [
        ("handler", ctypes.c_void_p),
        ("mask", ctypes.c_ulong * 16),
        ("flags", ctypes.c_int),
        ("restorer", ctypes.c_void_p),
    ]


class DlInfo(ctypes.Structure):
    """Dl_info, dladdr(3)."""

    _fields_ = [
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("symbol", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    ]


def mapping_of(address):
    """Return the mapping that holds an address: ``(path or None, offset into the file, readable)``; None if there is
    none."""
    with open("/proc/self/maps", errors="replace") as maps:
        for line in maps:
            fields = line.split(None, 5)
            low, high = (int(x, 16) for x in fields[0].split("-"))
            if low <= address < high:
                path = fields[5].strip() if len(fields) == 6 else ""
                return path if path.startswith("/") else None, address - low + int(fields[2], 16), "r" in fields[1]
    return None


def python_stack(frame):
    """Return the innermost Python frames, the agent's own and the import system's left out."""
    frames = []
    while frame is not None and len(frames) < FRAMES:
        code = frame.f_code
        if not code.co_filename.startswith("<frozen importlib") and os.path.dirname(code.co_filename) != HERE:
            frames.append({"file": code.co_filename, "line": frame.f_lineno, "function": code.co_name})
        frame = frame.f_back
    return frames


def aligned(handler):
    """Return an entry to a signal handler that aligns the stack first.

    QEMU's user mode before 9.1 enters handlers on x86-64 with a stack that is off by 8 bytes, and compiled code dies
    of that: push rbp; mov rbp,rsp; and rsp,-16; mov rax,handler; call rax; leave; ret.
    """
    if platform.machine() != "x86_64":
        return handler
    try:
        return executable(bytes.fromhex("554889e54883e4f048b8") + handler.to_bytes(8, "little") + b"\xff\xd0\xc9\xc3")
    except OSError:
        return handler


class CrashWitness:
    """Handlers that tell of a fatal signal, and then let it end the process as if nobody had looked."""

    def __init__(self, tell):
        self.tell = tell
        self.claim = threading.Lock()
        self.reporter = None
        self.libc = ctypes.CDLL(None)
        self.callback = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(self.handle)
        self.main = threading.main_thread()
        self.pc_offset = PC_OFFSET.get(platform.machine())
        self.entry = aligned(ctypes.cast(self.callback, ctypes.c_void_p).value)

    def install(self):
        """Install the handler and return None, or return why it cannot look inside here."""
        if self.pc_offset is None:
            return "no look inside on %s: the layout of its signal frames is not known here" % platform.machine()
        action = Sigaction(self.entry, flags=SA_SIGINFO)
        if any(self.libc.sigaction(int(s), ctypes.byref(action), None) for s in SIGNALS):
            return "sigaction failed"
        return None

    def handle(self, number, info, context):
        me = threading.get_ident()
        if self.claim.acquire(blocking=False):
            self.reporter, again = me, False
        elif self.reporter == me:
            again = True
        else:  # several threads died at once: the first one tells, and ends all
            while True:
                self.libc.pause()
        self.libc.alarm(5)
        if not again:  # or the report itself died, of another signal
            report = {"signal": number}
            try:
                report.update(self.look(info, context))
            except BaseException as error:
                report["note"] = one_line(error)
            self.tell("crash", **report)
        for s in SIGNALS:
            self.libc.sigaction(int(s), ctypes.byref(Sigaction()), None)
        if again or "pc" not in report:  # sent by kill(2), or not understood: going back might not raise it again
            os.kill(os.getpid(), number)  # stays pending until the handler has returned

    def look(self, info, context):
        si_code = ctypes.c_int.from_address(info + 8).value
        if si_code <= 0:  # SI_USER, SI_TKILL: not an instruction of this process, or one that calls abort on purpose
            return {"note": "the signal was sent by a process, not raised by an instruction"}
        pc = ctypes.c_ulong.from_address(context + self.pc_offset).value
        report = {"address": ctypes.c_ulong.from_address(info + 16).value, "pc": pc, "thread": self.thread()}
        here = mapping_of(pc)
        if here is not None:
            path, offset, readable = here
            report.update(object=path, offset=offset)
            if readable:
                page_left = mmap.PAGESIZE - pc % mmap.PAGESIZE
                length = CODE_BYTES if page_left >= CODE_BYTES or mapping_of(pc + page_left) else page_left
                report["code"] = ctypes.string_at(pc, length).hex()
        report.update(self.symbol(pc))
        own = python_stack(sys._getframe())
        report["stack"] = own or python_stack(sys._current_frames().get(self.main.ident))
        return report

    def symbol(self, pc):
        found = DlInfo()
        if not self.libc.dladdr(ctypes.c_void_p(pc), ctypes.byref(found)) or not found.symbol:
            return {}
        return {"symbol": found.symbol.decode(errors="replace"), "symbol_offset": pc - (found.address or pc)}

    def thread(self):
        if threading.get_ident() == self.main.ident:
            return "main thread"
        try:
            with open("/proc/self/task/%d/comm" % threading.get_native_id()) as comm:
                return "thread %s" % comm.read().strip()
        except OSError:
            return "another thread"
