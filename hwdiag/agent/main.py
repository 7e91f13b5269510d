"""The agent: one process of the person's interpreter that does what hwdiag asks for, a line each.

Run by path; hwdiag need not be installed there. Standard input is a socket over which one JSON object a line comes:
first ``{"token": "..."}``, then commands. ``do`` names a module of this folder and a verb of its ``VERBS``, and all
else is given to it::

    {"do": "measure.sample", "seconds": 0.05, "min_samples": 1, "go_on": false}

Modules are imported when a verb of theirs is asked for. Answers are JSON objects, each with an ``event``, over the same
socket; what raises is ``failed`` with ``kind`` and ``detail``. The end of the commands ends the agent, after ``end``.
The person's code finds /dev/null as its standard input, and what it prints never meets the answers.
"""

import importlib
import importlib.util
import json
import os
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))
NAME = "hwdiag_agent"


def make_package():
    """Make this folder the package ``hwdiag_agent``, and keep its modules from hiding anybody else's.

    Processes that multiprocessing spawns run this file again, under another name, before they unpickle what is of it.
    """
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != FOLDER]
    if NAME not in sys.modules:
        where = os.path.join(FOLDER, "__init__.py")
        spec = importlib.util.spec_from_file_location(NAME, where, submodule_search_locations=[FOLDER])
        package = importlib.util.module_from_spec(spec)
        sys.modules[NAME] = package
        spec.loader.exec_module(package)


make_package()


def serve(channel):
    """Do what is asked for until the commands end. Return whether they did, in place of a verb that ended it."""
    from hwdiag_agent.channel import Ended
    from hwdiag_agent.failures import failure

    for line in channel.commands:
        command = json.loads(line)
        module, _, verb = command.pop("do").rpartition(".")
        try:
            importlib.import_module("%s.%s" % (NAME, module)).VERBS[verb](channel, **command)
        except Ended:
            return False
        except (Exception, SystemExit) as error:  # the person's code may call sys.exit()
            kind, detail = failure(error)
            channel.tell("failed", kind=kind, detail=detail)
    return True


def main():
    import resource

    given = os.dup(0)  # not inherited (PEP 446)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    from hwdiag_agent.channel import Channel

    channel = Channel(given)
    if serve(channel):
        usage = resource.getrusage(resource.RUSAGE_SELF)
        channel.tell("end", cpu_s=usage.ru_utime + usage.ru_stime)


if __name__ == "__main__":
    main()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(0)  # tearing torch down module by module takes up to a second
