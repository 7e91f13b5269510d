"""Looks at the live objects at a few moments: growth of the autograd graph, tensors that pile up, subnormal values.

Values are read through /proc/self/mem, a few hundred of each tensor: no operation of torch runs for it, and memory that
is freed meanwhile gives an error instead of a crash.
"""

import array
import os
import random
import time
from itertools import chain

from . import live

AT_S = (2.0, 6.0, 12.0, 25.0, 50.0, 100.0, 200.0)
"""Seconds after the first operation at which it is looked."""
MOST_ROOTS = 400
MOST_NODES = 30_000
"""Nodes of the graph that are visited at one look."""
MOST_TENSORS = 20_000
MOST_READ = 64
"""Parameters whose values are sampled at one look, and so many other tensors."""
PLACES, RUN = 2, 64
"""Of each tensor so many stretches of so many elements."""
SMALLEST = {"f": 1.1754943508222875e-38, "d": 2.2250738585072014e-308}
"""The smallest normal number of each type; what is nearer to 0, and not 0, is subnormal."""
MOST_EXAMPLES = 12
LEAST_SHARE = 0.01
LEAST_APART_S = 0.5
COST = 0.007
"""Share of the time that looks may have taken where another one is due."""


class Objects:
    """The live objects of this process, as they were seen."""

    def __init__(self, torch, task):
        self.torch, self.most = torch, int(task.get("most", 1_000_000))
        self.kinds = {torch.Tensor, torch.nn.Parameter}
        self.codes = {torch.float32: "f", torch.float64: "d"}
        self.random = random.Random()
        self.looks = []
        self.subnormal = {"parameters": [0, 0], "others": [0, 0]}
        self.examples = {}
        self.first = self.latest = None
        self.next, self.spent_s = 0, 0.0
        self.why = ""

    def watch(self, seen, now, recorder):
        """Called every now and then by the witness's thread: look when it is time."""
        if not seen or self.why or self.next >= len(AT_S):
            return
        if self.first is None:
            self.first = now
        since = now - self.first
        if since >= AT_S[self.next] and self.spent_s <= COST * since:
            self.next += 1
            self.look(now)

    def last(self):
        """Look once more at the end, where that is a while after the look before."""
        now = time.monotonic()
        if self.first is not None and not self.why and (self.latest is None or now - self.latest > LEAST_APART_S):
            self.look(now)

    def look(self, now):
        self.latest = now
        began, spent = time.monotonic(), time.thread_time()
        count, tensors = live.count_all(), live.of_kinds(self.kinds)[:MOST_TENSORS]
        if count > self.most:
            self.why = "%d objects are more than are looked at" % count
        nodes, capped = graph(tensors)
        self.looks.append(
            {
                "at_s": round(now - self.first, 2),
                "objects": count,
                "tensors": len(tensors),
                "tensor_bytes": sum(size(t) for t in tensors),
                "graph_nodes": nodes,
                "graph_capped": capped,
            }
        )
        self.read(tensors)
        self.looks[-1]["took_s"] = round(time.monotonic() - began, 4)
        self.spent_s += time.thread_time() - spent

    def read(self, tensors):
        """Count the subnormal values among some of each tensor's."""
        parameters = [t for t in tensors if type(t) is self.torch.nn.Parameter]
        others = [t for t in tensors if type(t) is not self.torch.nn.Parameter]
        some = (self.random.sample(kind, min(len(kind), MOST_READ)) for kind in (parameters, others))
        memory = os.open("/proc/self/mem", os.O_RDONLY)
        try:
            for tensor in chain.from_iterable(some):
                try:
                    self.count(memory, tensor)
                except (OSError, RuntimeError, NotImplementedError):  # freed meanwhile, or of another kind
                    continue
        finally:
            os.close(memory)

    def count(self, memory, tensor):
        code = self.codes.get(tensor.dtype)
        numel = tensor.numel()
        if code is None or not numel or tensor.device.type != "cpu" or tensor.layout != self.torch.strided:
            return
        if not tensor.is_contiguous():
            return
        where, width = tensor.data_ptr(), 4 if code == "f" else 8
        seen = small = 0
        for _ in range(PLACES if numel > RUN else 1):
            start = self.random.randrange(max(1, numel - RUN + 1))
            values = array.array(code)
            values.frombytes(os.pread(memory, width * min(RUN, numel), where + width * start))
            least = SMALLEST[code]
            seen += len(values)
            small += sum(1 for v in values if v != 0 and -least < v < least)
        kind = "parameters" if type(tensor) is self.torch.nn.Parameter else "others"
        self.subnormal[kind][0] += small
        self.subnormal[kind][1] += seen
        if small >= LEAST_SHARE * seen:
            key = "%s %s" % (kind[:-1], tuple(tensor.shape))
            if key in self.examples or len(self.examples) < MOST_EXAMPLES:
                self.examples[key] = max(self.examples.get(key, 0.0), round(small / seen, 4))

    def found(self):
        """Return what was seen, for the report."""
        return {
            "looks": self.looks,
            "subnormal": {k: {"subnormal": v[0], "looked_at": v[1]} for k, v in self.subnormal.items()},
            "examples": self.examples,
            "why": self.why,
        }


def size(tensor):
    try:
        return tensor.numel() * tensor.element_size()
    except Exception:
        return 0


def graph(tensors):
    """Return how many nodes the autograd graph behind these tensors has, and whether more than were counted."""
    roots = []
    for tensor in tensors:
        try:
            node = tensor.grad_fn
        except Exception:
            continue
        if node is not None:
            roots.append(node)
            if len(roots) >= MOST_ROOTS:
                break
    seen, left = set(roots), roots
    while left:
        if len(seen) >= MOST_NODES:
            return len(seen), True
        for following, _ in left.pop().next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                left.append(following)
    return len(seen), False
