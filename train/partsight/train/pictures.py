"""Pictures of the report: training writes them into the run folder, the reports of run and package show them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
from matplotlib import style
from matplotlib.figure import Figure

from partsight.runtime.calibration import Variation
from partsight.runtime.core import Picture, Pixels
from partsight.runtime.matching import MatchingSpec, compare_golden_images
from partsight.runtime.package import decode_golden_image
from partsight.runtime.recognition import draw_overlay
from partsight.train import plots
from partsight.train.look_alikes import Pair
from partsight.train.records import VariedFrame
from partsight.train.run_folder import RunRecord, reference_names

_FOLDER = "plots"
VARIATION, REJECT, TOLERANCE, CURVES, TUNING = (
    f"{_FOLDER}/{name}"
    for name in ("variation.jpg", "reject_curves.png", "tolerances.png", "curves.png", "tuning_curves.png")
)
_MIN_PAIRS = 3
_QUALITY = 85  # of JPEG, in percent
_RING = (200, 0, 200)  # blue, green and red, as in the pictures of `partsight explain`


@dataclass(frozen=True)
class ReportImages:
    """Images of the report.

    Attributes:
        goldens: Golden images, each (height, width, 3) or (height, width) uint8, in the order of `RunRecord.goldens`.
        failed: Varied frames without their own label, by their index in `RunRecord.varied`, each (height, width, 3)
            uint8 BGR.
        pairs: Look-alikes, in the order of `RunRecord.look_alikes`.
    """

    goldens: Sequence[Pixels]
    failed: dict[int, Pixels]
    pairs: tuple[Pair, ...]


@style.context("default")  # a user's matplotlibrc may name fonts or a LaTeX that the machine lacks
def write_pictures(folder: Path, record: RunRecord, images: ReportImages) -> None:
    """Write all pictures for which there are data into a run folder."""
    (folder / _FOLDER).mkdir()
    for name, figure in _figures(record).items():
        figure.savefig(folder / name, dpi=110)
    pictures = {VARIATION: plots.variation_samples(images.goldens, Variation(), record.config.seed)}
    for index, frame in images.failed.items():
        name = _golden_name(record.varied[index].part)
        golden = decode_golden_image((folder / name).read_bytes(), name)
        pictures[_failed_name(index)] = _laid(frame, golden, record.calibration.matching)
    for number, pair in enumerate(images.pairs[: _shown_pairs(record)]):
        first, second = (record.labels[part] for part in (pair.record.first, pair.record.second))
        pictures[pair_name(number)] = draw_overlay(pair.overlay, first, second)
    for name, image in pictures.items():
        encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
        (folder / name).write_bytes(encoded.tobytes())


def _figures(record: RunRecord) -> dict[str, Figure]:
    """Return the figures for which there are data, by file."""
    figures = {}
    if record.calibration.matched_decision.expected_false_accept is not None:
        figures[REJECT] = plots.reject_curves(record.calibration)
    if record.tolerances:
        figures[TOLERANCE] = plots.tolerance_curves(record.tolerances)
    if len(record.history) > 1:
        figures[CURVES] = plots.curves(record.history, record.config.target_accuracy)
    if record.tuning and len(record.tuning.history) > 1:
        figures[TUNING] = plots.tuning_curves(record.tuning)
    return figures


def _laid(frame: Pixels, golden: Pixels, spec: MatchingSpec) -> Pixels:
    """Return a frame in the coordinates and the light of a golden image, with a ring where they differ most."""
    overlay = compare_golden_images(golden, frame, spec)
    image, spot = overlay.laid.copy(), overlay.spot
    cv2.circle(image, (round(spot.x), round(spot.y)), max(9, round(spot.side)), _RING, 2, cv2.LINE_AA)
    return image


def _failed_name(index: int) -> str:
    return f"{_FOLDER}/failed_{index:04}.jpg"


def _shown_pairs(record: RunRecord) -> int:
    """Return how many of the look-alikes get a picture: those that come near the threshold, and a few in any case."""
    near = record.calibration.matched_decision.threshold / 2
    return max(_MIN_PAIRS, sum(pair.agreement >= near for pair in record.look_alikes))


def _golden_name(part: int) -> str:
    return reference_names(range(part + 1))[-1]


def pair_name(number: int) -> str:
    """Return the file of a pair of look-alikes."""
    return f"{_FOLDER}/pair_{number:02}.jpg"


@dataclass(frozen=True)
class RunPictures:
    """Pictures in a run folder; a run of an earlier partsight has fewer."""

    folder: Path

    def of(self, name: str, caption: str) -> tuple[Picture, ...]:
        """Return a picture, or nothing if there is none."""
        path = self.folder / name
        return (Picture.read(caption, path),) if path.exists() else ()

    def failed(self, index: int, frame: VariedFrame) -> tuple[Path, ...]:
        """Return the files of a failed frame between golden images; nothing if the run keeps no picture of it.

        Args:
            index: Index of the frame in `RunRecord.varied`.
            frame: Answer to it.
        """
        path = self.folder / _failed_name(index)
        if not path.exists():
            return ()
        others = (frame.best,) if frame.best != frame.part else ()
        return (self.folder / _golden_name(frame.part), path, *(self.folder / _golden_name(part) for part in others))
