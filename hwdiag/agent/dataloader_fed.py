"""A training as guides have it: ResNet-18, fed by a DataLoader that decodes pictures; it tells how long each part took.

Beside the training it times the loader alone, in the ways that guides advise. It needs Pillow.
"""

import importlib.util
import io
import multiprocessing
import os
import time

from . import workloads
from .accelerator import accelerator
from .channel import Ended
from .torch_import import import_torch

PICTURES = 64
WIDTH, HEIGHT, QUALITY = 500, 375, 85
"""ImageNet's mean is about 470 x 390."""
DECODED = 24
"""Pictures in a row when one way to get them is timed against another."""
WARM, LEAST = 2, 3
"""Batches that are not counted, and the fewest that are."""
TRACED = 6


class NotInstalled(Exception):
    """Something is not in this interpreter, in one line."""


def pictures(torch):
    """Return JPEGs as they lie on a disk: cut from one picture that is smooth but for a grain, some 0.2 bytes a
    pixel."""
    try:
        from PIL import Image
    except ImportError as error:
        raise NotInstalled("the training that is fed needs Pillow in that interpreter: %s" % error)
    coarse = torch.rand(1, 3, 48, 64)
    whole = torch.nn.functional.interpolate(coarse, (2 * HEIGHT, 2 * WIDTH), mode="bicubic") * 255
    whole = (whole + 4 * torch.randn_like(whole)).clamp(0, 255).to(torch.uint8)[0].permute(1, 2, 0).contiguous()
    image = Image.frombytes("RGB", (2 * WIDTH, 2 * HEIGHT), bytes(whole.view(-1).tolist()))
    found = []
    for n in range(PICTURES):
        left, top = WIDTH * n // PICTURES, HEIGHT * n // PICTURES
        file = io.BytesIO()
        image.crop((left, top, left + WIDTH, top + HEIGHT)).save(file, "JPEG", quality=QUALITY)
        found.append(file.getvalue())
    return found


def by_pillow(data):
    from PIL import Image

    return Image.open(io.BytesIO(data)).convert("RGB")


def by_opencv(data):
    """Return the same picture from OpenCV, in the same form."""
    import cv2
    import numpy
    from PIL import Image

    return Image.fromarray(cv2.cvtColor(cv2.imdecode(numpy.frombuffer(data, numpy.uint8), 1), cv2.COLOR_BGR2RGB))


class JpegDataset:
    """A Dataset of so many pictures, decoded by one thread, cut to a square and normalised."""

    def __init__(self, torch, files, side, count, opened=by_pillow):
        self.torch, self.files, self.side, self.count, self.opened = torch, files, side, count, opened

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        picture = self.opened(self.files[index % len(self.files)])
        room = (WIDTH - HEIGHT) // 2
        picture = picture.resize((self.side, self.side), box=(room, 0, WIDTH - room, HEIGHT))
        pixels = self.torch.frombuffer(bytearray(picture.tobytes()), dtype=self.torch.uint8)
        pixels = pixels.view(self.side, self.side, 3).permute(2, 0, 1).float().div_(255)
        return pixels.sub_(0.45).div_(0.225), index % 1000


def loader(torch, data, task, workers, **more):
    return torch.utils.data.DataLoader(
        data, batch_size=task["batch"], num_workers=workers, pin_memory=task["device"] != "cpu", drop_last=True, **more
    )


def alone(torch, data, task, workers):
    """Return the seconds of a batch that nothing is done with, when the batches loaded ahead at the start are used
    up."""
    batches = iter(loader(torch, data, task, workers))
    for _ in range(WARM + 2 * workers):
        next(batches)
    start, count = time.perf_counter(), 0
    while count < LEAST or time.perf_counter() - start < task["seconds"] / 2:
        next(batches)
        count += 1
    return (time.perf_counter() - start) / count


