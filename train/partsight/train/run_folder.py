"""The run folder: what training leaves, and what export reads."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from partsight.runtime.core import RunError, sha256_bytes
from partsight.runtime.images import PreprocessSpec, Region, describe_mistake
from partsight.train.fit import Epoch
from partsight.train.interrupts import interrupts_kept
from partsight.train.reject_record import Calibration
from partsight.train.tune_record import TuneRecord

RECORD_NAME = "run.json"
MODEL_NAME = "model.keras"

Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class TrainConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a person decides about training.

    Attributes:
        backbone: see `backbones.find_backbone`.
        head: `cosine` or `dense`.
        weights: `embedded`, `imagenet`, `none` or a file's path; None for the backbone's default.
        side_px: height and width of the network's input; None for the backbone's default.
        region: of the golden images and of every frame, that the network sees; None for all of it.
        seed: of everything that is drawn at random.
        target_accuracy: golden accuracy at which training of the head stops.
        max_epochs: after which it stops without.
        max_false_reject: share of taught parts that the reject threshold may refuse.
        budget: `quick` trains the head alone; `full` fine-tunes the end of the backbone as well.
        cut: layer after which the backbone is fine-tuned; None for one at three quarters of the network.
        copies: varied copies of each golden image to fine-tune on.
        epochs: of fine-tuning, at most.
        fresh_variation: draw new copies for each epoch instead of caching activations: slower, and no disk.
        max_cache_gb: largest size of the cached activations, in GB of 10^9 bytes; fewer copies are made to keep it.
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
    """One golden image, and what the trained model said of it: the reference for export.

    Attributes:
        label: the part's name.
        file: its path in the catalogue, with forward slashes.
        sha256: of the file.
        pixels_sha256: of the prepared pixels, (height, width, 3) uint8 BGR.
        predicted: the label that the trained model gave.
        score: of that label.
        margin: to the next label's score.
        nearest: that next label.
    """

    label: str
    file: str
    sha256: str
    pixels_sha256: str
    predicted: str
    score: float
    margin: float
    nearest: str


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a run says of itself; the class order is the order of `goldens`.

    `history` is that of the head on frozen features, `tuning` that of the fine-tuning after it; None for quick runs.
    """

    schema_version: Literal[1] = 1
    created: str
    config: TrainConfig
    backbone_weights: str
    preprocess: PreprocessSpec
    catalog: str
    catalog_sha256: str
    twins: tuple[tuple[str, str], ...]
    goldens: tuple[GoldenRecord, ...]
    history: tuple[Epoch, ...]
    tuning: TuneRecord | None = None
    golden_accuracy: Share
    reached: bool
    outcome: str
    calibration: Calibration
    model_sha256: str
    weights_sha256: str
    seconds: dict[str, float]
    versions: dict[str, str]

    @property
    def labels(self) -> tuple[str, ...]:
        """The parts' names, in the order of the classes."""
        return tuple(golden.label for golden in self.goldens)


@dataclass(frozen=True)
class RunFolder:
    """A finished run on disk."""

    path: Path
    record: RunRecord

    @classmethod
    def read(cls, path: str | Path) -> "RunFolder":
        """Read a run's record.

        Raises:
            RunError: there is no run, or it is damaged.
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
            RunError: the file is not the one that training wrote, or cannot be read.
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
        except Exception as error:  # of any kind: it goes over several libraries, and reads the file again
            raise RunError(f"{path}: cannot be loaded ({error}); is the disk sound? If so, train again") from error
