"""The accelerators that a process uses, whoever made them: waiting for them, their memory, their events.

torch has ``torch.accelerator`` since 2.6, its memory's part since 2.9; before, all of it is under the maker's name.
"""

MAKERS = ("cuda", "xpu")
"""Names under which torch has accelerators, where it has no ``torch.accelerator`` to tell."""


class Accelerator:
    """One accelerator of torch."""

    def __init__(self, torch, name):
        """``name`` as torch calls it: ``cuda:1``; without a number it is the current one."""
        self.name, self.kind = name, name.partition(":")[0]
        self.index = int(name.partition(":")[2]) if ":" in name else None
        self.which = name if ":" in name else None
        """What torch's functions are told; None is the current one."""
        self.module = getattr(torch, self.kind, None)
        self._places = (getattr(torch, "accelerator", None), self.module)

    def find(self, *names):
        """Return the first function of one of these names, of any maker first; None where this torch has none."""
        found = [getattr(place, name, None) for place in self._places for name in names]
        return next((f for f in found if f is not None), None)

    def synchronize(self):
        """Wait until it has done all that it was asked for."""
        self.find("synchronize")(self.which)

    def make_current(self):
        """Let what names no device mean this one: streams, graphs, events."""
        choose = self.find("set_device_index", "set_device")
        if choose is not None and self.index is not None:
            choose(self.index)

    def forget_peak(self):
        """Give back memory that is not in use, and count the peak from now on."""
        empty, reset = self.find("empty_cache"), self.find("reset_peak_memory_stats")
        if empty is not None and reset is not None:
            empty()
            reset(self.which)

    def peak_bytes(self):
        """Return the most that torch held since then: what others cannot have, used or not; None where it does not
        count."""
        return self._counted("max_memory_reserved")

    def held_bytes(self):
        """Return what torch holds now."""
        return self._counted("memory_reserved")

    def _counted(self, name):
        count = self.find(name)
        try:
            return None if count is None else count(self.which)
        except RuntimeError:  # a maker's allocator that does not count
            return None

    def event(self):
        """Return an event with a time in the current stream; None where this torch has none for it."""
        make = getattr(self.module, "Event", None)
        return None if make is None else make(enable_timing=True)


def accelerator(torch, device):
    """Return the accelerator of this name; None for the CPU."""
    return None if device in ("cpu", "meta") else Accelerator(torch, device)


def kind_of(torch):
    """Return the kind of accelerator that this torch has here; None where there is none."""
    neutral = getattr(torch, "accelerator", None)
    if neutral is not None:
        return neutral.current_accelerator().type if neutral.is_available() else None
    return next((k for k in MAKERS if getattr(torch, k, None) is not None and getattr(torch, k).is_available()), None)


def is_started(torch, kind):
    """Return whether this process has begun to use accelerators of a kind."""
    return bool(getattr(getattr(torch, kind, None), "is_initialized", bool)())


class InUse:
    """All accelerators that the person's code uses by itself, as if they were one."""

    def __init__(self, each):
        self.each = each

    def synchronize(self):
        for one in self.each:
            one.synchronize()

    def forget_peak(self):
        for one in self.each:
            one.forget_peak()

    def peak_bytes(self):
        """Return the peak of the one that held most."""
        return max((b for b in (one.peak_bytes() for one in self.each) if b is not None), default=None)

    @property
    def name(self):
        return self.each[0].name


def in_use(torch):
    """Return the accelerators that the person's code has begun to use; None where it uses none.

    Those are where torch holds memory: to ask another one to wait would start it, which takes memory and time.
    """
    kind = kind_of(torch)
    if kind is None or not is_started(torch, kind):
        return None
    each = [Accelerator(torch, "%s:%d" % (kind, index)) for index in range(getattr(torch, kind).device_count())]
    used = [one for one in each if one.held_bytes()]
    return InUse(used or [Accelerator(torch, kind)])
