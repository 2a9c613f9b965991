"""The run folder: training writes it, export reads it."""

import itertools
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from partsight.runtime.calibration import Tolerances
from partsight.runtime.core import RunError, sha256_bytes
from partsight.runtime.images import PreprocessSpec, Region, describe_mistake
from partsight.runtime.matching import BANK_FILE, decode_bank, encode_bank, prepare_all
from partsight.runtime.package import Gallery, decode_golden_image
from partsight.train.fit import Epoch
from partsight.train.interrupts import interrupts_kept
from partsight.train.records import Calibration, LookAlike, TuneRecord, VariedFrame

_log = logging.getLogger("partsight")

RECORD_NAME = "run.json"
MODEL_NAME = "model.keras"

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class TrainConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Options of a training.

    Attributes:
        backbone: Name of the backbone; see `backbones.find_backbone`.
        head: Kind of head, `cosine` or `dense`.
        weights: Weights of the backbone: `embedded`, `imagenet`, `none` or a file's path; None for its default.
        side_px: Height and width of the network's input, in pixels; None for the backbone's default.
        region: Region of golden images and frames that the network sees; None for all of it.
        seed: Seed of all random numbers.
        target_accuracy: Golden accuracy that stops the training of the head.
        max_epochs: Largest number of epochs without that accuracy.
        max_false_reject: Share of taught parts that the reject threshold may refuse.
        budget: `quick` trains the head alone; `full` fine-tunes the end of the backbone as well.
        cut: Layer after which the backbone is fine-tuned; None for one at three quarters of the network.
        copies: Number of varied copies of each golden image for fine-tuning.
        epochs: Largest number of epochs of fine-tuning.
        fresh_variation: Whether each epoch draws new copies; slower than cached activations, but needs no disk.
        max_cache_gb: Largest size of the cached activations, in GB of 10^9 bytes; it limits the copies.
    """

    backbone: str = "EfficientNetLite0"
    head: str = "cosine"
    weights: str | None = None
    side_px: Annotated[int, msgspec.Meta(ge=32, le=2048)] | None = None
    region: Region | None = None
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**32)] = 0
    target_accuracy: Share = 0.99
    max_epochs: Annotated[int, msgspec.Meta(ge=0)] = 60
    max_false_reject: Share = 0.01
    budget: Literal["quick", "full"] = "quick"
    cut: str | None = None
    copies: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 8
    epochs: Annotated[int, msgspec.Meta(ge=1)] = 12
    fresh_variation: bool = False
    max_cache_gb: Annotated[float, msgspec.Meta(gt=0)] = 4.0


class GoldenRecord(msgspec.Struct, frozen=True):
    """One golden image and the trained model's answer, which export compares with.

    Attributes:
        label: Name of the part.
        file: Path in the catalogue, with forward slashes.
        sha256: SHA-256 of the file.
        pixels_sha256: SHA-256 of the prepared pixels, (height, width, 3) uint8 BGR.
        predicted: Label that the trained model gives.
        score: Score of that label.
        margin: Lead over the next label's score.
        nearest: Next label.
    """

    label: str
    file: str
    sha256: str
    pixels_sha256: str
    predicted: str
    score: float
    margin: float
    nearest: str


class ReferenceRecord(msgspec.Struct, frozen=True):
    """A further reference of a part.

    Attributes:
        label: Name of the part.
        file: Path in the catalogue, with forward slashes.
        sha256: SHA-256 of the file.
    """

    label: str
    file: str
    sha256: str


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Record of a run; the class order is the order of `goldens`, and `further` holds the parts' further references.

    `history` holds the epochs of the head on frozen features. `tuning` holds the fine-tuning after it; None for quick
    runs. `varied` holds the answers of the calibration to varied golden images, `look_alikes` the parts that look most
    alike. In runs of partsight 0.1 these are empty, and `tolerances` and `gallery_sha256` are None.
    """

    schema_version: Literal[1, 2] = 2
    created: str
    config: TrainConfig
    backbone_weights: str
    preprocess: PreprocessSpec
    catalog: str
    catalog_sha256: str
    twins: tuple[tuple[str, str], ...]
    goldens: tuple[GoldenRecord, ...]
    further: tuple[ReferenceRecord, ...] = ()
    history: tuple[Epoch, ...]
    tuning: TuneRecord | None = None
    golden_accuracy: Share
    reached: bool
    outcome: str
    calibration: Calibration
    varied: tuple[VariedFrame, ...] = ()
    look_alikes: tuple[LookAlike, ...] = ()
    tolerances: Tolerances | None = None
    model_sha256: str
    gallery_sha256: str | None = None
    weights_sha256: str
    seconds: dict[str, float]
    versions: dict[str, str]

    @property
    def labels(self) -> tuple[str, ...]:
        """The parts' names, in the order of the classes."""
        return tuple(golden.label for golden in self.goldens)

    @property
    def class_of(self) -> tuple[int, ...]:
        """Class of each row of the bank: of each part its golden image, then its further references."""
        counts = Counter(reference.label for reference in self.further)
        return tuple(index for index, label in enumerate(self.labels) for _ in range(1 + counts[label]))


