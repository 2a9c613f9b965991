"""A backbone that is built and run in a moment, in place of every other."""

from typing import Any

import keras

from partsight.train import trainer
from partsight.train.backbones import Backbone, Normalization

_TINY = Normalization("rgb", (127.0,) * 3, (1 / 128,) * 3)


class TinyBackbone(Backbone):
    """Two blocks of a convolution, normalised."""

    def build(self, input_hw: tuple[int, int], weights: str) -> Any:  # noqa: ARG002
        """Build it with random weights."""
        x = frames = keras.Input((*input_hw, 3))
        for block in (1, 2):
            x = keras.layers.Conv2D(8, 3, strides=2, name=f"b{block}_conv")(x)
            x = keras.layers.BatchNormalization(name=f"b{block}_bn")(x)
            x = keras.layers.ReLU(name=f"b{block}_out")(x)
        return keras.Model(frames, x)

    def cuts(self, network: Any) -> tuple[str, ...]:  # noqa: ARG002
        """Return the end of the first block."""
        return ("b1_out",)


def find(name: str) -> Backbone:
    """Return it in place of the backbone of that name."""
    return TinyBackbone(name, _TINY, 32, "embedded")


def install() -> None:
    """Let training find only this backbone, and import the modules of export too."""
    import matplotlib.backends.backend_agg  # noqa: F401
    import onnxruntime.quantization  # noqa: F401
    import tf2onnx  # noqa: F401

    import partsight.export.exporter  # noqa: F401

    vars(trainer)["find_backbone"] = find
