"""Arguments of another kind than expected, which would else fail later and elsewhere."""

import os
from reprlib import repr as shortened

import numpy as np


def is_number(value: object) -> bool:
    """Return whether this is a number, of Python or of NumPy; a text is none."""
    return isinstance(value, int | float | np.number)


def check_positive(name: str, value: object) -> None:
    """Refuse what is no whole number of at least 1.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} is {value!r}; expected a whole number of at least 1")


def check_path(package: object) -> None:
    """Refuse what names no package, such as a variable of the environment that is not set.

    Raises:
        TypeError: it is no path, or an empty one, which would be the working folder.
    """
    if not isinstance(package, str | os.PathLike) or not os.fspath(package):
        raise TypeError(f"package is {shortened(package)}; expected the path of a folder that `partsight export` wrote")


def check_recognizer(given: object) -> None:
    """Refuse an object that can answer nothing: for an object that takes it over and needs it later.

    Whatever has a recogniser's methods is one: people wrap it to log or to time its calls.

    Raises:
        TypeError: it is no recogniser.
        PartsightError: it is closed, or was made in another process.
    """
    if isinstance(given, type) or not hasattr(given, "check_open"):
        raise TypeError(
            f"the recogniser is {shortened(given)}; expected Recognizer(PACKAGE), or an object with its methods"
        )
    given.check_open()
