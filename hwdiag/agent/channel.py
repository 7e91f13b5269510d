"""The agent's connection to hwdiag: commands come in, events go out, and nobody else can speak in its name."""

import json
import os


def one_line(error, most=300):
    """Return an exception's type and the first line of what it says."""
    text = str(error).strip().splitlines()
    return "%s: %s" % (type(error).__name__, text[0][:most] if text else "")


class Ended(Exception):
    """The agent has no more to say: it ends as if it had been interrupted."""


class Channel:
    """The socket that the agent was given. Each event begins with the token that came with the first line."""

    def __init__(self, file):
        """``file`` is not inherited by what is started from here on; a process that is forked closes it."""
        self.file = file
        self.commands = os.fdopen(file, closefd=False)
        self.token = json.loads(self.commands.readline())["token"].encode()

    def tell(self, event, **values):
        """Send one event."""
        values["event"] = event
        # What somebody else wrote there without an end of line does not reach into this one.
        data = memoryview(b"\n%s%s\n" % (self.token, json.dumps(values).encode()))
        while data:
            data = data[os.write(self.file, data) :]

    def close(self):
        """Let go of it, in a process that was forked."""
        os.close(self.file)
