"""An agent: a process of the person's interpreter that waits for commands, and answers each with events.

Both are JSON objects, one a line, over a socket that belongs to the two alone. The agent receives it as its standard
input and puts it away before anything else runs; a line that does not begin with the token, which only the agent was
told, is noise that somebody else wrote there.
"""

from __future__ import annotations

import json
import secrets
import select
import socket
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from hwdiag.agent.patience import Patience
from hwdiag.process.launch import Launch
from hwdiag.process.model import Outcome
from hwdiag.process.outcome import Event, classify, during, parse_any
from hwdiag.process.supervised import End, Supervised, binding, child_environment

MAIN = Path(__file__).parents[1] / "agent" / "main.py"
AS_IT_IS = Launch()
STDERR_TAIL = 8192
"""Bytes of what it prints that are kept, to tell why it died."""
MOST_NOISE = 1 << 24
"""Bytes that others may write into its socket."""
GRACE_S = 2.0
"""Seconds that an agent whose socket is closed has to end by itself."""


class Agent:
    """An agent that is alive. Use it in a ``with`` statement: nothing of it outlives that.

    It has a process group of its own, which is stopped, continued and killed as a whole.
    """

    def __init__(
        self,
        python: str,
        launch: Launch = AS_IT_IS,
        *,
        env: Mapping[str, str] | None = None,
        most_printed: int | None = None,
    ) -> None:
        """Start it under ``launch``.

        ``env`` takes the place of the inherited environment with the Launch's variables. ``most_printed``: bytes after
        which it is ended, for what prints without end in place of working.
        """
        self.events: list[Event] = []
        self.noise = 0
        self.hung_up = False
        """Whether it closed its socket and went on."""
        self._in, self._out = b"", b""
        self._socket, theirs = socket.socketpair()
        self._socket.setblocking(False)
        self._is_open, self._is_closed = True, False
        self._timeout_s: float | None = None
        self._given_s = self.given_s = 0.0
        self._token = secrets.token_hex(8).encode()
        with theirs:
            self._supervised = Supervised(
                [python, str(MAIN)],
                child_environment(launch) if env is None else env,
                bind=binding(launch),
                stdio=(theirs.fileno(), None, None),
                merge=True,
                say_pid=True,
                most_printed=most_printed,
                tail_bytes=STDERR_TAIL,
            )
        self.tell({"token": self._token.decode()})

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._socket.close()

    @property
    def pid(self) -> int | None:
        """Return the id of the process, and of its group; None if it could not be started."""
        return self._supervised.pid

    @property
    def end(self) -> End | None:
        """Return how the process ended; None while it lives."""
        return self._supervised.end

    @property
    def ended(self) -> bool:
        """Return whether nothing more will come from the process."""
        return self.end is not None

    @property
    def cpu_s(self) -> float | None:
        """Return the CPU seconds of the whole process tree, once it has ended; None where nobody lived to tell."""
        return None if self.end is None else self.end.cpu_s

    def tell(self, command: Mapping[str, Any]) -> None:
        """Send one command: ``do`` is a module of the agent and a verb of it, ``measure.sample``."""
        self._out += json.dumps(command).encode() + b"\n"
        self._send()

    def hear(self, names: Collection[str], timeout_s: float, most: float = 1.0) -> Event | None:
        """Return the next event of one of these names; None if it ended, or said nothing for ``timeout_s`` seconds.

        An agent that runs out of time is killed: ``outcome`` then says so. While others keep the CPUs from it, it gets
        more, up to ``most`` times as much; ``given_s`` tells.
        """
        patience = Patience(self.pid if most > 1 else None, timeout_s, most)
        while True:
            event = self.next_event(patience.left())
            if event is None and not self.ended and not patience.is_over():
                continue
            if event is None or event["event"] in names:
                self.given_s += patience.given_s
            if event is None:
                if not self.ended:
                    self._timeout_s, self._given_s = timeout_s + patience.given_s, patience.given_s
                    self.kill()
                return None
            if event["event"] in names:
                return event

    def next_event(self, timeout_s: float) -> Event | None:
        """Return the next event; None if none came within the time, or none will."""
        deadline = time.monotonic() + timeout_s
        while True:
            event = self._parsed()
            if event is not None:
                self.events.append(event)
                return event
            left = deadline - time.monotonic()
            if not self._is_open or not self._wait(max(0.0, left)):
                return None

    def files(self) -> tuple[int, ...]:
        """Return the files that can be read from when it says something, or has ended."""
        return (self._socket.fileno(), self._supervised.fileno()) if self._is_open else ()

    def pause(self) -> None:
        """Stop it, its threads that wait by spinning too, so that others have the machine for themselves."""
        self._supervised.pause()

    def resume(self) -> None:
        """Let it go on."""
        self._supervised.resume()

    def close(self) -> None:
        """Say that no more commands come: it ends when it has done those that did."""
        self._is_closed = True
        self._send()

    def finish(self, timeout_s: float) -> Outcome:
        """Say that no more commands come, and wait for its end."""
        self.resume()
        self.close()
        self.hear((), timeout_s)
        return self.outcome()

    def once(self, command: Mapping[str, Any], timeout_s: float) -> Outcome:
        """Do one command and end; return the outcome."""
        self.tell(command)
        outcome = self.finish(timeout_s)
        failed = self.event("failed")
        return Outcome(kind=failed["kind"], detail=failed["detail"]) if failed and outcome.ok else outcome

    @property
    def printed_too_much(self) -> bool:
        """Return whether the process was ended for what it printed, or for writing where only an agent's answers
        belong."""
        return self.noise > MOST_NOISE or (self.end is not None and self.end.why == "printed")

    def outcome(self) -> Outcome:
        """Return how it ended; ok while it lives."""
        end = self.end
        if end is None:
            return Outcome(kind="ok")
        if end.why == "error":
            return Outcome(kind="not-started", detail=end.error)
        if self.printed_too_much:
            return Outcome(kind="error", detail=f"it prints without end{during(self.events)}: killed")
        if self.hung_up:
            return Outcome(kind="error", detail=f"it closed its connection{during(self.events)}: killed")
        if end.why == "stopped" and self._timeout_s is None:
            return Outcome(kind="signal", detail="ended by hwdiag")
        return classify(end.returncode, self.events, end.stdout, self._timeout_s, self._given_s)

    def event(self, name: str) -> Event | None:
        """Return the first event of this name without the name, None if it never came."""
        return next(({k: v for k, v in e.items() if k != "event"} for e in self.events if e["event"] == name), None)

    def kill(self) -> None:
        """Kill it and all that it started."""
        self._supervised.stop()
        self._is_open = False

    def _wait(self, timeout_s: float) -> bool:
        """Wait until there is something to read, and read it; return False when the time is up."""
        poller = select.poll()
        poller.register(self._socket, select.POLLIN | (select.POLLOUT if self._out else 0))
        poller.register(self._supervised.fileno(), select.POLLIN)
        ready = dict(poller.poll(1000 * timeout_s))
        if not ready:
            return False
        if ready.get(self._socket.fileno(), 0) & select.POLLOUT:
            self._send()
        if self._supervised.fileno() in ready and self._supervised.wait(0) is not None:
            while self._receive():  # all that it said before it ended is in the socket
                pass
            self._is_open = False
        elif self._socket.fileno() in ready and self._receive() == b"":
            if self._supervised.wait(GRACE_S) is None:  # it is about to end, or has closed what it does not know
                self.hung_up = True
                self.kill()
            self._is_open = False
        return True

    def _receive(self) -> bytes | None:
        """Read what is there; return None if nothing is, and nothing but empty bytes at the end."""
        try:
            piece = self._socket.recv(1 << 16)
        except BlockingIOError:
            return None
        except OSError:
            return b""
        self._in += piece
        return piece

    def _parsed(self) -> Event | None:
        """Return the next event that was read; what others wrote is left out, and too much of it is the end."""
        while b"\n" in self._in:
            line, _, self._in = self._in.partition(b"\n")
            event = parse_any(line[len(self._token) :]) if line.startswith(self._token) else None
            if isinstance(event, dict) and isinstance(event.get("event"), str):
                return event
            self.noise += len(line)
        unfinished = 0 if self._in.startswith(self._token) else len(self._in)
        if self.noise + unfinished > MOST_NOISE and not self.ended:
            self.noise += unfinished
            self.kill()
        return None

    def _send(self) -> None:
        """Send what can be sent without waiting, and after the last of it the end."""
        try:
            self._out = self._out[self._socket.send(self._out) :]
            if self._is_closed and not self._out:
                self._socket.shutdown(socket.SHUT_WR)
        except BlockingIOError:
            pass
        except OSError:  # it died: whoever listens finds out how
            self._out = b""
