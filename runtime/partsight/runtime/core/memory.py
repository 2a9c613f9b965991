"""Memory: freed memory returns to the operating system."""

import contextlib
import ctypes
import sys


def release_freed_memory() -> None:
    """Return freed memory to the operating system: after loading a model, about as much as the model's size.

    On Linux, glibc keeps freed memory for later allocations, which a running line never makes. On other systems this
    function does nothing.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # another C library
            ctypes.CDLL(None).malloc_trim(0)