def restart(torch, files, task, keep):
    """Return the seconds from the start of a second epoch to its first batch."""
    data = JpegDataset(torch, files, task["side"], task["batch"] * max(1, task["workers"]))
    again = loader(torch, data, task, task["workers"], persistent_workers=keep)
    for _ in again:
        pass
    start = time.perf_counter()
    next(iter(again))
    return time.perf_counter() - start


def each(data):
    """Return the seconds for each picture, over some of them, in this process."""
    data[0]
    start = time.perf_counter()
    for n in range(DECODED):
        data[n]
    return (time.perf_counter() - start) / DECODED


def ways_to_load(torch, files, data, task):
    """Return the seconds of the loader alone by each way that guides advise, and by the one without."""
    kept = [by_pillow(file) for file in files[:DECODED]]
    side = task["side"]
    found = {
        "no workers": alone(torch, data, task, 0),
        "workers": alone(torch, data, task, task["workers"]),
        "afresh": restart(torch, files, task, False),
        "kept": restart(torch, files, task, True),
        "pillow": each(data),
        "memory": each(JpegDataset(torch, kept, side, DECODED, lambda picture: picture)),
    }
    if importlib.util.find_spec("cv2"):
        found["opencv"] = each(JpegDataset(torch, files, side, DECODED, by_opencv))
    return found


def cpu_seconds():
    """Return the CPU seconds of this process and of the loader's workers."""
    ticks = 0
    for pid in [os.getpid(), *(child.pid for child in multiprocessing.active_children())]:
        with open("/proc/%d/stat" % pid) as stat:
            ticks += sum(int(field) for field in stat.read().rpartition(")")[2].split()[11:13])
    return ticks / os.sysconf("SC_CLK_TCK")


def training(torch, data, task):
    """Wait for each batch, step time and CPU seconds, while it trains; of an accelerator also a trace of some steps."""
    device = torch.device(task["device"])
    module = accelerator(torch, task["device"])
    if module is not None:
        module.make_current()
    net, _ = workloads.resnet18(torch, device, torch.float32, 1, task["side"])
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    loss_of = torch.nn.CrossEntropyLoss()
    batches = iter(loader(torch, data, task, task["workers"]))

    def steps(enough):
        """Train until there are enough batches; return how long each was waited for, and by how much the whole took
        longer than as many steps of a training that goes on: what begins has nothing to do beside the first batch, or
        nothing beside the last step on the device, whichever is shorter."""
        waits, ends = [], []
        start = time.perf_counter()
        while not enough(len(waits)):
            before = time.perf_counter()
            x, y = next(batches)
            waits.append(time.perf_counter() - before)
            x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
            optimizer.zero_grad()
            loss_of(net(x), y).backward()
            optimizer.step()
            ends.append(time.perf_counter())
        if module is not None:
            module.synchronize()
        return waits, min(ends[0] - start, time.perf_counter() - ends[-1])

    steps(lambda n: n == WARM + (2 * task["workers"] if module else 0))  # a CPU is slow enough for them to fill up
    start, used = time.perf_counter(), cpu_seconds()
    waits, more = steps(lambda n: n >= LEAST and time.perf_counter() - start > task["seconds"])
    elapsed = time.perf_counter() - start
    found = {"wait_s": sum(waits) / len(waits), "step_s": (elapsed - more) / len(waits), "cpu_s": cpu_seconds() - used}
    if task["trace"] and module is not None:
        activities = torch.profiler.supported_activities()
        with torch.profiler.profile(activities=activities) as profile:
            steps(lambda n: n == TRACED)
        profile.export_chrome_trace(task["trace"])
    return {**found, "seconds": elapsed}


def train(channel, **task):
    """Tell what was timed; ``trace`` in the task names a file for the trace of an accelerator, or is None."""
    torch = import_torch(channel)
    if torch is None:
        raise Ended
    channel.tell("begin", workload="the training that is fed")
    torch.manual_seed(1)
    files = pictures(torch)
    data = JpegDataset(torch, files, task["side"], 1 << 20)
    ways = ways_to_load(torch, files, data, task)
    channel.tell("dataloader_fed", ways=ways, **training(torch, data, task))


VERBS = {"train": train}
