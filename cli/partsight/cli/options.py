"""What several options of the command are parsed by."""

import argparse
import math


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
