"""Every error that partsight raises on purpose.

PartsightError
├── DependencyError    an optional library is not installed
├── ImageError         an image file cannot be used
├── FrameError         an array is not a frame that this package can answer
├── CameraError        a camera cannot be opened or read
│   ├── CameraTimeoutError   no frame came in time; the camera may still send
│   ├── CameraLostError      the camera is gone, and has to be opened again
│   └── PartialFrameError    a frame came incomplete; the next one may be whole
├── CatalogError       a folder of golden images cannot be learned from
├── TrainingError      training cannot go on
├── RunError           a run folder cannot be read
├── ExportError        a model cannot be converted
│   └── ParityError    the converted model answers differently from Keras'
├── EnrollError        parts cannot be added to a package, replaced or removed as asked
├── PackageError       a model package is damaged, altered or not one
│   └── SignatureError  it is not signed by a key that is trusted
├── KeyFileError       a key to sign or to check packages with cannot be used
├── ProviderError      the execution provider that was asked for cannot be had, or cannot run the model
├── OutputError        a result cannot be written where it was asked for
├── MetricsError       metrics cannot be served where it was asked for
└── SinkError          a sink cannot be opened, or cannot take a result now
    ├── ResultRefusedError   this result it will never take; the next it may
    └── SinkGoneError        it will take nothing any more

A message says what was received, what was expected and how to mend it.
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
    """The camera is gone, and has to be opened again."""


class PartialFrameError(CameraError):
    """A frame came incomplete; the next one may be whole."""


class CatalogError(PartsightError):
    """A folder of golden images cannot be learned from."""


class TrainingError(PartsightError):
    """Training cannot go on."""


class RunError(PartsightError):
    """A run folder cannot be read."""


class ExportError(PartsightError):
    """A model cannot be converted."""


class ParityError(ExportError):
    """The converted model answers differently from Keras'."""


class EnrollError(PartsightError):
    """Parts cannot be added to a package, replaced or removed as asked."""


class PackageError(PartsightError):
    """A model package is damaged, altered or not one."""


class SignatureError(PackageError):
    """A model package is not signed by a key that is trusted."""


class KeyFileError(PartsightError):
    """A key to sign or to check packages with cannot be used."""


class ProviderError(PartsightError):
    """The execution provider that was asked for cannot be had, or cannot run the model."""


class OutputError(PartsightError):
    """A result cannot be written where it was asked for."""


class MetricsError(PartsightError):
    """Metrics cannot be served where it was asked for."""


class SinkError(PartsightError):
    """A sink cannot be opened, or cannot take a result now."""


class ResultRefusedError(SinkError):
    """A sink will never take this result; the next it may."""


class SinkGoneError(SinkError):
    """A sink will take nothing any more."""
