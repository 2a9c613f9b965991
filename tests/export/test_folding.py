"""Folding moves affine nodes into convolutions where that is exact, and keeps the answers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest

from partsight.export.conversion import check_folded
from partsight.export.folding import fold, summarise
from partsight.runtime.core.errors import ExportError
from tests.export.graphs import HEIGHT, INPUT, WIDTH, Net, answers, constants, first, fold_alike, op_types

MEAN = np.array([103.5, 116.25, 123.0], np.float32)
SCALE = np.array([0.02, 0.01, 0.015], np.float32)


def conv_net(**options: Any) -> Net:
    return Net().pixels().conv(8, **options)


FOLDED: dict[str, tuple[Callable[[], Net], int]] = {
    "batch norm": (lambda: conv_net().batch_norm().relu(), 1),
    "bias": (lambda: conv_net(bias=True).batch_norm().relu(), 1),
    "padded": (lambda: conv_net(pads=[1, 1, 1, 1], bias=True).batch_norm(), 1),
    "same": (lambda: conv_net(auto_pad="SAME_UPPER", strides=[2, 2]).batch_norm(), 1),
    "strides and dilations": (lambda: conv_net(strides=[2, 1], dilations=[1, 2]).batch_norm(), 1),
    "pointwise": (lambda: conv_net(size=1).batch_norm(), 1),
    "depthwise": (lambda: conv_net().relu().conv(8, group=8, bias=True).batch_norm().relu(), 1),
    "depthwise, two each": (lambda: conv_net().relu().conv(16, group=8).batch_norm(), 1),
    "grouped": (lambda: conv_net().relu().conv(12, group=4).batch_norm(), 1),
    "every convolution": (lambda: conv_net().batch_norm().relu().conv(6).batch_norm().relu().conv(4).batch_norm(), 3),
    "twice": (lambda: conv_net().batch_norm().batch_norm(), 2),
    "default epsilon": (lambda: conv_net().batch_norm(epsilon=1e-5), 1),
    "large epsilon": (lambda: conv_net().batch_norm(epsilon=10.0), 1),
}


@pytest.mark.parametrize(("make", "folded"), FOLDED.values(), ids=FOLDED)
def test_a_batch_norm_behind_a_convolution(make: Callable[[], Net], folded: int) -> None:
    model = make().model()
    summary = fold_alike(model)
    assert summary.folded == folded
    assert summary.batch_norm_left == summary.foldable_left == summary.affine_left == 0
    assert {"BatchNormalization", "Mul", "Add"}.isdisjoint(op_types(model))


@pytest.mark.parametrize("shape", [(1, 8, 1, 1), (8, 1, 1), (1, 1, 1), ()], ids=str)
@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Div"])
def test_arithmetic_on_the_right(op_type: str, shape: tuple[int, ...]) -> None:
    net = conv_net(bias=True)
    model = net.right(op_type, net.floats(*shape, low=0.5, high=3)).relu().model()
    assert fold_alike(model).folded == 1
    assert op_type not in op_types(model)


@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul"])
def test_arithmetic_on_the_left(op_type: str) -> None:
    net = conv_net()
    model = net.left(op_type, net.per_channel()).relu().model()
    assert fold_alike(model).folded == 1
    assert op_type not in op_types(model)


def test_a_batch_norm_written_as_arithmetic() -> None:
    net = conv_net()
    net.right("Sub", net.per_channel(-50, 50)).right("Div", net.per_channel(4, 14))
    model = net.right("Mul", net.per_channel(0.5, 2)).right("Add", net.per_channel()).relu().model()
    summary = fold_alike(model)
    assert summary.folded == 4
    assert op_types(model) == ["Transpose", "Cast", "Conv", "Relu"]


def spatial(net: Net) -> Net:
    return net.right("Mul", net.floats(1, 1, HEIGHT - 2, WIDTH - 2, low=0.5, high=2))


def on_the_width(net: Net) -> Net:
    return net.right("Add", net.floats(WIDTH - 2, low=50, high=90))


NOT_FOLDED: dict[str, Callable[[Net], Net]] = {
    "quotient by the pixels": lambda net: net.relu().right("Add", np.float32(1)).left("Div", np.float32(1000)),
    "a value for each place": spatial,
    "a value for each column": on_the_width,
    "the pixels twice": lambda net: net.add("Mul", net.end),
    "something else between": lambda net: net.relu().right("Mul", net.per_channel(0.5, 2)),
}


@pytest.mark.parametrize("extend", NOT_FOLDED.values(), ids=NOT_FOLDED)
def test_what_is_not_an_affine_map_of_the_channels(extend: Callable[[Net], Net]) -> None:
    model = extend(conv_net()).model()
    before = op_types(model)
    summary = fold_alike(model)
    assert summary.folded == summary.foldable_left == 0
    assert sorted(op_types(model)) == sorted(before)


def test_a_convolution_that_two_read() -> None:
    net = conv_net()
    shared = net.end
    net.batch_norm()
    model = net.add("Add", shared).model()
    summary = fold_alike(model)
    assert summary.folded == summary.foldable_left == summary.batch_norm_left == 0
    assert summary.affine_left == 2
    assert sorted(op_types(model)) == ["Add", "Add", "Cast", "Conv", "Mul", "Transpose"]


def test_a_convolution_that_is_an_output() -> None:
    net = conv_net()
    shared = net.end
    model = net.batch_norm().model(shared, net.end)
    assert fold_alike(model).folded == 0


def test_a_kernel_that_two_convolutions_share() -> None:
    net = Net().pixels()
    start, kernel = net.end, net.constant(net.floats(8, 3, 3, 3))
    net.channels = 8
    ends = []
    for _ in range(2):
        net.add_reading("Conv", start, kernel).batch_norm()
        ends.append(net.end)
    model = net.add_reading("Concat", *ends, axis=1).model()
    assert fold_alike(model).folded == 2


def test_pre_activation_becomes_one_mul_and_one_add() -> None:
    model = conv_net().relu().batch_norm().relu().conv(4).batch_norm().relu().model()
    summary = fold_alike(model)
    assert (summary.folded, summary.affine_left) == (1, 2)
    assert summary.batch_norm_left == summary.foldable_left == 0
    assert op_types(model) == ["Transpose", "Cast", "Conv", "Relu", "Mul", "Add", "Relu", "Conv", "Relu"]
    assert summarise(model).affine_left == 2


def test_a_batch_norm_that_learns_is_left_and_refused() -> None:
    net = conv_net().batch_norm()
    net.nodes[-1].attribute.append(onnx.helper.make_attribute("training_mode", 1))
    model = net.model()
    summary = fold(model, INPUT)
    assert (summary.folded, summary.batch_norm_left) == (0, 1)
    with pytest.raises(ExportError, match=r"1 BatchNormalization.* 0 affine"):
        check_folded(summarise(model))


def test_what_was_not_folded_is_refused() -> None:
    model = conv_net().batch_norm().model()
    with pytest.raises(ExportError, match=r"1 BatchNormalization.* 1 affine"):
        check_folded(summarise(model))
    check_folded(fold(model, INPUT))


def test_weights_that_are_computed_stay() -> None:
    net = Net().pixels()
    kernel = net.constant(net.floats(8, 3, 3, 3))
    start = net.end
    net.add_reading("Neg", kernel).add_reading("Conv", start, net.end)
    net.channels = 8
    summary = fold_alike(net.batch_norm().model())
    assert (summary.folded, summary.affine_left, summary.is_input_folded) == (0, 2, False)


def test_a_second_fold_changes_nothing() -> None:
    model = normalised().conv(8, pads=[1, 1, 1, 1]).batch_norm().relu().batch_norm().relu().conv(4).model()
    fold_alike(model)
    before = op_types(model)
    fold_alike(model)
    assert op_types(model) == before


def normalised(order: list[int] | None = None) -> Net:
    """Partsight's normalisation: order of the channels, mean, scale, with channels last."""
    net = Net().add("Cast", to=onnx.TensorProto.FLOAT)
    net.add("Gather", net.constant(np.array(order or [2, 1, 0])), axis=3)
    return net.right("Sub", MEAN).right("Mul", SCALE).transpose()


