"""partsight's own Keras layers. Import this module before Keras loads a run's model."""

from collections.abc import Sequence
from typing import Any, Literal

from partsight.train.framework import keras, ops

_EPSILON = 1e-7
"""Keras' default, fixed here because the program that loads a run's model may have changed it."""


@keras.saving.register_keras_serializable(package="partsight")
class FrameNormalization(keras.layers.Layer):
    """Converts uint8 BGR frames into the backbone's input: channel order, mean, scale.

    It is part of the model, so that no caller can forget it. Export folds it into the first convolution.

    Args:
        order: Channel order of the backbone.
        mean: Mean of each channel, in the backbone's order and in grey levels of 0 to 255.
        scale: Factor of each channel, for values after the subtraction of the mean.
    """

    def __init__(
        self, order: Literal["rgb", "bgr"], mean: Sequence[float], scale: Sequence[float], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.order = order
        self.mean = tuple(float(value) for value in mean)
        self.scale = tuple(float(value) for value in scale)

    def call(self, frames: Any) -> Any:
        """Map frames, (batch, height, width, 3) uint8 BGR, to float32 in the backbone's order."""
        pixels = ops.cast(frames, "float32")
        if self.order == "rgb":
            pixels = ops.take(pixels, [2, 1, 0], axis=-1)
        return (pixels - ops.convert_to_tensor(self.mean)) * ops.convert_to_tensor(self.scale)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild the layer."""
        return {**super().get_config(), "order": self.order, "mean": self.mean, "scale": self.scale}


@keras.saving.register_keras_serializable(package="partsight")
class CenteredUnit(keras.layers.Layer):
    """Subtracts the mean of the golden images' features and scales the result to length 1.

    With such features, the nearest prototype is a good classifier even with one image for each class (SimpleShot,
    arXiv 1911.04623).
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the mean, (d,); `heads` sets it from the golden images."""
        self.center = self.add_weight(name="center", shape=(input_shape[-1],), initializer="zeros", trainable=False)

    def call(self, features: Any) -> Any:
        """Map features, (batch, d), to embeddings of length 1, (batch, d)."""
        return ops.normalize(features - self.center, axis=-1, epsilon=_EPSILON)


@keras.saving.register_keras_serializable(package="partsight")
class CosineSimilarity(keras.layers.Layer):
    """Cosine between an embedding of length 1 and one prototype for each class.

    Args:
        classes: Number of classes.
    """

    def __init__(self, classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.classes = classes

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Create the prototypes, (d, classes); `heads` sets each column to a golden image's embedding."""
        self.prototypes = self.add_weight(name="prototypes", shape=(input_shape[-1], self.classes))

    def call(self, embedding: Any) -> Any:
        """Map embeddings, (batch, d), to cosines, (batch, classes), in [-1, 1]."""
        return ops.matmul(embedding, ops.normalize(self.prototypes, axis=0, epsilon=_EPSILON))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that rebuild the layer."""
        return {**super().get_config(), "classes": self.classes}
