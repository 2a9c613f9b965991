"""EfficientNet-Lite0, whose weights come with partsight, so that training needs no internet.

Architecture: the Lite variant of EfficientNet (Tan and Le, arXiv 1905.11946). It has no squeeze-and-excitation, uses
ReLU6, and scales neither stem nor head. Padding is symmetric, as in the source of the weights.
"""

from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from partsight.runtime.core import TrainingError
from partsight.train.framework import keras

EMBEDDED_WEIGHTS = "efficientnet_lite0_imagenet.npz"


class _Stage(NamedTuple):
    expansion: int
    channels: int
    repeats: int
    stride: int
    kernel: int


_STAGES = (
    _Stage(1, 16, 1, 1, 3),
    _Stage(6, 24, 2, 2, 3),
    _Stage(6, 40, 2, 2, 5),
    _Stage(6, 80, 3, 2, 3),
    _Stage(6, 112, 3, 1, 5),
    _Stage(6, 192, 4, 2, 5),
    _Stage(6, 320, 1, 1, 3),
)


def build_lite0(input_hw: tuple[int, int], weights: str | Path | None) -> Any:
    """Build EfficientNet-Lite0 without its classifier.

    Args:
        input_hw: Height and width of the input, in pixels.
        weights: Name `embedded`, the path of an `.npz` in the same layout or of Keras weights; None for random ones.

    Returns:
        A keras.Model from (batch, height, width, 3) float32 RGB, normalised, to (batch, h/32, w/32, 1280).

    Raises:
        TrainingError: The weights cannot be read, or belong to another network.
    """
    inputs = keras.Input((*input_hw, 3))
    x = _conv(inputs, 32, 3, "stem", stride=2)
    block = 0
    for stage in _STAGES:
        for repeat in range(stage.repeats):
            x = _block(x, stage, stage.stride if repeat == 0 else 1, f"b{block}")
            block += 1
    x = _conv(x, 1280, 1, "head")
    model = keras.Model(inputs, x, name="efficientnet_lite0")
    if weights == "embedded":
        with resources.as_file(resources.files("partsight.train") / "weights" / EMBEDDED_WEIGHTS) as path:
            _load_npz(model, path)
    elif weights is not None and Path(weights).suffix == ".npz":
        _load_npz(model, Path(weights))
    elif weights is not None:
        model.load_weights(weights)
    return model


def _block(x: Any, stage: _Stage, stride: int, name: str) -> Any:
    shortcut = x
    if stage.expansion != 1:
        x = _conv(x, stage.expansion * x.shape[-1], 1, f"{name}_expand")
    x = _depthwise(x, stage.kernel, stride, f"{name}_dw")
    x = _conv(x, stage.channels, 1, f"{name}_project", activation=False)
    if stride == 1 and shortcut.shape[-1] == stage.channels:
        x = keras.layers.Add(name=f"{name}_add")([shortcut, x])
    return x


def _conv(x: Any, channels: int, kernel: int, name: str, *, stride: int = 1, activation: bool = True) -> Any:
    x = _pad(x, kernel, name)
    x = keras.layers.Conv2D(channels, kernel, stride, use_bias=False, name=name)(x)
    return _norm(x, name, activation=activation)


def _depthwise(x: Any, kernel: int, stride: int, name: str) -> Any:
    x = _pad(x, kernel, name)
    x = keras.layers.DepthwiseConv2D(kernel, stride, use_bias=False, name=name)(x)
    return _norm(x, name, activation=True)


def _pad(x: Any, kernel: int, name: str) -> Any:
    return keras.layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x) if kernel > 1 else x


def _norm(x: Any, name: str, *, activation: bool) -> Any:
    x = keras.layers.BatchNormalization(epsilon=1e-3, name=f"{name}_bn")(x)
    return keras.layers.ReLU(6.0, name=f"{name}_relu")(x) if activation else x


def _load_npz(model: Any, path: Path) -> None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            for layer in model.layers:
                if layer.weights:
                    layer.set_weights([arrays[key].astype(np.float32) for key in _keys(layer)])
    except Exception as error:  # NumPy and zipfile raise nearly any type for damaged bytes
        raise TrainingError(
            f"{path}: not weights of EfficientNet-Lite0 ({error}); expected an .npz laid out as {EMBEDDED_WEIGHTS}"
        ) from error


def _keys(layer: Any) -> list[str]:
    if layer.name.endswith("_bn"):
        block = layer.name.removesuffix("_bn")
        return [f"{block}/bn_{name}" for name in ("gamma", "beta", "moving_mean", "moving_variance")]
    return [f"{layer.name}/kernel"]
