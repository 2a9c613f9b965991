"""Keeps TensorFlow's remarks about itself off the terminal."""

import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import IO


def quiet_tensorflow() -> None:
    """Import TensorFlow without its remarks, unless the user has set its own variable TF_CPP_MIN_LOG_LEVEL.

    Its C++ side writes to the process's standard error before any setting is read, so that is held back while it is
    imported. Errors that matter are raised as exceptions, and then what was held back is shown as well.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # it calls a missing GPU, and attributes it does not know, errors
    sys.stderr.flush()
    kept = os.dup(2)
    held_back = _held_back()
    os.dup2(held_back.fileno(), 2)
    try:
        import partsight.train.framework  # noqa: F401
    except ImportError:
        held_back.seek(0)
        os.write(kept, held_back.read())
        raise
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        with contextlib.suppress(OSError):  # nobody reads it any more
            held_back.close()


def _held_back() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except OSError:  # whoever needs the folder for temporary files says what is wrong with it
        return Path(os.devnull).open("r+b")