ORDERS = [[2, 1, 0], [0, 1, 2], [1, 2, 0], [-1, -2, -3]]


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("bias", [False, True], ids=["no bias", "bias"])
def test_the_mean_goes_into_the_bias_of_a_valid_convolution(order: list[int], bias: bool) -> None:
    model = normalised(order).conv(8, bias=bias).model()
    old_kernel = constants(model, first(model, "Conv"))[0]
    assert fold_alike(model).is_input_folded
    assert op_types(model) == ["Transpose", "Cast", "Conv"]
    check_kernel(model, old_kernel, order)


@pytest.mark.parametrize("order", ORDERS, ids=str)
@pytest.mark.parametrize("padding", [{"pads": [1, 0, 1, 2]}, {"auto_pad": "SAME_LOWER"}], ids=str)
def test_one_add_stays_before_a_padded_convolution(order: list[int], padding: dict[str, Any]) -> None:
    model = normalised(order).conv(8, bias=True, **padding).model()
    old_kernel, old_bias = constants(model, first(model, "Conv"))
    summary = fold_alike(model)
    assert summary.is_input_folded
    assert summary.affine_left == 0  # the count excludes the input's node
    assert op_types(model) == ["Transpose", "Cast", "Add", "Conv"]
    check_kernel(model, old_kernel, order)
    assert (constants(model, first(model, "Conv"))[1] == old_bias).all()
    (shift,) = constants(model, first(model, "Add"))
    assert shift.shape == (1, 3, 1, 1)
    assert (shift[0, order, 0, 0] == -MEAN).all()  # a scale would round exact values


