"""INT8: quantised nodes, their form, and their ranges."""

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper

from partsight.export.int8 import OP_TYPES, Quantizer
from partsight.export.ranges import Range, measure_ranges
from partsight.export.trunk import named, trunk_nodes, trunk_tensors
from partsight.runtime.images.preprocessing import preprocess
from partsight.runtime.inference.session import Session
from tests.export import nets


def quantizer(model: onnx.ModelProto) -> Quantizer:
    tensors = trunk_tensors(model, trunk_nodes(model, OP_TYPES))
    batch = preprocess(nets.images(), nets.manifest().preprocess)
    return Quantizer(model, measure_ranges(model, tensors, batch))


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}


def optimised(model: onnx.ModelProto, path: Path) -> Counter[str]:
    """Count the nodes of a model after ONNX Runtime's optimisation."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(path).graph.node)


@pytest.fixture(scope="module")
def int8() -> onnx.ModelProto:
    return quantizer(named(nets.network())).quantize()


def test_weights_are_signed_and_per_channel_activations_unsigned(int8: onnx.ModelProto) -> None:
    found = constants(int8)
    for index in range(nets.DEPTH):
        kernel, scale = found[f"kernel{index}_quantized"], found[f"kernel{index}_scale"]
        assert kernel.dtype == np.int8
        assert scale.shape == (nets.CHANNELS,)
        assert not found[f"kernel{index}_zero_point"].any()
    zero_points = [found[node.input[2]] for node in int8.graph.node if node.op_type == "QuantizeLinear"]
    assert len(zero_points) == nets.DEPTH
    assert {item.dtype for item in zero_points} == {np.dtype(np.uint8)}


def test_the_head_is_as_it_was(int8: onnx.ModelProto) -> None:
    before = constants(nets.network())
    for name in ("prototypes", "center"):
        np.testing.assert_array_equal(constants(int8)[name], before[name])
    head = [node.op_type for node in int8.graph.node][-6:]
    assert head == ["GlobalAveragePool", "Squeeze", "Sub", "ReduceL2", "Div", "MatMul"]


def test_onnx_runtime_computes_every_convolution_in_integers(int8: onnx.ModelProto, tmp_path: Path) -> None:
    found = optimised(int8, tmp_path / "optimised.onnx")
    assert found["QLinearConv"] == nets.DEPTH
    assert not {"Conv", "Relu", "QuantizeLinear", "Cast"} & set(found)
    assert found["DequantizeLinear"] == 1  # before the pooling


@pytest.mark.parametrize(("shift", "zero_point"), [(None, 0), ((-127.0,) * 3, 127)])
def test_the_image_is_taken_as_it_is(shift: tuple[float, float, float] | None, zero_point: int) -> None:
    model = quantizer(named(nets.network(shift=shift))).quantize()
    first = next(node for node in model.graph.node if node.op_type == "DequantizeLinear" and node.input[0] == "nchw")
    scale, zero = (constants(model)[name] for name in first.input[1:])
    assert (scale, zero) == (1, zero_point)
    assert "Cast" not in [node.op_type for node in model.graph.node]


def test_nothing_goes_over_temporary_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX does not report a temporary file that it cannot write, and would read another model."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryDirectory", fail)
    monkeypatch.setattr(onnx, "save_model", fail)
    assert quantizer(named(nets.network())).quantize().graph.node


@pytest.mark.parametrize("shift", [(-100.0, -120.0, -123.0), (-127.5,) * 3])
def test_an_image_that_no_zero_point_expresses(shift: tuple[float, float, float]) -> None:
    model = named(nets.network(shift=shift))
    quantized = quantizer(model).quantize()
    assert "Cast" in [node.op_type for node in quantized.graph.node]
    batch = preprocess(nets.images(), nets.manifest().preprocess)
    scores = [Session(item.SerializeToString()).run(batch).score for item in (model, quantized)]
    assert (scores[0].argmax(axis=1) == scores[1].argmax(axis=1)).all()


def test_kept_layers_stay_fp32(tmp_path: Path) -> None:
    made = quantizer(named(nets.network()))
    assert [len(layer) for layer in made.layers] == [2] * nets.DEPTH
    model = made.quantize(set(made.layers[2]) | set(made.layers[3]))
    found = {item.name: item.data_type for item in model.graph.initializer}
    assert found["kernel2"] == found["kernel3"] == TensorProto.FLOAT
    assert optimised(model, tmp_path / "optimised.onnx")["QLinearConv"] == nets.DEPTH - 2


def test_the_range_of_least_error_cuts_off_what_is_rare() -> None:
    sample = np.abs(np.random.default_rng(0).normal(0, 1, 20000)).astype(np.float32)
    low, high = Range(0.0, 40.0, sample).least_error()
    assert low == 0
    assert 3 < high < 6
    sample[:200] = 40  # too frequent to cut off
    assert Range(0.0, 40.0, sample).least_error()[1] > 35
    even = np.linspace(-1, 3, 20001, dtype=np.float32)
    assert Range(-1.0, 3.0, even).least_error() == pytest.approx((-1, 3))
    assert Range(0.0, 0.0, np.zeros(9, np.float32)).least_error() == (0, 0)
