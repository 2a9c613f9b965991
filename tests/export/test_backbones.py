"""Every backbone, with random BatchNormalization statistics, through ONNX Runtime as through Keras."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from partsight.export.conversion import convert
from partsight.runtime.images.preprocessing import PreprocessSpec, preprocess
from partsight.runtime.inference.session import Session
from partsight.runtime.package.onnx_file import check_onnx
from partsight.train.backbones import find_backbone
from partsight.train.catalog import read_catalog
from partsight.train.heads import find_head
from partsight.train.stack import build_extractor, stack

# Name, input side, whether BatchNormalization stands before an activation somewhere.
_QUICK = [("EfficientNetLite0", 64, False)]
_LONG = [
    ("ResNet50V2", 64, True),
    ("MobileNetV2", 64, False),
    ("InceptionV3", 96, False),
    ("VGG16", 64, False),
    ("ResNet50", 64, False),
    ("MobileNetV3Small", 64, False),
    ("EfficientNetB0", 64, False),
    ("EfficientNetV2B0", 64, False),
    ("DenseNet121", 64, True),
    ("Xception", 96, False),
]


@pytest.mark.parametrize(
    ("name", "side", "is_pre_activation"),
    [*_QUICK, *(pytest.param(*case, marks=pytest.mark.long) for case in _LONG)],
)
def test_answers_as_keras_does(name: str, side: int, is_pre_activation: bool, small_catalog: Path) -> None:
    network, batch = random_network(name, side, small_catalog)
    converted = convert(network)
    data = converted.model.SerializeToString()
    check_onnx(data, name)  # as the line does
    session = Session(data)
    expected = network.predict_on_batch(batch)
    found = session.run(batch)
    difference = float(np.abs(expected["score"] - found.score).max())
    summary = converted.summary
    print(f"{name}: score difference {difference:.1e}, folded {summary.folded}, affine left {summary.affine_left}")
    assert (expected["score"].argmax(axis=1) == found.score.argmax(axis=1)).all()
    assert len(set(found.score.argmax(axis=1))) == len(batch)
    assert difference <= 1e-4
    assert np.abs(expected["embedding"] - found.embedding).max() <= 1e-4
    assert summary.batch_norm_left == summary.foldable_left == 0
    assert (summary.affine_left > 0) == is_pre_activation
    assert summary.is_input_folded
    for size in (1, 5):
        assert np.abs(session.run(batch[:size]).score - found.score[:size]).max() <= 1e-4


def random_network(name: str, side: int, catalog_folder: Path) -> tuple[Any, np.ndarray]:
    """Return a stacked model with random weights and statistics, and its golden images."""
    keras.utils.set_random_seed(3)
    rng = np.random.default_rng(3)
    spec = PreprocessSpec(height=side, width=side)
    batch = preprocess(read_catalog(catalog_folder).images[:], spec)
    head = find_head("cosine")
    extractor = build_extractor(find_backbone(name), "none", head, spec)
    randomise_statistics(extractor.network, batch, rng)
    features = extractor.network.predict_on_batch(batch)
    assert np.isfinite(features).all()
    head_model = head.build(features.shape[1], len(batch))
    head.initialise(head_model, features)
    return stack(extractor, head_model), batch


def randomise_statistics(network: Any, batch: np.ndarray, rng: np.random.Generator) -> None:
    """Give every BatchNormalization random weights around the statistics that keep a random network alive.

    With arbitrary statistics a random deep network answers the same to every image, and a test would compare rounding
    errors.
    """
    backbone = next(layer for layer in network.layers if isinstance(layer, keras.Model))
    norms = [layer for layer in backbone.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in norms:
        layer.trainable, layer.momentum = True, 0.0
        # This precedes the statistics; otherwise the scales would multiply from layer to layer.
        _set(layer, "gamma", rng.uniform(0.8, 1.25, layer.moving_mean.shape))
        _set(layer, "beta", rng.uniform(-0.2, 0.2, layer.moving_mean.shape))
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0  # otherwise the statistics would differ from those at inference
    network(batch, training=True)
    for layer in norms:
        layer.trainable = False
        mean, variance = np.asarray(layer.moving_mean), np.asarray(layer.moving_variance) + 1e-3
        _set(layer, "moving_mean", mean + rng.normal(0, 0.1, mean.shape) * np.sqrt(variance))
        _set(layer, "moving_variance", variance * rng.uniform(0.8, 1.25, mean.shape))


def _set(layer: Any, name: str, value: np.ndarray) -> None:
    variable = getattr(layer, name)
    if variable is not None:  # InceptionV3 has no gamma
        variable.assign(value.astype(np.float32))
