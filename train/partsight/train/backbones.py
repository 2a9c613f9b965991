"""Backbones: networks that turn a frame into features, each with its own normalisation."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from partsight.runtime.core import TrainingError
from partsight.train.cuts import block_ends
from partsight.train.framework import keras
from partsight.train.lite0 import build_lite0


@dataclass(frozen=True)
class Normalization:
    """Input of a backbone's pre-training: (pixel - mean) * scale in its channel order, with pixels from 0 to 255."""

    order: Literal["rgb", "bgr"]
    mean: tuple[float, float, float]
    scale: tuple[float, float, float]


_MINUS_ONE_TO_ONE = Normalization("rgb", (127.5,) * 3, (1 / 127.5,) * 3)
_CAFFE = Normalization("bgr", (103.939, 116.779, 123.68), (1.0,) * 3)
_TORCH = Normalization(
    "rgb", (0.485 * 255, 0.456 * 255, 0.406 * 255), (1 / (0.229 * 255), 1 / (0.224 * 255), 1 / (0.225 * 255))
)
_IN_THE_MODEL = Normalization("rgb", (0.0,) * 3, (1.0,) * 3)
_LITE0 = Normalization("rgb", (127.0,) * 3, (1 / 128,) * 3)

# The key is the beginning of a keras.applications name; the longest key that fits a name counts.
_NORMALIZATION_BY_FAMILY: Mapping[str, Normalization] = {
    "DenseNet": _TORCH,
    "EfficientNet": _IN_THE_MODEL,
    "Inception": _MINUS_ONE_TO_ONE,
    "MobileNet": _MINUS_ONE_TO_ONE,
    "MobileNetV3": _IN_THE_MODEL,
    "NASNet": _MINUS_ONE_TO_ONE,
    "ResNet": _CAFFE,
    "ResNet50V2": _MINUS_ONE_TO_ONE,
    "ResNet101V2": _MINUS_ONE_TO_ONE,
    "ResNet152V2": _MINUS_ONE_TO_ONE,
    "VGG": _CAFFE,
    "Xception": _MINUS_ONE_TO_ONE,
}

# tf2onnx does not know their grouped convolutions, nor Erfc, the operation of their activation (GELU).
_CANNOT_BE_EXPORTED = ("ConvNeXt",)

# EfficientNetB0 to B7 scale each channel a second time, by 1/sqrt(deviation) (tensorflow/tensorflow#49930).
# Keras adds this layer only for weights="imagenet". The same weights from a file need it too, so partsight adds it.
# In Keras 3.15 no other family of keras.applications depends on its weights in this way.
_SCALED_TWICE = "EfficientNetB"
_SECOND_SCALE = tuple(1 / math.sqrt(deviation) for deviation in (0.229, 0.224, 0.225))

_DEFAULT_SIDE_PX = {"EfficientNetLite0": 224, "InceptionV3": 150, "VGG16": 150}


