"""Memory: what was freed returns to the system."""

import contextlib
import ctypes
import sys


def give_back_freed() -> None:
    """Return what was freed and is still held: after a model is loaded, about as much as the model.

    On Linux glibc keeps it for later, which never comes on a line; elsewhere this does nothing.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)
