"""Keeps TensorFlow's start-up remarks off the terminal."""

import os


def quiet_tensorflow() -> None:
    """Show errors only, unless the user has set TensorFlow's own variable; call before its first import."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
