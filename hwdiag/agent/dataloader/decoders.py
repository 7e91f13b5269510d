"""The decoders that are installed: what each gives on one core, whole and at a reduced size, and how far they differ.

Each takes a file's bytes and the least width and height wanted, 0 for all of it, and gives pixels in RGB.
"""

import io
import os
import random
import re
import statistics
import sys
import time

ROUNDS = 3
COMPARED = 4
"""Pictures by which the pixels of two decoders are compared."""


def pillow():
    from PIL import Image, features

    def decode(data, least):
        picture = Image.open(io.BytesIO(data))
        if least:
            picture.draft("RGB", (least, least))
        return picture.convert("RGB")

    import PIL

    is_simd = re.search(r"\.post\d", PIL.__version__) is not None
    turbo = features.check_feature("libjpeg_turbo")
    library = "libjpeg-turbo %s" % features.version_feature("libjpeg_turbo") if turbo else "libjpeg, not turbo"
    return decode, "Pillow-SIMD" if is_simd else "Pillow", PIL.__version__, library, ("jpeg", "png")


def opencv():
    import cv2
    import numpy

    cv2.setNumThreads(1)
    reduced = {1: cv2.IMREAD_COLOR, 2: cv2.IMREAD_REDUCED_COLOR_2}
    reduced.update({4: cv2.IMREAD_REDUCED_COLOR_4, 8: cv2.IMREAD_REDUCED_COLOR_8})

    def decode(data, least):
        scale = scale_of(data, least)
        pixels = cv2.imdecode(numpy.frombuffer(data, numpy.uint8), reduced[scale])
        if pixels is None:
            raise ValueError("not a picture")
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)

    built = re.search(r"JPEG:\s+(.+)", cv2.getBuildInformation())
    return decode, "OpenCV", cv2.__version__, built.group(1).strip() if built else "", ("jpeg", "png")


def simplejpeg():
    import simplejpeg

    def decode(data, least):
        return simplejpeg.decode_jpeg(data, "RGB", min_height=least, min_width=least)

    return decode, "simplejpeg", simplejpeg.__version__, "libjpeg-turbo, its own", ("jpeg",)


def pyturbojpeg():
    import turbojpeg

    library = turbojpeg.TurboJPEG()

    def decode(data, least):
        scale = scale_of(data, least)
        return library.decode(data, pixel_format=turbojpeg.TJPF_RGB, scaling_factor=(1, scale))

    return decode, "PyTurboJPEG", getattr(turbojpeg, "__version__", ""), "libjpeg-turbo of the system", ("jpeg",)


def torchvision():
    import torch
    import torchvision
    from torchvision.io import ImageReadMode, decode_image

    torch.set_num_threads(1)

    def decode(data, least):
        if least:
            raise NotImplementedError("has no reduced size")
        pixels = decode_image(torch.frombuffer(bytearray(data), dtype=torch.uint8), ImageReadMode.RGB)
        return pixels.permute(1, 2, 0).numpy()

    return decode, "torchvision.io", torchvision.__version__, "", ("jpeg", "png")


KNOWN = {
    "pillow": pillow,
    "opencv": opencv,
    "simplejpeg": simplejpeg,
    "pyturbojpeg": pyturbojpeg,
    "torchvision": torchvision,
}


