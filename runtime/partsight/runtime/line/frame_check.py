"""The frame check: whether a camera sends frames that its package can answer as the golden images were taken."""

import logging
import math
from collections.abc import Callable

from partsight.runtime.core import FrameError, PackageError
from partsight.runtime.images import PreprocessSpec, check_size
from partsight.runtime.recognition import Recognizer
from partsight.runtime.sinks import FrameEvent

MAX_STRETCH = 0.03
"""Difference of the ratio of width to height, as a share, that no one has to know of."""

_log = logging.getLogger("partsight.line")


def describe_stretch(size_hw: tuple[int, ...], spec: PreprocessSpec) -> str:
    """Say that preprocessing stretches a frame in another way than the golden images.

    Args:
        size_hw: Height and width of the frame, in pixels.
        spec: Preprocessing of the package.

    Returns:
        Empty where it does not, where a region is cropped, or where the size of the golden images is not known.
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
    """Listens to a line, and logs once for each camera and package that frames are stretched or cannot be answered."""

    def __init__(self, recognizer: Callable[[], Recognizer]) -> None:
        """Take what returns the recogniser that answers now."""
        self._recognizer = recognizer
        self._sizes_hw: dict[str, tuple[int, ...]] = {}  # of each camera's last frame
        self._logged: set[tuple[str, str, str]] = set()

    def __call__(self, told: FrameEvent) -> None:
        """Look at one result; called by the line's thread."""
        if told.frame is None:  # there was none: its record says why
            return
        recognizer, record = self._recognizer(), told.record
        size_hw = self._sizes_hw[record.camera] = told.frame.image.shape[:2]
        if record.outcome == "failed":
            text = f"a frame cannot be answered: {record.error}; the records of others say so, and the log no more"
            self._log("frame_refused", record.camera, recognizer.package_id, text)
        elif text := describe_stretch(size_hw, recognizer.manifest.preprocess):
            self._log("frame_stretched", record.camera, recognizer.package_id, text)

    def check_package(self, new: Recognizer) -> None:
        """Compare a package with the frames that came last.

        Raises:
            PackageError: it could answer no camera's frames.
        """
        fault, fits = None, False
        for camera, size_hw in list(self._sizes_hw.items()):
            try:
                check_size(size_hw, new.manifest.preprocess)
                fits = True
            except FrameError as error:
                fault = PackageError(f"package {new.package_id}: it cannot answer frames of camera {camera}: {error}")
        if fault and not fits:
            raise fault

    def _log(self, event: str, camera: str, package: str, text: str) -> None:
        if (event, camera, package) not in self._logged:
            self._logged.add((event, camera, package))
            extra = {"event": event, "camera": camera, "package": package}
            _log.warning("camera %s: %s", camera, text, extra=extra)
