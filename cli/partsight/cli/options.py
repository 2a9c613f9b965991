"""Parsers of values that several options of the command share."""

import argparse
import math
import re
from collections.abc import Callable
from typing import TypeVar

PRECISIONS = ("fp32", "bf16", "fp16", "int8")
TRIGGERS = ("free", "hardware", "software")
LOG_FORMS = ("text", "json")
POLICY = r"latest|(queue|block)(:[1-9][0-9]{0,8})?"
"""Pattern of a policy's name, with its bound."""

Value = TypeVar("Value")


def region(text: str) -> tuple[int, int, int, int]:
    """Parse X,Y,WIDTH,HEIGHT in pixels."""
    numbers = text.split(",")
    if len(numbers) != 4 or not all(number.strip().isascii() and number.strip().isdigit() for number in numbers):
        raise argparse.ArgumentTypeError(
            f"received {text!r}; expected X,Y,WIDTH,HEIGHT in pixels, such as 320,128,640,640"
        )
    x, y, width, height = map(int, numbers)
    return x, y, width, height


def finite(text: str) -> float:
    """Parse a number."""
    number = _float(text)
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"received {text!r}; expected a number")
    return number


def above_zero(text: str) -> float:
    """Parse a number above 0."""
    number = _float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"received {text!r}; expected a number above 0")
    return number


def positive(text: str) -> int:
    """Parse a whole number of at least 1."""
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"received {text!r}; expected a whole number of at least 1")
    return number


def devices(text: str) -> tuple[int, ...]:
    """Parse N[,N...], numbers of devices."""
    numbers = text.split(",")
    if not all(number.strip().isascii() and number.strip().isdigit() for number in numbers):
        raise argparse.ArgumentTypeError(f"received {text!r}; expected whole numbers from 0 on, such as 0 or 0,1")
    return tuple(map(int, numbers))


def policy(text: str) -> str:
    """Check the name of a policy, with or without its bound."""
    if not re.fullmatch(POLICY, text):
        raise argparse.ArgumentTypeError(f"received {text!r}; expected latest, queue:N or block")
    return text


def of_camera(parse: Callable[[str], Value]) -> Callable[[str], tuple[str, Value]]:
    """Return a parser of [NAME=]VALUE, which gives the camera's name, or an empty one, and the value."""

    def read(text: str) -> tuple[str, Value]:
        name, equals, value = text.rpartition("=")
        if equals and not name:
            raise argparse.ArgumentTypeError(f"received {text!r}; expected the name of a camera before =")
        return name, parse(value)

    return read


def renamed(old: str, new: str) -> str:
    """Return a warning about the old name of an option or a key."""
    return f"{old} is now {new}; the old name works in this release only. Use {new}"


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