def check_kernel(model: onnx.ModelProto, old_kernel: np.ndarray, order: list[int]) -> None:
    """Scale and order are in the kernel exactly: a product in float64, rounded once."""
    expected = np.zeros_like(old_kernel)
    expected[:, order] = (old_kernel.astype(np.float64) * SCALE.astype(np.float64)[:, None, None]).astype(np.float32)
    assert (constants(model, first(model, "Conv"))[0] == expected).all()


def test_normalisation_after_the_transpose() -> None:
    net = Net().pixels()
    net.right("Mul", SCALE.reshape(1, 3, 1, 1)).right("Sub", (MEAN * SCALE).reshape(3, 1, 1))
    model = net.add("Gather", net.constant(np.array([1, 2, 0])), axis=1).conv(8).batch_norm().model()
    summary = fold_alike(model)
    assert summary.is_input_folded
    assert summary.folded == 1
    assert op_types(model) == ["Transpose", "Cast", "Conv"]


def test_channels_that_change_places_twice() -> None:
    net = normalised([1, 2, 0])
    model = net.add("Gather", net.constant(np.array([1, 0, 2])), axis=1).conv(8, pads=[1, 1, 1, 1]).model()
    assert fold_alike(model).is_input_folded
    assert "Gather" not in op_types(model)


def test_no_add_without_a_mean() -> None:
    model = Net().pixels().right("Div", np.float32(255)).conv(8, pads=[1, 1, 1, 1]).model()
    assert fold_alike(model).is_input_folded
    assert op_types(model) == ["Transpose", "Cast", "Conv"]


def test_the_image_is_transposed_while_it_is_bytes() -> None:
    model = normalised().conv(8).model()
    fold(model, INPUT)
    transpose, cast = model.graph.node[:2]
    assert (transpose.op_type, list(transpose.input)) == ("Transpose", [INPUT])
    assert (cast.op_type, list(cast.input)) == ("Cast", list(transpose.output))


INPUTS_NOT_FOLDED: dict[str, Callable[[], Net]] = {
    "not linear": lambda: normalised().relu().conv(8),
    "a channel that is dropped": lambda: Net().pixels().right("Mul", np.float32([[[1]], [[0]], [[1]]])).conv(8),
    "a channel twice": lambda: normalised([0, 0, 2]).conv(8),
    "depthwise": lambda: normalised().conv(6, group=3),
    "no convolution": lambda: normalised().relu(),
    "pads of another value": lambda: normalised().pad(0, 0, 1, 1, 0, 0, 1, 1, value=0.5).conv(8),
}


