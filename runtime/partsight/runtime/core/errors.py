"""Every error that partsight raises on purpose.

PartsightError
├── DependencyError    an optional library is not installed
├── ImageError         an image file cannot be used
├── FrameError         an array is not a frame that this package can answer
├── CameraError        a camera cannot be opened or read
│   ├── CameraTimeoutError   no frame came in time; the camera may still send
│   ├── CameraLostError      the camera is gone; open it again
│   └── PartialFrameError    a frame is incomplete; the next one may be whole
├── CatalogError       training cannot learn from a folder of golden images
├── TrainingError      training cannot go on
├── RunError           a run folder cannot be read
├── ExportError        a model cannot be converted
│   └── ParityError    the converted model and the Keras model answer differently
├── EnrollError        parts cannot be added, replaced or removed as requested
├── CommissionError    a package cannot be fitted to frames of a line
├── FeedbackError      a folder of kept frames cannot be read, or a decision is not possible
├── PackageError       a model package is damaged or altered, or a path is not a model package
│   └── SignatureError  no trusted key has signed a model package
├── KeyFileError       a key that signs or checks packages cannot be used
├── ProviderError      the requested execution provider is missing, or cannot run the model
├── RemoteError        a server does not answer, or answers wrongly
├── OutputError        a file or folder cannot be written
├── MetricsError       metrics cannot be served at the requested address
├── PageError          the operator's page cannot be served, or a request on it is not possible
└── SinkError          a sink cannot be opened, or cannot take a result now
    ├── ResultRefusedError   a sink never takes this result; it may take the next one
    └── SinkGoneError        a sink takes no result any more

A message names what partsight received, what it expected, and the remedy.
"""


class PartsightError(Exception):
    """Base of every error below."""


class DependencyError(PartsightError):
    """An optional library is not installed."""


class ImageError(PartsightError):
    """An image file cannot be used."""


class FrameError(PartsightError):
    """An array is not a frame that this package can answer."""


class CameraError(PartsightError):
    """A camera cannot be opened or read."""


class CameraTimeoutError(CameraError):
    """No frame came in time; the camera may still send."""


class CameraLostError(CameraError):
    """The camera is gone; open it again."""


class PartialFrameError(CameraError):
    """A frame is incomplete; the next one may be whole."""


class CatalogError(PartsightError):
    """Training cannot learn from a folder of golden images."""


class TrainingError(PartsightError):
    """Training cannot go on."""


class RunError(PartsightError):
    """A run folder cannot be read."""


class ExportError(PartsightError):
    """A model cannot be converted."""


class ParityError(ExportError):
    """The converted model and the Keras model answer differently."""


class EnrollError(PartsightError):
    """Parts cannot be added to a package, replaced or removed as requested."""


class CommissionError(PartsightError):
    """A package cannot be fitted to frames of a line."""


class PackageError(PartsightError):
    """A model package is damaged or altered, or a path is not a model package."""


class SignatureError(PackageError):
    """No trusted key has signed a model package."""


class KeyFileError(PartsightError):
    """A key that signs or checks packages cannot be used."""


class ProviderError(PartsightError):
    """The requested execution provider is missing, or cannot run the model."""


class RemoteError(PartsightError):
    """A server does not answer, or answers wrongly; it may answer the next frame."""


class OutputError(PartsightError):
    """A file or folder cannot be written."""


class MetricsError(PartsightError):
    """Metrics cannot be served at the requested address."""


class PageError(PartsightError):
    """The operator's page cannot be served, or a request on it is not possible."""


class FeedbackError(PartsightError):
    """A folder of kept frames cannot be read, or a decision about a frame is not possible."""


class SinkError(PartsightError):
    """A sink cannot be opened, or cannot take a result now."""


class ResultRefusedError(SinkError):
    """A sink never takes this result; it may take the next one."""


class SinkGoneError(SinkError):
    """A sink takes no result any more."""
