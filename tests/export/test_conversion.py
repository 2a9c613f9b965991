"""Small Keras networks, of every form that backbones have, through ONNX Runtime as through Keras."""

import copy
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from keras import layers

from partsight.export import conversion
from partsight.export.conversion import OPSET, Converted, convert
from partsight.runtime.core.errors import ExportError
from partsight.runtime.inference.session import Session
from partsight.train.layers import FrameNormalization

HEIGHT, WIDTH = 33, 36
NAMES = ("score", "embedding")


def network(body: Callable[[Any], Any]) -> Any:
    """From frames through partsight's normalisation and `body` to score and embedding, with random weights."""
    keras.utils.set_random_seed(7)
    frames = keras.Input((HEIGHT, WIDTH, 3), dtype="uint8", name="image_bgr")
    x = body(FrameNormalization("rgb", (123.7, 116.8, 103.9), (1 / 58, 1 / 57, 1 / 57.5))(frames))
    embedding = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(frames, {"score": layers.Dense(5)(embedding), "embedding": embedding})
    rng = np.random.default_rng(7)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            low_high = {"gamma": (0.5, 2), "beta": (-1, 1), "moving_mean": (-1, 1), "moving_variance": (0.2, 3)}
            layer.set_weights([rng.uniform(*low_high[weight.name], weight.shape) for weight in layer.weights])
    return model


def batch(size: int) -> np.ndarray:
    return np.random.default_rng(size).integers(0, 256, (size, HEIGHT, WIDTH, 3), np.uint8)


def norm(x: Any) -> Any:
    return layers.BatchNormalization()(x)


def plain(x: Any) -> Any:
    return layers.ReLU(6)(norm(layers.Conv2D(8, 3, strides=2)(x)))


def padded(x: Any) -> Any:
    return layers.ReLU()(norm(layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(x)))


def zero_padded(x: Any) -> Any:
    x = layers.Conv2D(8, 3, strides=2, use_bias=False)(layers.ZeroPadding2D(((0, 1), (2, 1)))(x))
    return layers.ReLU()(norm(x))


def depthwise(x: Any) -> Any:
    x = layers.ReLU(6)(norm(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(padded(x))))
    x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
    return layers.ReLU(6)(norm(layers.SeparableConv2D(12, 3, strides=2)(x)))


def residual(x: Any) -> Any:
    x = padded(x)
    return layers.ReLU()(layers.Add()([x, norm(layers.Conv2D(8, 1)(swish_norm(x)))]))


def swish_norm(x: Any) -> Any:
    return layers.Activation("swish")(norm(layers.Conv2D(8, 3, padding="same")(x)))


def inputs_of_its_own(x: Any) -> Any:
    """Keras constants that tf2onnx turns into inputs, as in EfficientNet."""
    x = layers.Rescaling(1 / 3)(x)
    return plain(layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[0.5, 0.6, 0.7])(x))


def pre_activation(x: Any) -> Any:
    x = layers.MaxPooling2D()(layers.Conv2D(8, 3, padding="same")(x))
    return layers.Conv2D(6, 3)(layers.ReLU()(norm(x)))


# Expected number of remaining Mul and Add nodes.
BODIES = {
    plain: 0,
    padded: 0,
    zero_padded: 0,
    depthwise: 0,
    residual: 0,
    inputs_of_its_own: 0,
    pre_activation: 2,
}


@pytest.mark.parametrize(("body", "left"), BODIES.items(), ids=[body.__name__ for body in BODIES])
def test_answers_as_keras_does(body: Callable[[Any], Any], left: int) -> None:
    model = network(body)
    converted = convert(model)
    check_contract(converted.model)
    assert converted.summary.is_input_folded
    assert converted.summary.batch_norm_left == converted.summary.foldable_left == 0
    assert converted.summary.affine_left == left
    session = Session(converted.model.SerializeToString())
    for size in (1, 4, 5):
        expected, found = model.predict_on_batch(batch(size)), session.run(batch(size))
        for name in NAMES:
            assert getattr(found, name).shape == expected[name].shape
            assert np.ptp(expected[name]) > 0.1
            assert np.abs(getattr(found, name) - expected[name]).max() <= 1e-5 * max(1, np.abs(expected[name]).max())


def check_contract(model: onnx.ModelProto) -> None:
    """Names, types and shapes, without the runtime's own check."""
    floats, uint8 = onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8
    assert describe(model.graph.input) == {"image_bgr": (uint8, ["batch", HEIGHT, WIDTH, 3])}
    outputs = describe(model.graph.output)
    width = outputs["embedding"][1][1]
    assert outputs == {"score": (floats, ["batch", 5]), "embedding": (floats, ["batch", width])}
    assert isinstance(width, int)
    assert [item.version for item in model.opset_import if item.domain == ""] == [OPSET]
    assert {node.domain for node in model.graph.node} == {""}


def describe(values: Any) -> dict[str, tuple[int, list[Any]]]:
    return {
        value.name: (
            value.type.tensor_type.elem_type,
            [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim],
        )
        for value in values
    }


@pytest.fixture(scope="module")
def traced() -> onnx.ModelProto:
    """The graph of tf2onnx for a network whose constants become inputs, before folding."""
    return conversion._trace(network(inputs_of_its_own))


def test_tf2onnx_still_makes_inputs_of_constants(traced: onnx.ModelProto) -> None:
    """Otherwise the test of `inputs_of_its_own` would test nothing."""
    assert len(traced.graph.input) > 1


def convert_traced(model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> Converted:
    monkeypatch.setattr(conversion, "_trace", lambda _: model)
    return convert(None)


def test_an_input_that_is_needed_is_refused(traced: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    model = copy.deepcopy(traced)
    kernel = next(node for node in model.graph.node if node.op_type == "Conv").input[1]
    (tensor,) = [item for item in model.graph.initializer if item.name == kernel]
    model.graph.initializer.remove(tensor)
    model.graph.input.append(onnx.helper.make_tensor_value_info(kernel, tensor.data_type, tensor.dims))
    with pytest.raises(ExportError, match=kernel):
        convert_traced(model, monkeypatch)


def test_a_missing_output_is_refused(traced: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch) -> None:
    model = copy.deepcopy(traced)
    del model.graph.output[0]
    with pytest.raises(ExportError, match=r"\['(score|embedding)'\]"):
        convert_traced(model, monkeypatch)


class Unknown(layers.Layer):
    """An operation without an ONNX operator."""

    def call(self, x: Any) -> Any:
        return tf.math.bessel_i0e(x)


def test_a_layer_that_cannot_be_converted() -> None:
    with pytest.raises(ExportError, match="BesselI0e"):
        convert(network(lambda x: Unknown()(plain(x))))
