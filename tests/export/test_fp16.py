"""FP16: converted nodes, nodes that stay FP32, and numbers that do not fit."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from partsight.export.fp16 import OP_TYPES, rounded_twin, to_fp16, unfit_nodes
from partsight.export.ranges import Range, measure_ranges
from partsight.export.trunk import named, trunk_nodes, trunk_tensors
from partsight.runtime.images.preprocessing import preprocess
from partsight.runtime.inference.session import Session
from tests.export import nets


@pytest.fixture(scope="module")
def fp32() -> onnx.ModelProto:
    return named(nets.network())


def ranges(model: onnx.ModelProto) -> dict[str, Range]:
    tensors = trunk_tensors(model, trunk_nodes(model, OP_TYPES))
    return dict(measure_ranges(model, tensors, preprocess(nets.images(), nets.manifest().preprocess)))


def scores(model: onnx.ModelProto) -> np.ndarray:
    batch = preprocess(nets.images(), nets.manifest().preprocess)
    return Session(model.SerializeToString()).run(batch).score


def test_weights_are_half_and_the_rest_is_not(fp32: onnx.ModelProto) -> None:
    half = to_fp16(fp32)
    kinds = {item.name: item.data_type for item in half.graph.initializer}
    for node in half.graph.node:
        if node.op_type == "Conv":
            assert [kinds[name] for name in node.input[1:]] == [TensorProto.FLOAT16] * 2
    assert {kinds["prototypes"], kinds["center"]} == {TensorProto.FLOAT}
    assert kinds["axes"] == TensorProto.INT64
    casts = {node.input[0]: node.output[0] for node in half.graph.node if node.op_type == "Cast"}
    pooling = next(node for node in half.graph.node if node.op_type == "GlobalAveragePool")
    assert pooling.input[0] == casts[f"relu{nets.DEPTH - 1}"]
    assert set(casts) == {"nchw", "tensor", f"relu{nets.DEPTH - 1}"}  # none between the trunk's nodes
    assert half.ByteSize() < 0.75 * fp32.ByteSize()
    assert [item.type.tensor_type.elem_type for item in (*half.graph.input, *half.graph.output)] == [
        TensorProto.UINT8,
        TensorProto.FLOAT,
        TensorProto.FLOAT,
    ]


def test_answers_are_close(fp32: onnx.ModelProto) -> None:
    expected = scores(fp32)
    for model in (to_fp16(fp32), rounded_twin(fp32)):
        drift = np.abs(scores(model) - expected).max()
        assert 0 < drift < 0.02


def test_kept_nodes_stay_as_they_are(fp32: onnx.ModelProto) -> None:
    kept = {node.name for node in fp32.graph.node if node.output[0] in ("conv3", "relu3")}
    half = to_fp16(fp32, kept)
    kinds = {item.name: item.data_type for item in half.graph.initializer}
    assert (kinds["kernel3"], kinds["kernel4_half"]) == (TensorProto.FLOAT, TensorProto.FLOAT16)
    assert np.abs(scores(half) - scores(fp32)).max() < 0.02
    assert (scores(to_fp16(fp32, {node.name for node in fp32.graph.node})) == scores(fp32)).all()


@pytest.mark.parametrize(("factor", "is_kept"), [(1.0, False), (1e6, True), (1e-3, False), (1e-6, True)])
def test_weights_out_of_range_are_found(factor: float, is_kept: bool) -> None:
    model = named(nets.network())
    kernel = next(item for item in model.graph.initializer if item.name == "kernel2")
    kernel.CopyFrom(numpy_helper.from_array(np.float32(factor) * numpy_helper.to_array(kernel), "kernel2"))
    conv = next(node.name for node in model.graph.node if "kernel2" in node.input)
    assert (conv in unfit_nodes(model, {})) == is_kept


def test_activations_out_of_range_are_found_and_would_show() -> None:
    model = named(nets.network(uneven=[3], scale=4e4))
    unfit = unfit_nodes(model, ranges(model))
    outputs = {name for node in model.graph.node if node.name in unfit for name in node.output}
    assert outputs == {"conv3", "relu3", "conv4"}
    expected = scores(model)
    assert np.abs(scores(to_fp16(model, set(unfit))) - expected).max() < 0.02
    assert np.abs(scores(rounded_twin(model, set(unfit))) - expected).max() < 0.02
    # ONNX Runtime's CPU provider computes in FP32 and would not notice; the twin does.
    assert not np.isfinite(scores(rounded_twin(model))).all()
