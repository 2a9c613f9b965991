"""Checks of arguments whose wrong type would otherwise raise an obscure error later and elsewhere."""

import os
from reprlib import repr as shortened

import numpy as np


def is_number(value: object) -> bool:
    """Return whether a value is a number of Python or NumPy."""
    return isinstance(value, int | float | np.number)


def check_positive(name: str, value: object) -> None:
    """Refuse a value that is not a whole number of at least 1.

    Args:
        name: Name of the argument, for the message.
        value: Value that the caller passed.

    Raises:
        ValueError: the value is no such number.
    """
    if not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} is {value!r}; expected a whole number of at least 1")


def check_path(package: object) -> None:
    """Refuse a path of a package that is missing, as from an environment variable that is not set.

    Raises:
        TypeError: the value is not a path, or an empty one, which would mean the working folder.
    """
    if not isinstance(package, str | os.PathLike) or not os.fspath(package):
        raise TypeError(f"package is {shortened(package)}; expected the path of a folder that `partsight export` wrote")


def check_recognizer(given: object) -> None:
    """Refuse an object that is not an open recogniser, before another object stores it for later use.

    Any object with a recogniser's methods counts as one: people wrap it to log or to time its calls.

    Raises:
        TypeError: the object is not a recogniser.
        PartsightError: the recogniser is closed, or another process made it.
    """
    if isinstance(given, type) or not hasattr(given, "check_open"):
        raise TypeError(
            f"the recogniser is {shortened(given)}; expected Recognizer(PACKAGE), or an object with its methods"
        )
    given.check_open()
