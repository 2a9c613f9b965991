"""The scale and offset of a node for each channel, if it is affine."""

from typing import Any

import numpy as np
import pytest

from partsight.export.affine import Affine, read_affine
from partsight.export.graph import Graph
from tests.export.graphs import Net

DATA = "image"
CHANNELS = 3


def read(net: Net, axis: int = 1) -> Affine | None:
    """Return the affine function of the chain's only node."""
    model = net.model()
    (node,) = model.graph.node
    return read_affine(Graph(model), node, DATA, CHANNELS, axis)


def check(affine: Affine | None, scale: Any, shift: Any) -> None:
    assert affine is not None
    for found, expected in ((affine.scale, scale), (affine.shift, shift)):
        assert found.shape == (CHANNELS,)
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, np.broadcast_to(np.asarray(expected, np.float64), CHANNELS), rtol=1e-12)


def test_one_after_the_other() -> None:
    earlier = Affine(np.array([2.0, 3.0]), np.array([5.0, 7.0]))
    later = Affine(np.array([-1.0, 0.5]), np.array([1.0, 2.0]))
    both = earlier.then(later)
    x = np.array([10.0, 20.0])
    expected = later.scale * (earlier.scale * x + earlier.shift) + later.shift
    assert (both.scale * x + both.shift == expected).all()


VALUE = np.float32([0.1, -2, 4])


@pytest.mark.parametrize(("shape", "axis"), [((1, 3, 1, 1), 1), ((3, 1, 1), 1), ((1, 1, 1, 3), 3), ((3,), 3)], ids=str)
def test_arithmetic(shape: tuple[int, ...], axis: int) -> None:
    value, exact = VALUE.reshape(shape), VALUE.astype(np.float64)
    check(read(Net().right("Add", value), axis), 1, exact)
    check(read(Net().left("Add", value), axis), 1, exact)
    check(read(Net().right("Sub", value), axis), 1, -exact)
    check(read(Net().left("Sub", value), axis), -1, exact)
    check(read(Net().right("Mul", value), axis), exact, 0)
    check(read(Net().left("Mul", value), axis), exact, 0)
    check(read(Net().right("Div", value), axis), 1 / exact, 0)
    assert read(Net().left("Div", value), axis) is None


@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1, 1)], ids=str)
@pytest.mark.parametrize("axis", [1, 3])
def test_one_value_for_all_channels(shape: tuple[int, ...], axis: int) -> None:
    check(read(Net().right("Mul", np.full(shape, 0.5, np.float32)), axis), 0.5, 0)


@pytest.mark.parametrize(
    ("value", "axis"),
    [
        (VALUE, 1),  # along the width
        (VALUE.reshape(3, 1), 1),  # along the height
        (VALUE.reshape(3, 1, 1, 1), 1),  # along the batch
        (VALUE.reshape(1, 3, 1, 1), 3),
        (np.ones((3, 3), np.float32), 3),
        (np.ones(4, np.float32), 3),
        (np.ones((1, 1, 3, 1, 1), np.float32), 1),
        (np.array([1, 2, 3]), 3),  # integer division differs
    ],
    ids=lambda item: str(getattr(item, "shape", item)),
)
def test_other_constants(value: np.ndarray, axis: int) -> None:
    assert read(Net().right("Mul", value), axis) is None


def test_other_nodes() -> None:
    assert read(Net().relu()) is None
    assert read(Net().right("Pow", np.float32(2))) is None
    assert read(Net().add("Add", DATA)) is None
    assert read(Net().add("Mul", "computed")) is None
    assert read(Net().add_reading("Add", "elsewhere", Net().constant(VALUE))) is None


def batch_norm(first: str = DATA, **attributes: Any) -> Net:
    net = Net()
    weights = ([2, 1, -1], [0.5, 0, 3], [10, 20, 30], [4, 9, 0.25])
    names = [net.constant(np.float32(value)) for value in weights]
    return net.add_reading("BatchNormalization", first, *names, **attributes)


@pytest.mark.parametrize(("attributes", "epsilon"), [({}, 1e-5), ({"epsilon": 0.5}, 0.5)], ids=["default", "given"])
def test_batch_norm(attributes: dict[str, float], epsilon: float) -> None:
    scale = np.array([2, 1, -1]) / np.sqrt(np.array([4, 9, 0.25]) + epsilon)
    affine = read(batch_norm(**attributes))
    assert affine is not None
    np.testing.assert_allclose(affine.scale, scale, rtol=1e-9)
    np.testing.assert_allclose(affine.shift, np.array([0.5, 0, 3]) - np.array([10, 20, 30]) * scale, rtol=1e-7)


def test_batch_norm_of_something_else() -> None:
    assert read(batch_norm("elsewhere")) is None
    assert read(batch_norm(), axis=3) is None
    assert read(batch_norm(training_mode=1)) is None
    computed = batch_norm()
    computed.nodes[0].input[3] = "computed"
    assert read(computed) is None
