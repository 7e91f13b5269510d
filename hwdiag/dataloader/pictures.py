"""A set of pictures made on the spot: as hard to decode as photographs are, the same for the same seed."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

SIZES = ((500, 375), (640, 480), (1024, 768), (1600, 1200))
"""Width and height: ImageNet's mean is about 470 x 390, photographs of the web are larger."""
SHARES = (0.55, 0.25, 0.15, 0.05)
QUALITY = (75, 95)
SCENES = 2
SLOPE = 1.2
"""Amplitude falls with the spatial frequency f about as 1/f, as in natural images (Field 1987)."""
GRAIN = 2.0
"""Standard deviation of the sensor's noise, of 255."""


def cache_home() -> Path:
    """Return hwdiag's folder in the user's cache, which lies on a disk mostly. It may not exist."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hwdiag"


def synthetic_set(count: int, *, seed: int = 1) -> Path:
    """Return the folder of such a set in the user's cache, made where it is not there yet.

    Raises ``OSError`` where it cannot be written.
    """
    cache = cache_home()
    folder = cache / f"pictures-{count}-{seed}"
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=".pictures-", dir=cache))
        try:
            make_pictures(making, count, seed=seed)
            making.rename(folder)  # whole or not at all
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return folder


def make_pictures(folder: Path, count: int, *, seed: int = 1, png_share: float = 0.1) -> int:
    """Write so many pictures; gives their bytes together. About 0.2 bytes a pixel, as JPEG photographs have."""
    from PIL import Image

    random = np.random.default_rng(seed)
    scenes = [scene(random, *SIZES[-1]) for _ in range(SCENES)]
    grain = random.normal(0, GRAIN, (*SIZES[-1][::-1], 1))
    total = 0
    for number in range(count):
        width, height = SIZES[random.choice(len(SIZES), p=SHARES)]
        whole = scenes[number % len(scenes)]
        left, top = (int(random.integers(0, room + 1)) for room in (SIZES[-1][0] - width, SIZES[-1][1] - height))
        cut = whole[top : top + height, left : left + width]
        pixels = np.clip(cut + grain[:height, :width], 0, 255).astype(np.uint8)
        if number % 2:
            pixels = pixels[:, ::-1]
        is_png = random.random() < png_share
        buffer = io.BytesIO()
        picture = Image.fromarray(pixels)
        if is_png:
            picture.save(buffer, "PNG", compress_level=1)
        else:
            picture.save(buffer, "JPEG", quality=int(random.integers(*QUALITY, endpoint=True)))
        (folder / f"{number:05d}.{'png' if is_png else 'jpg'}").write_bytes(buffer.getvalue())
        total += buffer.tell()
    return total


def scene(random: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Return random clouds of three colours with the spectrum of photographs, cut by straight edges; values 0..255."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    frequency[0, 0] = 1.0
    layers = []
    for _ in range(3):
        phases = np.exp(2j * np.pi * random.random(frequency.shape)) / frequency**SLOPE
        field = np.fft.irfft2(phases, (height, width))
        layers.append(field / field.std())
    grey, *tints = layers
    colours = np.stack([grey + 0.3 * tint for tint in (tints[0], -tints[0], tints[1])], axis=-1)
    y, x = np.mgrid[0:height, 0:width]
    for _ in range(12):
        a, b, c = random.normal(size=3)
        side = a * (x / width - 0.5) + b * (y / height - 0.5) > 0.5 * c
        colours[side] += random.normal(0, 0.4, 3)
    clipped: np.ndarray = np.clip(128 + 45 * colours, 0, 255)
    return clipped