@pytest.mark.parametrize("make", INPUTS_NOT_FOLDED.values(), ids=INPUTS_NOT_FOLDED)
def test_an_input_that_cannot_be_folded(make: Callable[[], Net]) -> None:
    model = make().model()
    before = op_types(model)
    assert not fold_alike(model).is_input_folded
    assert op_types(model) == before


def test_an_image_that_two_read() -> None:
    net = Net().pixels().conv(8)
    end = net.end
    net.channels = 3
    net.add_reading("Cast", INPUT, to=onnx.TensorProto.FLOAT).transpose().conv(8)
    assert not fold_alike(net.add("Add", end).model()).is_input_folded


def test_pads_of_zeros_go_into_the_convolution() -> None:
    model = normalised().pad(0, 0, 1, 2, 0, 0, 3, 0).conv(8, strides=[2, 2]).batch_norm().model()
    summary = fold_alike(model)
    assert op_types(model) == ["Transpose", "Cast", "Add", "Conv"]
    assert summary.is_input_folded
    assert pads_of(model) == [1, 2, 3, 0]


def test_pads_are_added_to_the_convolutions_own() -> None:
    model = conv_net().relu().pad(0, 0, 1, 2, 0, 0, 3, 0, value=None).conv(4, pads=[1, 1, 0, 0]).model()
    fold_alike(model)
    assert "Pad" not in op_types(model)
    assert [pads_of(model, index) for index in (0, 1)] == [[], [2, 3, 3, 0]]


def pads_of(model: onnx.ModelProto, index: int = 0) -> list[int]:
    conv = [node for node in model.graph.node if node.op_type == "Conv"][index]
    return [number for item in conv.attribute if item.name == "pads" for number in item.ints]


def pad_that_two_read(net: Net) -> Net:
    padded = net.pad(0, 0, 1, 1, 0, 0, 1, 1).end
    mean = net.conv(4).add("GlobalAveragePool").end
    return net.add_reading("ReduceMean", padded, axes=[1, 2, 3]).add("Add", mean)


PADS_THAT_STAY: dict[str, Callable[[Net], Net]] = {
    "another value": lambda net: net.pad(0, 0, 1, 1, 0, 0, 1, 1, value=-1).conv(4),
    "reflect": lambda net: net.pad(0, 0, 1, 1, 0, 0, 1, 1, mode="reflect").conv(4),
    "crop": lambda net: net.pad(0, 0, -1, 0, 0, 0, 0, 0).conv(4),
    "same": lambda net: net.pad(0, 0, 1, 1, 0, 0, 1, 1).conv(4, auto_pad="SAME_UPPER"),
    "read by two": pad_that_two_read,
}


@pytest.mark.parametrize("extend", PADS_THAT_STAY.values(), ids=PADS_THAT_STAY)
def test_other_pads_stay(extend: Callable[[Net], Net]) -> None:
    model = extend(conv_net().relu()).model()
    fold_alike(model)
    assert op_types(model).count("Pad") == 1


def test_pads_of_channels_stay() -> None:
    net = conv_net().relu().pad(0, 1, 0, 0, 0, 1, 0, 0)
    net.channels = 10
    model = net.conv(4).model()
    fold_alike(model)
    assert op_types(model).count("Pad") == 1


def test_what_nothing_needs_is_dropped() -> None:
    net = normalised().conv(8).batch_norm()
    end = net.end
    net.right("Mul", np.float32(3)).relu()
    model = net.model(end)
    model.graph.input.append(onnx.helper.make_tensor_value_info("left_over", onnx.TensorProto.FLOAT, [1, 1, 1, 3]))
    expected = answers_without(model, "left_over")
    fold(model, INPUT)
    assert [value.name for value in model.graph.input] == [INPUT]
    assert op_types(model) == ["Transpose", "Cast", "Conv"]
    assert len(model.graph.initializer) == 2
    assert np.allclose(answers(model)[0], expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def answers_without(model: onnx.ModelProto, name: str) -> np.ndarray:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.input.remove(next(value for value in copy.graph.input if value.name == name))
    return answers(copy)[0]
