"""TensorFlow's import without its log messages on the terminal."""

import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import IO


def quiet_tensorflow() -> None:
    """Import TensorFlow without its log messages, unless the user has set TF_CPP_MIN_LOG_LEVEL.

    TensorFlow's C++ code writes to the standard error of the process before it reads any setting. So this function
    keeps standard error in a file during the import, and writes the file out only if the import fails.
    """
    if "TF_CPP_MIN_LOG_LEVEL" in os.environ:
        return
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # TensorFlow logs a missing GPU as an error
    sys.stderr.flush()
    kept = os.dup(2)
    captured = _captured()
    os.dup2(captured.fileno(), 2)
    try:
        import partsight.train.framework  # noqa: F401
    except ImportError:
        captured.seek(0)
        os.write(kept, captured.read())
        raise
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        with contextlib.suppress(OSError):  # the file is no longer needed
            captured.close()


def _captured() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except OSError:  # code that needs the temporary folder reports the error
        return Path(os.devnull).open("r+b")
