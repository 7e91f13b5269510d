"""Damages bytes and JSON values, at random and the same for the same seed."""

from __future__ import annotations

import json
import random
from typing import Any

NUMBERS = ("-1", "0", "1e400", "-1e308", "NaN", "9" * 25, "9" * 400, "9" * 5000, "0x10", "1e-320", "65536", "2e9")
TEXTS = (
    *("", "\0", "\x1b]0;x\x07\x1b[2J", "\u009b2J", "\udcff", "\u202e", "é" * 300, "a\nb", "<script>", "x" * 5000),
    *("../../etc/passwd", "/dev/zero", "0-65535", "5-1", "true", "{{7*7}}", "%s%n", "%d", "{}", "[[[", "~nobody/x"),
)
NESTED = tuple(o * depth + c * depth for o, c in (("[", "]"), ('{"a":', "}")) for depth in (90, 300))
PIECES = tuple(text.encode(errors="surrogatepass") for text in (*NUMBERS, *NESTED, *TEXTS))


def hostile(random: random.Random) -> Any:
    """Return a value that no place expects."""
    return random.choice(
        [
            *(None, True, False, [], {}, [None], {"": None}, -1, 0, 1e308, -1e-308, 2**63, 10**29, 10**400),
            *TEXTS,
            ["0-65535"] * 50,
            [{}] * 50,
            {str(i): i for i in range(50)},
            [[[[[[[[[[]]]]]]]]]],
        ]
    )


def changed_bytes(random: random.Random, data: bytes) -> bytes:
    """Return a file with some of its bytes damaged."""
    for _ in range(random.choice((1, 1, 2, 5))):
        at, to = sorted((random.randint(0, len(data)), random.randint(0, len(data))))
        to = min(to, at + random.choice((1, 8, 100, len(data))))
        piece = random.choice(PIECES)
        data = random.choice(
            [
                data[:at],
                data[:at] + data[to:],
                data[:at] + piece + data[at:],
                data[:at] + piece + data[to:],
                data[:to] + data[at:],
                data[:at] + bytes(random.randrange(256) for _ in range(4)) + data[at + 4 :],
                data[:at] + b"\xff\xfe" + data[at:],
                b"" if random.random() < 0.1 else data[at:],
            ]
        )
    return data


def changed_json(random: random.Random, value: Any) -> Any:
    """Return a JSON value with something in it replaced, lost, doubled or renamed."""
    if isinstance(value, (dict, list)) and value and random.random() < 0.93:
        inner = dict(value) if isinstance(value, dict) else list(value)
        key = random.choice([*inner] if isinstance(inner, dict) else range(len(inner)))
        chance = random.random()
        if chance < 0.8:
            inner[key] = changed_json(random, inner[key])
        elif chance < 0.87:
            del inner[key]
        elif isinstance(inner, dict):
            inner[random.choice([*TEXTS, *value])] = inner.pop(key)
        else:
            inner += inner[: max(1, 20000 // (1 + len(json.dumps(inner))))] * random.choice((1, 30))
        return inner
    if isinstance(value, (int, float)) and random.random() < 0.6:
        return value * random.choice((-1, 0, 7) if abs(value) > 1e9 else (-1, 0, 1e30, 1e-30, 1e290))
    if isinstance(value, str) and random.random() < 0.7:
        return random.choice((value + random.choice(TEXTS), value[: len(value) // 2], value * 50))
    return hostile(random)


def changed_record(random: random.Random, data: bytes) -> bytes:
    """Return a JSON file that is damaged in its bytes, or in what they say."""
    if random.random() < 0.25:
        return changed_bytes(random, data)
    value = json.loads(data)
    for _ in range(random.choice((1, 1, 2, 4))):
        value = changed_json(random, value)
    return json.dumps(value).encode()
