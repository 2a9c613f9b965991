"""The freeze plan: where a network may be cut, what trains, and BatchNormalization that stays as it was."""

from typing import Any

import keras
import numpy as np
import pytest

from partsight.runtime.core.errors import TrainingError
from partsight.train.backbones import find_backbone
from partsight.train.cuts import boundaries, check_cut, cuts_that_train, find_network, inner_network, split
from partsight.train.features import Extractor
from partsight.train.freeze import BatchNormGuard, batch_norm_layers, freeze
from partsight.train.heads import find_head
from partsight.train.stack import build_extractor, stack
from tests.train.conftest import SPEC

BLOCKS = ("stem_bn", "block1_add", "block2_add")


def residual_network() -> Any:
    """Two residual blocks, the second without BatchNormalization before its end."""
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same", name="stem")(inputs)
    x = keras.layers.BatchNormalization(name="stem_bn")(x)
    for number in (1, 2):
        shortcut = x
        x = keras.layers.Conv2D(4, 3, padding="same", name=f"block{number}_conv")(x)
        x = keras.layers.BatchNormalization(name=f"block{number}_bn")(x)
        x = keras.layers.Add(name=f"block{number}_add")([shortcut, x])
    return keras.Model(inputs, x, name="backbone")


def nested_model(network: Any) -> Any:
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(2.0, name="before")(inputs)
    return keras.Model(inputs, _head(network(x)))


def flat_model(network: Any) -> Any:
    return keras.Model(network.input, _head(network.output))


def _head(x: Any) -> Any:
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.layers.Dense(2, activation="softmax", name="score")(x)


def compile_model(model: Any) -> None:
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")


def train_step(model: Any) -> None:
    rng = np.random.default_rng(0)
    model.train_on_batch(rng.normal(3, 2, (8, 8, 8, 3)).astype(np.float32), np.arange(8) % 2)


def test_boundaries_are_the_places_that_one_tensor_crosses() -> None:
    assert boundaries(residual_network()) == ("stem", "stem_bn", "block1_add", "block2_add")


@pytest.mark.parametrize(
    ("name", "side", "first", "last", "count"),
    [
        ("EfficientNetLite0", 32, "b0_project_bn", "b15_project_bn", 16),
        ("InceptionV3", 75, "mixed0", "mixed10", 11),
        ("VGG16", 32, "block1_pool", "block5_pool", 5),
        ("EfficientNetV2B0", 32, "block1a_project_activation", "block6h_add", 21),
    ],
)
def test_families_are_cut_at_the_ends_of_their_blocks(name: str, side: int, first: str, last: str, count: int) -> None:
    backbone = find_backbone(name)
    cuts = backbone.cuts(backbone.build((side, side), "none"))
    assert (cuts[0], cuts[-1], len(cuts)) == (first, last, count)


@pytest.mark.parametrize("cut", ["block1_conv", "block1_bn", "no_such_layer", "stem"])
def test_a_cut_inside_a_block_is_refused(cut: str) -> None:
    model = flat_model(residual_network())
    with pytest.raises(TrainingError, match=f"{cut}.*stem_bn, block1_add, block2_add"):
        freeze(model, cut, BLOCKS, lambda: compile_model(model))


def test_without_a_wish_three_quarters_of_the_network_are_frozen() -> None:
    assert check_cut(None, [f"b{number}" for number in range(16)]) == "b12"
    with pytest.raises(TrainingError):
        check_cut(None, [])


def test_a_cut_after_which_nothing_trains_is_not_offered() -> None:
    useful = cuts_that_train(residual_network(), BLOCKS)
    assert useful == BLOCKS[:-1]
    with pytest.raises(TrainingError, match=r"block2_add.*stem_bn, block1_add"):
        check_cut("block2_add", BLOCKS, useful)
    assert check_cut(None, BLOCKS) == "block2_add"
    assert check_cut(None, BLOCKS, useful) == "block1_add"
    with pytest.raises(TrainingError, match="--budget quick"):
        check_cut(None, BLOCKS, cuts_that_train(residual_network(), BLOCKS[-1:]))


def test_batch_norm_after_a_cut_does_not_train() -> None:
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
    network = keras.Model(inputs, keras.layers.ReLU()(keras.layers.BatchNormalization(name="bn")(x)))
    assert cuts_that_train(network, ("conv", "bn")) == ()


@pytest.mark.parametrize("wrap", [nested_model, flat_model])
@pytest.mark.parametrize("cut", BLOCKS)
def test_trunk_and_tail_together_are_the_network(wrap: Any, cut: str) -> None:
    model = wrap(residual_network())
    parts = split(model, cut)
    images = np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype(np.float32)
    expected = model.predict_on_batch(images)
    np.testing.assert_allclose(parts.tail.predict_on_batch(parts.trunk.predict_on_batch(images)), expected, atol=1e-6)


