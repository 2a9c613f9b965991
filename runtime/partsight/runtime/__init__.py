"""The line: NumPy, OpenCV and ONNX Runtime, nothing heavier.

Example:
    >>> from partsight.runtime import Recognizer
    >>> with Recognizer("line3.partsight") as recognizer:
    ...     part = recognizer.recognize(frame)
"""

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
from partsight.runtime.inference.engine import GpuSettings
from partsight.runtime.package.package import ModelPackage
from partsight.runtime.recognition.decision import Answer
from partsight.runtime.recognition.micro_batcher import MicroBatcher
from partsight.runtime.recognition.recognizer import Recognizer
from partsight.runtime.recognition.results import Result, Stages, Started

__all__ = [
    "Answer",
    "CameraError",
    "CameraLostError",
    "CameraTimeoutError",
    "DependencyError",
    "FrameError",
    "GpuSettings",
    "ImageError",
    "KeyFileError",
    "MicroBatcher",
    "ModelPackage",
    "PackageError",
    "PartialFrameError",
    "PartsightError",
    "ProviderError",
    "Recognizer",
    "Result",
    "ResultRefusedError",
    "SignatureError",
    "SinkError",
    "SinkGoneError",
    "Stages",
    "Started",
    "read_image",
]