@dataclass(frozen=True)
class RunFolder:
    """A finished run on disk."""

    path: Path
    record: RunRecord

    @classmethod
    def read(cls, path: str | Path) -> "RunFolder":
        """Read a run's record.

        Raises:
            RunError: The folder holds no finished run, or its record is damaged.
        """
        path = Path(path)
        try:
            data = (path / RECORD_NAME).read_bytes()
        except OSError as error:
            found = describe_mistake(path, "run") or error
            raise RunError(
                f"{path}: no finished run ({found}); expected a folder that `partsight train` wrote"
            ) from error
        try:
            return cls(path, msgspec.json.decode(data, type=RunRecord))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise RunError(
                f"{path}: {RECORD_NAME} cannot be read ({error}); train again with this partsight"
            ) from error

    @interrupts_kept()
    def load_model(self) -> Any:
        """Return the stacked keras.Model, checked against the record.

        Raises:
            RunError: The file is not the one that training wrote, or cannot be read.
        """
        import partsight.train.layers  # noqa: F401, PLC0415 (registers the layers that the file names)
        from partsight.train.framework import keras, keras_settings  # noqa: PLC0415 (reading a record needs no Keras)

        path = self.path / MODEL_NAME
        try:
            found = sha256_bytes(path.read_bytes())
        except OSError as error:
            raise RunError(f"{path}: cannot be read ({error}); train again") from error
        if found != self.record.model_sha256:
            raise RunError(f"{path}: is not the model that this run wrote (SHA-256 {found[:12]}…); train again")
        try:
            with keras_settings():
                return keras.saving.load_model(path, compile=False)
        except Exception as error:  # several libraries read the file and raise errors of any type
            raise RunError(f"{path}: cannot be loaded ({error}); check the disk, then train again") from error

    def load_gallery(self) -> Gallery | None:
        """Return the references and the bank that training prepared; None for a run of partsight 0.1.

        A run of an earlier schema has the bank of an earlier comparison: its references are prepared again.

        Raises:
            RunError: A file is missing, or is not the one that training wrote.
        """
        class_of = self.record.class_of
        if self.record.gallery_sha256 is None:
            return None
        try:
            files = tuple((self.path / name).read_bytes() for name in reference_names(class_of))
            bank = (self.path / BANK_FILE).read_bytes()
        except OSError as error:
            raise RunError(f"{error.filename}: cannot be read ({error}); train again") from error
        if _gallery_sha256(files, bank) != self.record.gallery_sha256:
            raise RunError(f"{self.path}: {BANK_FILE} or the gallery is not the one that this run wrote; train again")
        if self.record.schema_version == 1:
            _log.warning(
                "%s: its threshold was found with an earlier comparison; train again to find it anew", self.path
            )
            decoded = (decode_golden_image(data, str(self.path)) for data in files)
            return Gallery(files, prepare_all(decoded, class_of))
        size_hw = self.record.calibration.matching.size_hw
        return Gallery(files, decode_bank(bank, len(self.record.labels), size_hw, str(self.path / BANK_FILE)))


def reference_names(class_of: Sequence[int]) -> tuple[str, ...]:
    """Return the names of the gallery's files, in a run folder and in a package.

    A golden image has the number of its class. Further references have the numbers after them.

    Args:
        class_of: Class of each reference, rising; of each class the golden image first.
    """
    numbers = itertools.count(class_of[-1] + 1)
    is_golden = [row == 0 or class_of[row - 1] != index for row, index in enumerate(class_of)]
    named = [index if first else next(numbers) for index, first in zip(class_of, is_golden, strict=True)]
    return tuple(f"gallery/{number:05d}.jpg" for number in named)


def write_gallery(folder: Path, gallery: Gallery) -> str:
    """Write references and bank into a run folder; return their SHA-256."""
    bank = encode_bank(gallery.records)
    (folder / "gallery").mkdir()
    for name, data in zip(reference_names(gallery.records["class"].tolist()), gallery.files, strict=True):
        (folder / name).write_bytes(data)
    (folder / BANK_FILE).write_bytes(bank)
    return _gallery_sha256(gallery.files, bank)


def _gallery_sha256(files: Sequence[bytes], bank: bytes) -> str:
    return sha256_bytes("".join(map(sha256_bytes, (*files, bank))).encode())
