"""Recognition of parts on the line with NumPy, OpenCV and ONNX Runtime; it never imports TensorFlow.

Example:
    >>> from partsight.runtime import Recognizer
    >>> with Recognizer("line3.partsight") as recognizer:
    ...     part = recognizer.recognize(frame)
"""

from partsight.runtime import moved as _moved
from partsight.runtime.core.arrays import Pixels
from partsight.runtime.core.deprecation import warn_renamed as _warn_renamed
from partsight.runtime.core.errors import (
    CameraError,
    CameraLostError,
    CameraTimeoutError,
    DependencyError,
    FrameError,
    ImageError,
    KeyFileError,
    PackageError,
    PartialFrameError,
    PartsightError,
    ProviderError,
    ResultRefusedError,
    SignatureError,
    SinkError,
    SinkGoneError,
)
from partsight.runtime.images.image_file import read_image
from partsight.runtime.inference.settings import EngineSettings, GpuSettings
from partsight.runtime.package.package import ModelPackage
from partsight.runtime.recognition.micro_batcher import MicroBatcher
from partsight.runtime.recognition.pipeline import StartedBatch
from partsight.runtime.recognition.recognizer import Recognizer
from partsight.runtime.recognition.results import Answer, Result, ScoredLabel, Stages

__all__ = [
    "Answer",
    "CameraError",
    "CameraLostError",
    "CameraTimeoutError",
    "DependencyError",
    "EngineSettings",
    "FrameError",
    "GpuSettings",
    "ImageError",
    "KeyFileError",
    "MicroBatcher",
    "ModelPackage",
    "PackageError",
    "PartialFrameError",
    "PartsightError",
    "Pixels",
    "ProviderError",
    "Recognizer",
    "Result",
    "ResultRefusedError",
    "ScoredLabel",
    "SignatureError",
    "SinkError",
    "SinkGoneError",
    "Stages",
    "StartedBatch",
    "read_image",
]

_moved.keep_old_paths()  # last: the rooms above are imported


def __getattr__(name: str) -> object:
    if name == "Started":
        _warn_renamed("partsight.runtime.Started", "partsight.runtime.StartedBatch")
        return StartedBatch
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