def test_every_cut_of_the_default_backbone(extractor: Extractor) -> None:
    network = inner_network(extractor.network)
    frames = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    expected = extractor.network(frames, training=False)  # without a graph for each part, which takes a second
    for cut in find_backbone("EfficientNetLite0").cuts(network)[::3]:
        parts = split(extractor.network, cut)
        found = parts.tail(parts.trunk(frames, training=False), training=False)
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_network_of_a_layer_is_found_at_any_depth() -> None:
    network = residual_network()
    assert find_network(nested_model(network), "block1_add") is network
    with pytest.raises(TrainingError):
        find_network(network, "elsewhere")


@pytest.mark.parametrize("wrap", [nested_model, flat_model])
@pytest.mark.parametrize("toggle", [True, False, None])
def test_layers_after_the_cut_train_whatever_was_set_before(wrap: Any, toggle: bool | None) -> None:
    network = residual_network()
    model = wrap(network)
    if toggle is not None:
        network.trainable = not toggle
        model.trainable = toggle
    plan = freeze(model, "block1_add", BLOCKS, lambda: compile_model(model))
    kernels = {weight.path.split("/")[-2] for weight in model.trainable_weights}
    assert kernels == {"block2_conv", "score"}
    assert [(row.block, row.trains) for row in plan.rows] == [
        ("stem_bn", False), ("block1_add", False), ("block2_add", True), ("features and head", True),
    ]  # fmt: skip
    assert plan.batch_norms == ("stem_bn", "block1_bn", "block2_bn")


def test_the_plan_counts_every_parameter_and_prints() -> None:
    model = nested_model(residual_network())
    plan = freeze(model, "stem_bn", BLOCKS, lambda: compile_model(model))
    assert sum(row.parameters for row in plan.rows) == model.count_params()
    lines = plan.table().splitlines()
    assert len(lines) == 1 + len(plan.rows) + 1
    assert lines[1].split() == ["stem_bn", "3", "128", "no"]
    assert lines[-1].startswith("3 BatchNormalization layers")


def test_compiling_is_last() -> None:
    model = nested_model(residual_network())
    seen: list[tuple[bool, ...]] = []
    freeze(model, "block1_add", BLOCKS, lambda: seen.append(_flags(model)))
    assert seen == [_flags(model)]


def _flags(model: Any) -> tuple[bool, ...]:
    return tuple(layer.trainable for layer in model._flatten_layers())


@pytest.mark.parametrize("wrap", [nested_model, flat_model])
def test_a_step_leaves_batch_norm_as_it_was(wrap: Any) -> None:
    model = wrap(residual_network())
    freeze(model, "stem_bn", BLOCKS, lambda: compile_model(model))
    guard = BatchNormGuard.of(model)
    before = [np.array(weight) for weight in model.get_weights()]
    train_step(model)
    guard.check("in the first step")
    assert any(not np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("wrap", [nested_model, flat_model])
def test_a_flag_that_is_set_after_the_freeze_is_found_out(wrap: Any) -> None:
    model = wrap(residual_network())
    freeze(model, "stem_bn", BLOCKS, lambda: compile_model(model))
    guard = BatchNormGuard.of(model)
    model.trainable = False
    model.trainable = True  # re-enables every child
    compile_model(model)
    train_step(model)
    with pytest.raises(TrainingError, match="stem_bn"):
        guard.check("in the first step")


def test_one_layer_toggled_after_the_freeze_is_named() -> None:
    model = nested_model(residual_network())
    freeze(model, "stem_bn", BLOCKS, lambda: compile_model(model))
    guard = BatchNormGuard.of(model)
    next(layer for layer in batch_norm_layers(model) if layer.name == "block2_bn").trainable = True
    train_step(model)
    with pytest.raises(TrainingError, match="block2_bn"):
        guard.check("in the first step")


def test_the_stacked_default_network(extractor: Extractor) -> None:
    head = find_head("cosine").build(1280, 3)
    model = stack(build_extractor(find_backbone("EfficientNetLite0"), "none", find_head("cosine"), SPEC), head)
    cuts = find_backbone("EfficientNetLite0").cuts(inner_network(extractor.network))
    plan = freeze(model, "b10_add", cuts, lambda: None)
    assert len(plan.batch_norms) == 49
    assert [row.block for row in plan.rows if row.trains] == [*cuts[11:], "features and head"]
