"""Keras on TensorFlow: training and export import `keras` and `tf` from here, so that Keras has the right backend.

A user's keras.json and KERAS_BACKEND are for other projects and do not change partsight's results.
"""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from partsight.runtime.core import TrainingError

_BACKEND = "tensorflow"
_NOWHERE = os.path.join(os.devnull, "keras")  # noqa: PTH118 (it cannot exist, so Keras reads and writes no file)


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Set environment variables within the block, and hide all other variables of Keras."""
    before = {name: value for name, value in os.environ.items() if name.startswith("KERAS_")}
    for name in before:
        del os.environ[name]
    os.environ.update(values)
    try:
        yield
    finally:
        for name in values:
            os.environ.pop(name, None)
        os.environ.update(before)


def _import_keras() -> Any:
    """Import Keras with TensorFlow as its backend; if the program has imported Keras already, return that one."""
    if "keras" in sys.modules:
        import keras  # noqa: PLC0415

        return keras
    home = {"KERAS_HOME": os.environ["KERAS_HOME"]} if "KERAS_HOME" in os.environ else {}
    try:
        with _environment(KERAS_BACKEND=_BACKEND, **home):
            import keras  # noqa: PLC0415
    except (AttributeError, OSError, TypeError, ValueError):  # Keras cannot read keras.json, or refuses its values
        with _environment(KERAS_BACKEND=_BACKEND, KERAS_HOME=_NOWHERE):
            import keras  # noqa: PLC0415
    return keras


keras = _import_keras()

import tensorflow as tf  # noqa: E402 (it imports Keras itself, with the backend that the user's settings name)

ops = keras.ops

__all__ = ["keras", "keras_settings", "ops", "require_tensorflow", "tf"]


def require_tensorflow() -> None:
    """Check that Keras computes with TensorFlow in this program.

    Raises:
        TrainingError: The program has imported Keras with another backend.
    """
    if keras.config.backend() != _BACKEND:
        raise TrainingError(
            f"Keras runs on the backend {keras.config.backend()!r} in this program; expected {_BACKEND!r}: set "
            f"KERAS_BACKEND={_BACKEND} before the program imports Keras, or call partsight in a separate process"
        )


@contextmanager
def keras_settings() -> Iterator[None]:
    """Set Keras to its defaults within the block or function: float32, channels last, an epsilon of 1e-7.

    Afterwards it restores the program's settings. Within the block, the program's other threads see the defaults too.
    """
    config = keras.config
    before = (
        (config.set_floatx, config.floatx()),
        (config.set_epsilon, config.epsilon()),
        (config.set_image_data_format, config.image_data_format()),
        (config.set_dtype_policy, config.dtype_policy()),
        (config.set_max_epochs, config.max_epochs()),
        (config.set_max_steps_per_epoch, config.max_steps_per_epoch()),
    )
    for (change, _), value in zip(before, ("float32", 1e-7, "channels_last", "float32", None, None), strict=True):
        change(value)
    try:
        with warnings.catch_warnings():
            # Keras with NumPy 2 causes it. Callers cannot avoid it, and `python -W error` would end the program.
            warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
            yield
    finally:
        for change, value in before:
            change(value)
