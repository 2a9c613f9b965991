import os
import re
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from partsight.runtime.core.errors import TrainingError
from partsight.train.backbones import backbone_names, find_backbone
from partsight.train.cuts import describe
from partsight.train.layers import FrameNormalization

NAMED = ["InceptionV3", "VGG16", "ResNet50", "ResNet50V2", "MobileNetV2", "DenseNet121", "Xception"]


def frames() -> np.ndarray:
    """uint8 BGR with 0 and 255 in every channel."""
    batch = np.random.default_rng(1).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    batch[0, 0, :2] = [[0, 0, 0], [255, 255, 255]]
    return batch


def normalised(name: str, batch: np.ndarray) -> np.ndarray:
    normalization = find_backbone(name).normalization
    layer = FrameNormalization(normalization.order, normalization.mean, normalization.scale)
    return np.asarray(layer(batch))


def kerass_own(name: str) -> Any:
    """Return Keras' `preprocess_input` of a model."""
    return sys.modules[getattr(keras.applications, name).__module__].preprocess_input


def test_every_name_of_the_readme_is_known() -> None:
    names = backbone_names()
    assert names[0] == "EfficientNetLite0"
    assert {*NAMED, "MobileNetV3Small", "EfficientNetB0", "EfficientNetV2B0"} <= set(names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", [*NAMED, *sorted(set(backbone_names()[1:]) - set(NAMED))])
def test_normalisation_equals_kerass_own(name: str) -> None:
    batch = frames()
    rgb = batch[..., ::-1].astype(np.float32)
    np.testing.assert_allclose(normalised(name, batch), kerass_own(name)(rgb.copy()), rtol=0, atol=1e-4)


def test_normalisation_of_lite0() -> None:
    batch = frames()
    expected = (batch[..., ::-1].astype(np.float64) - 127) / 128
    np.testing.assert_allclose(normalised("EfficientNetLite0", batch), expected, rtol=0, atol=1e-6)


def test_normalisation_survives_its_configuration() -> None:
    layer = FrameNormalization("rgb", (1, 2, 3), (0.5, 0.25, 2))
    again = FrameNormalization.from_config(layer.get_config())
    np.testing.assert_array_equal(layer(frames()), again(frames()))


def test_every_model_of_keras_has_a_normalisation() -> None:
    """A new family in a new Keras must be entered by hand, or `any keras.applications model` would not be true."""
    models = {name for name, value in vars(keras.applications).items() if callable(value) and name[0].isupper()}
    refused = {name for name in models if name.startswith("ConvNeXt")}
    assert models - refused == set(backbone_names()) - {"EfficientNetLite0"}


@pytest.mark.parametrize("name", ["ConvNeXtTiny", "ConvNeXtXLarge"])
def test_a_backbone_that_could_never_be_exported(name: str) -> None:
    with pytest.raises(TrainingError, match=name):
        find_backbone(name)


@pytest.mark.parametrize(("name", "side"), [("EfficientNetLite0", 224), ("InceptionV3", 150), ("VGG16", 150)])
def test_default_sides(name: str, side: int) -> None:
    backbone = find_backbone(name)
    assert backbone.name == name
    assert backbone.side_px == side


def test_default_weights() -> None:
    assert find_backbone("EfficientNetLite0").default_weights == "embedded"
    assert {find_backbone(name).default_weights for name in NAMED} == {"imagenet"}


@pytest.mark.parametrize("name", ["", "Inception", "inceptionv3", "vgg16", "ResNet", "EfficientNetLite1", "keras"])
def test_unknown_backbone(name: str) -> None:
    with pytest.raises(TrainingError, match=rf"'{name}'.* EfficientNetLite0, .*Xc"):
        find_backbone(name)


@pytest.mark.parametrize(
    ("name", "weights", "expected"),
    [
        ("VGG16", "embedded", "'embedded'.*imagenet, none"),
        ("EfficientNetLite0", "imagenet", "'imagenet'.*embedded, none"),
        ("VGG16", "nowhere.h5", r"'nowhere\.h5'.*imagenet, none"),
        ("EfficientNetLite0", "nowhere.npz", r"'nowhere\.npz'.*embedded, none"),
        ("EfficientNetLite0", "", "''"),
    ],
)
def test_weights_that_there_are_not(name: str, weights: str, expected: str) -> None:
    with pytest.raises(TrainingError, match=expected):
        find_backbone(name).build((64, 64), weights)


def test_weights_in_a_folder_that_one_may_not_look_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, weights = os.stat, str(tmp_path / "mine.weights.h5")

    def refuse(path: object, *args: object, **options: object) -> object:
        if str(path) == weights:
            raise PermissionError(13, "Permission denied", weights)
        return real(path, *args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "stat", refuse)
    with pytest.raises(TrainingError, match=re.escape(weights)):
        find_backbone("VGG16").build((64, 64), weights)


def test_weights_of_a_file(tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    backbone = find_backbone("MobileNetV2")
    network = backbone.build((64, 96), "none")
    assert network.input_shape == (None, 64, 96, 3)
    assert network.output_shape == (None, 2, 3, 1280)
    network.save_weights(tmp_path / "mine.weights.h5")
    again = backbone.build((32, 32), str(tmp_path / "mine.weights.h5"))
    for expected, found in zip(network.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


_ONE_OF_EACH_FAMILY = [
    *("DenseNet121", "EfficientNetB0", "EfficientNetV2B0", "EfficientNetV2S", "InceptionResNetV2", "InceptionV3"),
    *("MobileNetV2", "MobileNetV3Small", "NASNetMobile", "ResNet50", "ResNet50V2", "VGG16", "VGG19", "Xception"),
]


@pytest.mark.filterwarnings("ignore")  # Keras warns about the input's size
@pytest.mark.parametrize(
    "name", ["MobileNet", *(pytest.param(name, marks=pytest.mark.long) for name in _ONE_OF_EACH_FAMILY)]
)
def test_a_file_gives_the_network_that_imagenet_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Keras builds some networks differently for `imagenet`, though the weights are the same."""
    constructor, weights = getattr(keras.applications, name), str(tmp_path / "notop.weights.h5")
    constructor(include_top=False, weights=None, input_shape=(96, 96, 3)).save_weights(weights)
    monkeypatch.setattr(sys.modules["keras.src.utils.file_utils"], "get_file", lambda *_, **__: weights)
    imagenet, file, random = (find_backbone(name).build((96, 96), source) for source in ("imagenet", weights, "none"))
    assert describe(file) == describe(imagenet) == describe(random)
    for expected, found in zip(imagenet.get_weights(), file.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.filterwarnings("ignore")  # Keras warns about missing weights
def test_weights_of_another_network(tmp_path: Path) -> None:
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]).save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(TrainingError, match=r"MobileNetV2.*other\.weights\.h5.*64×64"):
        find_backbone("MobileNetV2").build((64, 64), str(tmp_path / "other.weights.h5"))


@pytest.mark.parametrize("name", ["text.h5", "text.weights.h5", "text.keras", "text"])
def test_file_that_holds_no_weights(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("no weights")
    with pytest.raises(TrainingError, match=rf"MobileNetV2.*{name}"):
        find_backbone("MobileNetV2").build((64, 64), str(tmp_path / name))


def test_input_that_is_too_small() -> None:
    with pytest.raises(TrainingError, match=r"InceptionV3.*64×64.* 75"):
        find_backbone("InceptionV3").build((64, 64), "none")


def test_weights_that_cannot_be_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_internet(*args: Any, **options: Any) -> Any:
        raise Exception("URL fetch failure")  # as Keras does

    monkeypatch.setattr(keras.applications, "MobileNetV2", no_internet)
    with pytest.raises(TrainingError, match=r"URL fetch failure.*--weights.*EfficientNetLite0"):
        find_backbone("MobileNetV2").build((64, 64), "imagenet")
