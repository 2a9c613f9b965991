"""The Keras layers that are partsight's own. Importing this module lets Keras load a run's model."""

from collections.abc import Sequence
from typing import Any, Literal

from partsight.train.framework import keras, ops

_EPSILON = 1e-7
"""Keras' default, whatever a program that loads a run's model has set."""


@keras.saving.register_keras_serializable(package="partsight")
class FrameNormalization(keras.layers.Layer):
    """uint8 BGR frames to the input of the backbone's pre-training: channel order, mean, scale.

    It is part of the model, so that no caller can forget it; export folds it into the first convolution.

    Args:
        order: channel order of the backbone.
        mean: of each channel in the backbone's order, on the scale 0 to 255; subtracted first.
        scale: multiplied after it, one for each channel.
    """

    def __init__(
        self, order: Literal["rgb", "bgr"], mean: Sequence[float], scale: Sequence[float], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.order = order
        self.mean = tuple(float(value) for value in mean)
        self.scale = tuple(float(value) for value in scale)

    def call(self, frames: Any) -> Any:
        """Map (batch, height, width, 3) uint8 BGR to float32 in the backbone's order."""
        pixels = ops.cast(frames, "float32")
        if self.order == "rgb":
            pixels = ops.take(pixels, [2, 1, 0], axis=-1)
        return (pixels - ops.convert_to_tensor(self.mean)) * ops.convert_to_tensor(self.scale)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild the layer."""
        return {**super().get_config(), "order": self.order, "mean": self.mean, "scale": self.scale}


@keras.saving.register_keras_serializable(package="partsight")
class CenteredUnit(keras.layers.Layer):
    """Subtracts the catalogue's mean and scales to length 1.

    Centred and L2-normalised features make the nearest prototype a strong classifier from one image a class
    (SimpleShot, arXiv 1911.04623).
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the mean, which `heads` sets from the golden images."""
        self.center = self.add_weight(name="center", shape=(input_shape[-1],), initializer="zeros", trainable=False)

    def call(self, features: Any) -> Any:
        """Map (batch, d) to (batch, d) of length 1."""
        return ops.normalize(features - self.center, axis=-1, epsilon=_EPSILON)


@keras.saving.register_keras_serializable(package="partsight")
class CosineSimilarity(keras.layers.Layer):
    """Cosine between an embedding of length 1 and one prototype for each class.

    Args:
        classes: how many.
    """

    def __init__(self, classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.classes = classes

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the prototypes, one a column, which start as the golden images' own embeddings."""
        self.prototypes = self.add_weight(name="prototypes", shape=(input_shape[-1], self.classes))

    def call(self, embedding: Any) -> Any:
        """Map (batch, d) to (batch, classes) in [-1, 1]."""
        return ops.matmul(embedding, ops.normalize(self.prototypes, axis=0, epsilon=_EPSILON))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild the layer."""
        return {**super().get_config(), "classes": self.classes}
