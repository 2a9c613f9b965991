"""Recognition of parts on the line with NumPy, OpenCV and ONNX Runtime; it never imports TensorFlow.

Example:
    >>> from partsight.runtime import Recognizer
    >>> with Recognizer("line3.partsight") as recognizer:
    ...     part = recognizer.recognize(frame)
"""

from partsight.runtime import moved as _moved
from partsight.runtime.core import (
    CameraError,
    CameraLostError,
    CameraTimeoutError,
    CatalogError,
    CommissionError,
    DependencyError,
    EnrollError,
    ExportError,
    FeedbackError,
    FrameError,
    ImageError,
    KeyFileError,
    MetricsError,
    OutputError,
    PackageError,
    PageError,
    ParityError,
    PartialFrameError,
    PartsightError,
    Pixels,
    ProviderError,
    RemoteError,
    ResultRefusedError,
    RunError,
    SignatureError,
    SinkError,
    SinkGoneError,
    TrainingError,
)
from partsight.runtime.core import warn_renamed as _warn_renamed
from partsight.runtime.images import read_image
from partsight.runtime.inference import EngineSettings, GpuSettings
from partsight.runtime.matching import Overlay, Spot
from partsight.runtime.package import ModelPackage
from partsight.runtime.recognition import (
    Answer,
    Explanation,
    MicroBatcher,
    PartPose,
    Recognizer,
    Result,
    ScoredLabel,
    Stages,
    StartedBatch,
    draw_explanation,
)

__all__ = [
    "Answer",
    "CameraError",
    "CameraLostError",
    "CameraTimeoutError",
    "CatalogError",
    "CommissionError",
    "DependencyError",
    "EngineSettings",
    "EnrollError",
    "Explanation",
    "ExportError",
    "FeedbackError",
    "FrameError",
    "GpuSettings",
    "ImageError",
    "KeyFileError",
    "MetricsError",
    "MicroBatcher",
    "ModelPackage",
    "OutputError",
    "Overlay",
    "PackageError",
    "PageError",
    "ParityError",
    "PartPose",
    "PartialFrameError",
    "PartsightError",
    "Pixels",
    "ProviderError",
    "Recognizer",
    "RemoteError",
    "Result",
    "ResultRefusedError",
    "RunError",
    "ScoredLabel",
    "SignatureError",
    "SinkError",
    "SinkGoneError",
    "Spot",
    "Stages",
    "StartedBatch",
    "TrainingError",
    "draw_explanation",
    "read_image",
]

_moved.keep_old_paths()  # last: the rooms above are imported


def __getattr__(name: str) -> object:
    if name == "Started":
        _warn_renamed("partsight.runtime.Started", "partsight.runtime.StartedBatch")
        return StartedBatch
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