def scale_of(data, least):
    """Return the largest of 1, 2, 4, 8 by which a JPEG file can be divided and still be as large as wanted."""
    size = jpeg_size(data) if least else None
    if size is None:
        return 1
    return max(s for s in (1, 2, 4, 8) if s == 1 or min(-(-side // s) for side in size) >= least)


def jpeg_size(data):
    """Return the width and height in the frame header (ITU-T T.81, B.2.2); None for any other file."""
    at = 2
    while data[:2] == b"\xff\xd8" and at + 9 < len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(data[at + 5 : at + 7], "big")
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


def one_line(error):
    text = str(error).strip().splitlines()
    return "%s: %s" % (type(error).__name__, text[0][:200] if text else "")


def compare(task):
    """Measure all decoders with these files. What is not installed, or does not load, is told with its reason."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # rates of one core
    ready, missing = {}, {}
    for key, load in KNOWN.items():
        try:
            ready[key] = load()
        except Exception as error:  # not installed, or a library that it needs is not, such as PyTurboJPEG's
            missing[key] = one_line(error)
    if not ready:
        raise RuntimeError("no decoder is installed in this Python: pip install pillow")
    first = next(iter(ready.values()))[0]
    whole, broken = [], []
    for path in task["paths"]:
        try:
            with open(path, "rb") as file:
                data = file.read()
            first(data, 0)
            whole.append((path, data))
        except Exception as error:
            broken.append({"path": path, "why": one_line(error)})
    if not whole:
        raise RuntimeError("none of %d pictures can be decoded; %s" % (len(task["paths"]), broken[0]["why"]))
    found = {
        "looked_at": len(task["paths"]),
        "broken": broken,
        "missing": missing,
        "mean_bytes": sum(len(data) for _, data in whole) / len(whole),
        "mean_pixels": statistics.mean(size[0] * size[1] for size in (pixels_of(first(d, 0)) for _, d in whole)),
    }
    kinds = {"jpeg": [d for _, d in whole if d[:2] == b"\xff\xd8"], "png": [d for _, d in whole if d[:4] == b"\x89PNG"]}
    kind = max(kinds, key=lambda name: len(kinds[name]))
    found["kind"] = kind
    found["decoders"] = measure(ready, kinds[kind], kind, task["size"], task["seconds"], task["seed"])
    return found


def pixels_of(picture):
    """Return the width and height."""
    return picture.size if hasattr(picture, "convert") else (picture.shape[1], picture.shape[0])


def measure(ready, pictures, kind, size, seconds, seed):
    """Return the pictures a second of each decoder, interleaved, so that disturbances hit all of them."""
    order = random.Random(seed)
    sizes = (0, size) if kind == "jpeg" else (0,)
    plans = [(key, least) for key, what in ready.items() if kind in what[4] for least in sizes]
    times, why = {plan: [] for plan in plans}, {}
    share = seconds / ROUNDS / max(1, len(plans))
    for _ in range(ROUNDS):
        for plan in order.sample(plans, len(plans)):
            if plan in why:
                continue
            try:
                times[plan].append(seconds_each(ready[plan[0]][0], pictures, plan[1], share))
            except Exception as error:
                why[plan] = one_line(error)
    rows = []
    for key, least in plans:
        decode, name, version, library, _ = ready[key]
        row = {"key": key, "name": name, "version": version, "library": library, "reduced": bool(least)}
        if (key, least) in why:
            row["why"] = why[(key, least)]
        else:
            row["seconds"] = statistics.median(times[(key, least)])
            row.update(resized(decode, pictures, least, size, share / ROUNDS))
            row["difference"] = difference(ready, decode, pictures, least, size)
        rows.append(row)
    return rows


def seconds_each(decode, pictures, least, seconds):
    decode(pictures[0], least)
    began, count = time.perf_counter(), 0
    while count < len(pictures) or time.perf_counter() - began < seconds:
        pixels = decode(pictures[count % len(pictures)], least)
        getattr(pixels, "load", int)()  # Pillow decodes when it is asked to
        count += 1
        if time.perf_counter() - began > 4 * seconds:
            break
    return (time.perf_counter() - began) / count


def resized(decode, pictures, least, size, seconds):
    """Return the seconds of Pillow's bilinear resize to the wanted size, after this decoder; none without Pillow."""
    try:
        from PIL import Image
    except ImportError:
        return {}
    few = [as_pillow(decode(data, least), Image) for data in pictures[:8]]
    began, count = time.perf_counter(), 0
    while count < len(few) or time.perf_counter() - began < seconds:
        few[count % len(few)].resize((size, size), Image.BILINEAR)
        count += 1
    return {"resize_seconds": (time.perf_counter() - began) / count}


def as_pillow(pixels, image):
    return pixels if hasattr(pixels, "convert") else image.fromarray(pixels)


def difference(ready, decode, pictures, least, size):
    """Return the mean distance of the values (0..255) from the whole picture of the first decoder, at the wanted
    size."""
    try:
        import numpy
        from PIL import Image
    except ImportError:
        return None
    first = next(iter(ready.values()))[0]
    distances = []
    for data in pictures[:COMPARED]:
        one, other = (
            numpy.asarray(as_pillow(p, Image).resize((size, size), Image.BILINEAR), numpy.float32)
            for p in (first(data, 0), decode(data, least))
        )
        distances.append(float(numpy.abs(one - other).mean()))
    return statistics.mean(distances)


def best_known(key):
    """Return the decoder of this name, or the first that loads. Raises ImportError where there is none."""
    for name in [key] if key else KNOWN:
        try:
            return KNOWN[name]()[0]
        except Exception:
            if key:
                raise
    raise ImportError("no decoder of pictures is installed in %s: pip install pillow" % sys.executable)
