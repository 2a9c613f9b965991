"""Extreme and malformed texts, numbers and JSON."""

import itertools
import json
import random
from typing import Any

_ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ._-",
    "\x00\x01\x07\x08\t\n\x0b\r\x1b\x7f\x85\u2028\u2029\ufeff",
    "=+-@'\",;:|\\/%?&#<>{}[]()$`~!*^",
    "äßéñøΩжшيあ漢字🙂👩‍🔧\u202e\u200d\u0301",
    "\ud800\udbff\udc00\udcff\udfff",
)
_CHARACTERS = "".join(_ALPHABETS)
_WEIGHTS = tuple(itertools.accumulate(1 / len(alphabet) for alphabet in _ALPHABETS for _ in alphabet))
_WHOLE = len(_CHARACTERS) - len(_ALPHABETS[-1])  # without halves of surrogate pairs
_PIECES = (
    "..", "../../etc/passwd", "C:\\", "nul", "%00", "%s%n", "\x1b[2J\x1b]0;x\x07", "{}", "null", "NaN", "-0", "1e999",
    "'; DROP TABLE result;--", "=cmd|' /C calc'!A0", "\r\n\r\n", "\ufeff", "//", "@", ":", "://", "?a=b&a=c", "#",
    "<script>", "a" * 300,
)  # fmt: skip
_INTEGERS = (
    0,
    -1,
    1,
    2,
    7,
    255,
    256,
    65535,
    65536,
    2**31 - 1,
    2**31,
    2**32,
    2**53 + 1,
    2**63 - 1,
    2**63,
    2**64,
    10**40,
)
_FLOATS = (0.0, -0.0, 1.0, -1.0, 0.5, 5e-324, 1e-300, 1e-9, 1e9, 1e300, 1.7976931348623157e308, -1e300)


def text(rng: random.Random, longest: int = 24, *, surrogates: bool = True) -> str:
    """Return a text, mostly short.

    Args:
        rng: Source of all choices.
        longest: Maximum length of most texts, in characters; a few are much longer.
        surrogates: Whether the text may hold halves of surrogate pairs, which UTF-8 cannot encode.
    """
    alphabets = _ALPHABETS if surrogates else _ALPHABETS[:-1]
    style = rng.random()
    if style < 0.55:
        return "".join(rng.choices(rng.choice(alphabets), k=rng.randint(0, longest)))
    if style < 0.8:
        count = len(_CHARACTERS) if surrogates else _WHOLE
        return "".join(
            rng.choices(_CHARACTERS[:count], cum_weights=_WEIGHTS[:count], k=rng.randint(0, longest))
        )  # of all alphabets equally
    if style < 0.98:
        return "".join(rng.choices(_PIECES, k=rng.randint(1, 3)))
    return rng.choice(rng.choice(alphabets)) * rng.choice((1000, 5000, 70_000))


def number(rng: random.Random) -> int | float:
    """Return a number from the edge of a type's range, or any."""
    style = rng.randrange(4)
    if style == 0:
        return rng.choice(_INTEGERS) * rng.choice((1, 1, -1))
    if style == 1:
        return rng.choice(_FLOATS)
    return rng.randint(-10, 1000) if style == 2 else rng.uniform(-2, 2)


def value(rng: random.Random, depth: int = 3) -> Any:
    """Return any JSON value."""
    style = rng.randrange(9 if depth else 6)
    if style == 6:
        return [value(rng, depth - 1) for _ in range(rng.randint(0, 4))]
    if style >= 7:
        return {text(rng, 8, surrogates=False): value(rng, depth - 1) for _ in range(rng.randint(0, 4))}
    simple = (None, rng.random() < 0.5, number(rng), number(rng), text(rng, surrogates=False), "")
    return simple[style]


def altered(rng: random.Random, whole: Any) -> Any:
    """Return a copy of a JSON value with one to three parts replaced, removed, added or repeated."""
    copy = json.loads(json.dumps(whole))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        _alter(rng, copy)
    return copy


def _alter(rng: random.Random, node: Any) -> None:
    """Change a random node."""
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            break
        key = rng.choice(keys)
        if not isinstance(node[key], dict | list) or not node[key] or rng.random() < 0.2:
            break
        node = node[key]
    style = rng.randrange(6)
    if not keys:
        if isinstance(node, list):
            node.append(value(rng))
    elif style == 0:
        del node[key]
    elif style == 1 and isinstance(node, list):
        node.extend(node[key : key + 1] * rng.choice((1, 3, 40)))
    elif style == 2 and isinstance(node, dict):
        node[text(rng, 12, surrogates=False)] = value(rng)
    elif style == 3 and isinstance(node[key], int | float) and not isinstance(node[key], bool):
        node[key] = number(rng)
    else:
        node[key] = value(rng)


def deep(rng: random.Random) -> bytes:
    """Return JSON whose nesting exceeds any stack."""
    levels = rng.choice((100, 1000, 100_000))
    opening, closing = rng.choice((("[", "]"), ('{"labels":', "}"), ('{"a":[', "]}"), ("[[1],", "]")))
    whole = rng.random() < 0.5
    return (opening * levels + "1" + (closing * levels if whole else "")).encode()
