"""Records of calibration and fine-tuning, as parts of a run's record."""

from typing import Literal

import msgspec

from partsight.runtime.calibration import RejectCurve
from partsight.runtime.matching import MatchingSpec
from partsight.runtime.package import Decision, Share


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Thresholds below which a part counts as unknown, for the network alone and for the comparison.

    Attributes:
        decision: Decision on the network's score.
        curve: Errors by threshold on that score.
        matching: Comparison of frames with golden images.
        matched_decision: Decision on the agreement.
        matched_curve: Errors by threshold on the agreement.
        expected_right, expected_wrong: Shares of varied golden images that get their own label, or another's; the rest
            is unknown.
    """

    decision: Decision
    curve: RejectCurve
    matching: MatchingSpec
    matched_decision: Decision
    matched_curve: RejectCurve
    expected_right: Share
    expected_wrong: Share


class VariedFrame(msgspec.Struct, frozen=True):
    """Answer to a varied golden image; parts are indices of the labels.

    Attributes:
        part: Part that it shows.
        best: Part whose golden image agrees best.
        answer: Whether its label is that of the part, another, or none.
        agreement: Agreement with `best`, in [0, 1].
        margin: Lead over the agreement with the second part.
        other: Part other than `part` whose golden image agrees best.
        other_agreement: Agreement with it; 0 if there is no other part.
    """

    part: int
    best: int
    answer: Literal["right", "wrong", "unknown"]
    agreement: float
    margin: float
    other: int
    other_agreement: float


class LookAlike(msgspec.Struct, frozen=True):
    """Two parts whose golden images agree; parts are indices of the labels.

    Attributes:
        first, second: Parts; the golden image of `second` is laid over that of `first`.
        agreement: Agreement of the golden images, in [0, 1].
        where: Spot where they differ most, in words, such as "upper right".
        tolerances: Difference there, in multiples of the tolerance.
        distortion: Shear and stretch that lay one over the other, as a share; the agreement counts it, too.
    """

    first: int
    second: int
    agreement: float
    where: str
    tolerances: float
    distortion: float


class FreezeRow(msgspec.Struct, frozen=True):
    """One block of the network, from one possible cut to the next.

    Attributes:
        block: Name of its last layer.
        layers: Number of its layers.
        parameters: Number of its weights.
        trains: Whether its weights change in fine-tuning. BatchNormalization layers never change.
    """

    block: str
    layers: int
    parameters: int
    trains: bool


class TuneEpoch(msgspec.Struct, frozen=True):
    """One pass over the varied copies; epoch 0 is the state before the first step.

    Attributes:
        epoch: Number of the epoch.
        loss: Mean training loss; None for epoch 0.
        golden_accuracy: Share of unvaried golden images that the network recognises after the epoch.
        held_out_accuracy: Share that it recognises of the varied copies, one for each part, that never train.
        learning_rate: Learning rate of the last step.
        seconds: Duration in seconds.
    """

    epoch: int
    loss: float | None
    golden_accuracy: float
    held_out_accuracy: float
    learning_rate: float
    seconds: float


class TuneRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Course of a fine-tuning.

    Attributes:
        plan: Blocks in the order of the network.
        batch_norm_layers: Number of BatchNormalization layers that stayed in inference mode.
        cut: Layer whose output the training starts from.
        copies: Number of varied copies of each golden image; fewer than the configuration's if the cache is too small.
        history: All epochs, with the state before the first.
        floor: Golden accuracy below which training stops: stage 1's minus the tolerance.
        dropped: Whether golden accuracy fell below it.
        best_epoch: Epoch whose weights the run kept; 0 for stage 1.
        outcome: Why it stopped and which weights it kept, for a person.
    """

    plan: tuple[FreezeRow, ...]
    batch_norm_layers: int
    cut: str
    copies: int
    history: tuple[TuneEpoch, ...]
    floor: float
    dropped: bool
    best_epoch: int
    outcome: str
