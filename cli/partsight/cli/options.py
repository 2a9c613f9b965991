"""What several options of the command are parsed by, and the keys of a line's file beside them."""

import argparse
import math
import re
from collections.abc import Callable
from typing import TypeVar

PRECISIONS = ("fp32", "bf16", "fp16", "int8")
TRIGGERS = ("free", "hardware", "software")
LOG_FORMS = ("text", "json")

Value = TypeVar("Value")

_POLICY = re.compile(r"latest|(queue|block)(:[1-9][0-9]{0,8})?")


def region(text: str) -> tuple[int, int, int, int]:
    """Parse X,Y,WIDTH,HEIGHT."""
    numbers = text.split(",")
    if len(numbers) != 4 or not all(number.strip().isascii() and number.strip().isdigit() for number in numbers):
        raise argparse.ArgumentTypeError(f"received {text!r}; expected X,Y,WIDTH,HEIGHT in pixels")
    x, y, width, height = map(int, numbers)
    return x, y, width, height


def above_zero(text: str) -> float:
    """Parse a number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"received {text!r}; expected a number above 0")
    return number


def finite(text: str) -> float:
    """Parse a number."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"received {text!r}; expected a number")
    return number


def positive(text: str) -> int:
    """Parse a whole number of at least 1."""
    number = int(text) if text.isascii() and text.isdigit() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"received {text!r}; expected a whole number of at least 1")
    return number


def whole(text: str) -> int:
    """Parse a whole number of at least 0."""
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"received {text!r}; expected a whole number of at least 0")
    return int(text)


def policy(text: str) -> str:
    """Check the name of a policy, perhaps with its bound."""
    if not _POLICY.fullmatch(text):
        raise argparse.ArgumentTypeError(f"received {text!r}; expected latest, queue:N or block")
    return text


def of_camera(parse: Callable[[str], Value]) -> Callable[[str], tuple[str, Value]]:
    """Return what parses [NAME=]VALUE into the camera's name, empty for none, and the value."""

    def read(text: str) -> tuple[str, Value]:
        name, equals, value = text.rpartition("=")
        if equals and not name:
            raise argparse.ArgumentTypeError(f"received {text!r}; expected a camera's name before =")
        return name, parse(value)

    return read


def one_of(names: tuple[str, ...]) -> Callable[[str], str]:
    """Return what checks one of a few names."""

    def check(text: str) -> str:
        if text not in names:
            raise argparse.ArgumentTypeError(f"received {text!r}; expected one of {', '.join(names)}")
        return text

    return check
