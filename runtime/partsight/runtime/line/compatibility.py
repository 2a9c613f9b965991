"""Compatibility: whether package, sinks, cameras and their frames fit each other."""

import io
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from reprlib import repr as shortened

from partsight.runtime.core import FrameError, PackageError, SignatureError, check_recognizer
from partsight.runtime.images import PreprocessSpec, check_size
from partsight.runtime.recognition import Recognizer
from partsight.runtime.signing import PublicKey
from partsight.runtime.sinks import CheckLine, FrameEvent, Sink

MAX_STRETCH = 0.03
"""Difference of two ratios of width to height, as a share, up to which the log says nothing."""

_log = logging.getLogger("partsight.line")


def check_parts(recognizers: Sequence[object], cameras: object, sinks: object, on_result: object) -> None:
    """Refuse arguments that would only fail in a thread, once for each frame.

    Raises:
        TypeError: an argument is of another kind.
        ValueError: there is no camera, or no recogniser.
        PartsightError: a recogniser is closed, or another process made it.
    """
    if not recognizers:
        raise ValueError("the line has no recogniser; expected Recognizer(PACKAGE), or a list of them")
    for recognizer in recognizers:
        check_recognizer(recognizer)
    for name, opener in _by_name("cameras", cameras, "lambda: open_camera(ADDRESS)").items():
        if not callable(opener):
            raise TypeError(
                f"camera {name!r} is {shortened(opener)}; expected a function: lambda: open_camera(ADDRESS)"
            )
    if not cameras:
        raise ValueError("the line has no camera; expected at least one")
    for name, sink in _by_name("sinks", sinks, "open_sink(ADDRESS)").items():
        if isinstance(sink, type | io.IOBase) or not hasattr(sink, "write"):  # a file takes text, and no results
            raise TypeError(f"sink {name!r} is {shortened(sink)}; expected open_sink(ADDRESS)")
    if on_result is not None and not callable(on_result):
        raise TypeError(f"on_result is {shortened(on_result)}; expected a function that takes a result")


def _by_name(name: str, parts: object, example: str) -> Mapping[str, object]:
    if not isinstance(parts, Mapping) or not all(isinstance(key, str) for key in parts):
        raise TypeError(f"{name} is {shortened(parts)}; expected a dictionary by name: {{'NAME': {example}}}")
    return parts


def describe_difference(recognizers: Sequence[Recognizer]) -> str:
    """Describe why recognisers would answer the same frame in another way.

    Returns:
        A sentence; empty if all have the same package, threshold and labels.
    """
    first = recognizers[0]
    for other in recognizers[1:]:
        for name in ("package_id", "threshold", "labels"):
            values = getattr(first, name), getattr(other, name)
            if values[0] != values[1]:
                return (
                    f"the recognisers of one line have the {name} {shortened(values[0])} and {shortened(values[1])}; "
                    "expected the same: load all from one package, with the same options except for the device"
                )
    return ""


def check_sinks(recognizer: Recognizer, sinks: Mapping[str, Sink], cameras: Iterable[str]) -> None:
    """Log once how each sink's settings differ from the package's labels and the names of cameras.

    Raises:
        SinkError: a sink would be of no use on this line, see `Sink`.
    """
    names = tuple(cameras)
    for name, sink in sinks.items():
        check: CheckLine | None = getattr(sink, "check_line", None)
        for difference in check(recognizer.labels, names) if check else ():
            _log.warning("sink %s: %s", name, difference, extra={"event": "sink_differs", "sink": name})


def check_swap(before: Recognizer, new: Recognizer, trusted: Sequence[PublicKey] | None) -> None:
    """Compare a package with the one that it is to replace.

    Raises:
        SignatureError: none of the line's trusted keys signed it.
        PackageError: one of them was trained on colour images and the other on grey ones.
    """
    if trusted is not None and {key.key_id for key in trusted}.isdisjoint(new.signed_by):
        raise SignatureError(
            f"package {new.package_id} was loaded without the line's trusted keys; load it with "
            "Recognizer(..., trusted_keys=...) of the same keys"
        )
    color_before, color = before.manifest.preprocess.color, new.manifest.preprocess.color
    if color_before != color:
        raise PackageError(
            f"package {new.package_id} was trained on {color} images and the line's cameras send {color_before}; stop "
            "the line to change the cameras, or train again on images as they send them"
        )


def describe_stretch(size_hw: tuple[int, ...], spec: PreprocessSpec) -> str:
    """Describe how preprocessing stretches a frame in another way than the golden images.

    Args:
        size_hw: Height and width of the frame, in pixels.
        spec: Preprocessing of the package.

    Returns:
        A sentence. Empty where both are stretched alike, where preprocessing crops a region, or where the size of the
        golden images is not known.
    """
    if spec.region is not None or spec.golden_hw is None:
        return ""
    height, width = size_hw
    golden_height, golden_width = spec.golden_hw
    stretch = width * golden_height / (height * golden_width)
    if abs(math.log(stretch)) <= MAX_STRETCH:
        return ""
    return (
        f"its frames have {width}×{height} px and the golden images {golden_width}×{golden_height} px: parts look "
        f"{'narrower' if stretch > 1 else 'wider'} by {100 * (max(stretch, 1 / stretch) - 1):.0f} % than in the golden "
        "images; set the camera to their ratio of width to height, or train again on frames of the camera"
    )


class FrameCheck:
    """Listens to a line; logs once for each camera and package that frames are stretched or cannot be answered."""

    def __init__(self, recognizer: Callable[[], Recognizer]) -> None:
        """Take a function that returns the recogniser that answers now."""
        self._recognizer = recognizer
        self._sizes_hw: dict[str, tuple[int, ...]] = {}  # of each camera's last frame
        self._logged: set[tuple[str, str, str]] = set()

    def __call__(self, event: FrameEvent) -> None:
        """Check one frame; called by the line's publishing thread."""
        if event.frame is None:  # its record says why
            return
        recognizer, record = self._recognizer(), event.record
        size_hw = self._sizes_hw[record.camera] = event.frame.image.shape[:2]
        if record.outcome == "failed":
            text = f"a frame cannot be answered: {record.error}; the log says this once, the records each time"
            self._log("frame_refused", record.camera, recognizer.package_id, text)
        elif text := describe_stretch(size_hw, recognizer.manifest.preprocess):
            self._log("frame_stretched", record.camera, recognizer.package_id, text)

    def check_package(self, new: Recognizer) -> None:
        """Compare a package with the last frame of each camera.

        Raises:
            PackageError: it can answer no camera's frames.
        """
        fault, fits = None, False
        for camera, size_hw in list(self._sizes_hw.items()):
            try:
                check_size(size_hw, new.manifest.preprocess)
                fits = True
            except FrameError as error:
                fault = PackageError(f"package {new.package_id} cannot answer frames of camera {camera}: {error}")
        if fault and not fits:
            raise fault

    def _log(self, event: str, camera: str, package: str, text: str) -> None:
        if (event, camera, package) not in self._logged:
            self._logged.add((event, camera, package))
            extra = {"event": event, "camera": camera, "package": package}
            _log.warning("camera %s: %s", camera, text, extra=extra)
