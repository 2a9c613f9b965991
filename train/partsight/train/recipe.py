"""The recipe of fine-tuning: variation, optimiser and loss."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from partsight.runtime.calibration import Variation
from partsight.train.framework import keras, ops
from partsight.train.heads import COSINE_SHARPNESS, Head

TRAINED_VARIATION = Variation(
    rotation_deg=4.5,
    shift_percent=4.5,
    scale_percent=0.5,
    tilt_deg=1.5,
    exposure_percent=12.0,
    key_light_percent=15.0,
    white_balance_percent=3.0,
    blur_px=1.0,
    noise_levels=3.5,
    jpeg_quality=85,
)
"""Variation of the copies: 1.5 times a line's, so that hardly any frame exceeds the trained range. Parallax and key
light stay at 1.0 times."""


@dataclass(frozen=True)
class Recipe:
    """Settings for the training of the layers after the cut.

    Attributes:
        batch: Number of images in a step.
        learning_rate: Highest learning rate of AdamW.
        warmup_share: Share of all steps in which the learning rate rises from 0. Then it falls along a cosine.
        weight_decay: Weight decay of AdamW.
        margin: Amount that the loss subtracts from the right part's cosine. So the network must separate the parts by
            more than this amount (CosFace, arXiv 1801.09414).
        sharpness: Factor for cosines before the softmax of the loss.
        average: Share of the running average of weights that a step keeps; 0 for no average (arXiv 1803.05407).
        imprints: Number of times an epoch that a cosine head's prototypes become the golden images' new embeddings.
        patience: Number of epochs without a better held-out accuracy after which training stops.
        tolerance: Amount by which golden accuracy may fall below stage 1's.
        variation: Variation of the copies.
    """

    batch: int = 64
    learning_rate: float = 5e-4
    warmup_share: float = 0.1
    weight_decay: float = 1e-4
    margin: float = 0.0
    sharpness: float = COSINE_SHARPNESS
    average: float = 0.99
    imprints: int = 4
    patience: int = 5
    tolerance: float = 0.001
    variation: Variation = TRAINED_VARIATION

    @classmethod
    def of(cls, head: Head) -> "Recipe":
        """Return the default for a head. A dense head trains too, and needs a lower rate to protect the backbone."""
        return cls() if head.score == "cosine" else cls(learning_rate=5e-5)

    def optimizer(self, steps: int) -> Any:
        """Return AdamW for a training of `steps` steps; it keeps the running average of weights."""
        warmup = max(1, round(self.warmup_share * steps))
        schedule = keras.optimizers.schedules.CosineDecay(
            0.0, max(1, steps - warmup), warmup_target=self.learning_rate, warmup_steps=warmup
        )
        return keras.optimizers.AdamW(
            schedule,
            weight_decay=self.weight_decay,
            use_ema=self.average > 0,
            ema_momentum=self.average,
        )

    def loss(self, head: Head) -> Callable[[Any, Any], Any]:
        """Return the loss, a function of class indices, (batch,), and scores, (batch, classes)."""
        if head.score != "cosine":
            return head.loss

        def cosine_loss(labels: Any, score: Any) -> Any:
            right = ops.one_hot(ops.cast(ops.reshape(labels, (-1,)), "int32"), score.shape[-1])
            logits = self.sharpness * (score - self.margin * right)
            return keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)

        return cosine_loss