@dataclass(frozen=True)
class Backbone:
    """A network that turns a frame into features.

    Attributes:
        name: Name `EfficientNetLite0`, or the name of a keras.applications model.
        normalization: Normalisation of its input.
        side_px: Default height and width of its input, in pixels.
        default_weights: Name `embedded` for weights inside partsight, or `imagenet` for weights that Keras downloads.
    """

    name: str
    normalization: Normalization
    side_px: int
    default_weights: Literal["embedded", "imagenet"]

    def build(self, input_hw: tuple[int, int], weights: str) -> Any:
        """Build the network without its classifier; its layers do not depend on the weights.

        Args:
            input_hw: Height and width of the input, in pixels.
            weights: Name `embedded`, `imagenet` or `none` (random), or the path of a weights file.

        Returns:
            A keras.Model from (batch, height, width, 3) float32, normalised, to (batch, h, w, channels).

        Raises:
            TrainingError: The weights are missing or do not fit, or the input is too small.
        """
        _check_weights(self, weights)
        source = None if weights == "none" else weights
        try:
            if self.name == "EfficientNetLite0":
                return build_lite0(input_hw, source)
            return _build_of_keras(self.name, input_hw, source)
        except (ValueError, OSError) as error:
            raise TrainingError(
                f"{self.name} with weights {weights!r} and input {input_hw[0]}×{input_hw[1]}: {error}"
            ) from error
        except Exception as error:  # a failed download is a bare Exception, a damaged file raises any type
            if weights in ("none", "embedded") or isinstance(error, TrainingError):
                raise
            if weights != "imagenet":
                raise TrainingError(f"{self.name} with weights {weights!r}: not its weights ({error})") from error
            raise TrainingError(
                f"the ImageNet weights of {self.name} could not be downloaded ({error}). Without internet: fetch the "
                "'notop' weights file on another machine and pass its path as --weights, or use the default "
                "backbone EfficientNetLite0, whose weights come with partsight"
            ) from error

    def cuts(self, network: Any) -> tuple[str, ...]:
        """Return the last layer of each block, in order: fine-tuning may start after any of them."""
        return block_ends(self.name, network)


def find_backbone(name: str) -> Backbone:
    """Return the backbone called `name`.

    Raises:
        TrainingError: No backbone has that name, or tf2onnx cannot convert it.
    """
    if name == "EfficientNetLite0":
        return Backbone(name, _LITE0, _DEFAULT_SIDE_PX[name], "embedded")
    if name.startswith(_CANNOT_BE_EXPORTED):
        raise TrainingError(
            f"backbone {name!r} can be trained but not exported: tf2onnx does not know its operations "
            f"StatefulPartitionedCall and Erfc; expected one of {', '.join(backbone_names())}"
        )
    families = [family for family in _NORMALIZATION_BY_FAMILY if name.startswith(family)]
    if not families or not callable(getattr(keras.applications, name, None)):
        known = ", ".join(backbone_names())
        raise TrainingError(f"backbone {name!r} is not known; expected one of {known}")
    normalization = _NORMALIZATION_BY_FAMILY[max(families, key=len)]
    return Backbone(name, normalization, _DEFAULT_SIDE_PX.get(name, 224), "imagenet")


def backbone_names() -> list[str]:
    """Return every name that `find_backbone` knows, the embedded one first."""
    families = tuple(_NORMALIZATION_BY_FAMILY)
    names = (name for name in dir(keras.applications) if name.startswith(families))
    return ["EfficientNetLite0", *sorted(names)]


def _build_of_keras(name: str, input_hw: tuple[int, int], weights: str | None) -> Any:
    constructor, shape = getattr(keras.applications, name), (*input_hw, 3)
    if weights == "imagenet" or not name.startswith(_SCALED_TWICE):
        return constructor(include_top=False, weights=weights, input_shape=shape)
    plain = constructor(include_top=False, weights=None, input_shape=shape)
    network = keras.models.clone_model(plain, call_function=_call_and_scale)
    if weights is not None:
        network.load_weights(weights)
    return network


def _call_and_scale(layer: Any, *args: Any, **options: Any) -> Any:
    output = layer(*args, **options)
    if isinstance(layer, keras.layers.Normalization):
        return keras.layers.Rescaling(list(_SECOND_SCALE))(output)
    return output


def _check_weights(backbone: Backbone, weights: str) -> None:
    has_embedded = backbone.default_weights == "embedded"
    if weights in ("none", backbone.default_weights):
        return
    if weights in ("embedded", "imagenet"):
        other = "embedded" if has_embedded else "imagenet"
        raise TrainingError(f"{backbone.name} has no weights {weights!r}; expected {other}, none or a file's path")
    if not os.path.isfile(weights):  # noqa: PTH113 (Path.is_file raises if it may not read the folder)
        raise TrainingError(
            f"weights {weights!r}: there is no such file; expected {backbone.default_weights}, none or a file's path"
        )
