import zipfile
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from partsight.runtime.core.errors import TrainingError
from partsight.train.lite0 import EMBEDDED_WEIGHTS, build_lite0

EMBEDDED = resources.files("partsight.train") / "weights" / EMBEDDED_WEIGHTS
TRAINABLE = 4_652_008 - 1_281_000
"""Of the published network, without its classifier of 1,280 × 1,000 weights and 1,000 biases."""


@pytest.fixture(scope="module")
def network() -> Any:
    return build_lite0((64, 64), "embedded")


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    with EMBEDDED.open("rb") as file, np.load(file) as found:
        return {key: found[key].astype(np.float64) for key in found.files}


def test_size_of_the_published_network(network: Any) -> None:
    assert sum(int(np.prod(weight.shape)) for weight in network.trainable_weights) == TRAINABLE


@pytest.mark.parametrize(("height", "width"), [(64, 64), (224, 224), (150, 96)])
def test_shape(height: int, width: int) -> None:
    network = build_lite0((height, width), None)
    assert network.input_shape == (None, height, width, 3)
    assert network.output_shape == (None, -(-height // 32), -(-width // 32), 1280)


def test_features_are_finite_and_differ(network: Any) -> None:
    images = np.random.default_rng(1).uniform(-1, 1, (3, 64, 64, 3)).astype(np.float32)
    features = network.predict_on_batch(images)
    assert features.shape == (3, 2, 2, 1280)
    assert np.isfinite(features).all()
    assert (features >= 0).all() and (features <= 6).all()  # ReLU6
    assert (features > 0).mean() > 0.05
    assert np.abs(features[0] - features[1]).max() > 0.1


def test_every_embedded_array_is_used(network: Any, arrays: dict[str, np.ndarray]) -> None:
    taken = sum(int(np.prod(weight.shape)) for weight in network.weights)
    backbone = {key: value for key, value in arrays.items() if not key.startswith(("classifier", "top", "fc"))}
    assert taken == sum(value.size for value in backbone.values())
    assert all(np.isfinite(value).all() for value in arrays.values())


def test_batch_normalization(network: Any, arrays: dict[str, np.ndarray]) -> None:
    layers = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {layer.epsilon for layer in layers} == {1e-3}
    for layer in layers:
        block = layer.name.removesuffix("_bn")
        np.testing.assert_allclose(layer.gamma, arrays[f"{block}/bn_gamma"], rtol=1e-6)
        np.testing.assert_allclose(layer.moving_variance, arrays[f"{block}/bn_moving_variance"], rtol=1e-6)


def test_stem_by_hand(network: Any, arrays: dict[str, np.ndarray]) -> None:
    """Symmetric padding, stride 2, statistics and epsilon, ReLU6: in NumPy."""
    image = np.random.default_rng(2).uniform(-1, 1, (64, 64, 3)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(image, ((1, 1), (1, 1), (0, 0))), (3, 3), axis=(0, 1))
    convolved = np.einsum("hwcij,ijco->hwo", windows[::2, ::2].astype(np.float64), arrays["stem/kernel"])
    gamma, beta, mean, variance = (
        arrays[f"stem/bn_{name}"] for name in ("gamma", "beta", "moving_mean", "moving_variance")
    )
    expected = np.clip((convolved - mean) / np.sqrt(variance + 1e-3) * gamma + beta, 0, 6)
    stem = keras.Model(network.input, network.get_layer("stem_relu").output)
    np.testing.assert_allclose(stem.predict_on_batch(image[None])[0], expected, rtol=0, atol=1e-4)


def test_random_weights() -> None:
    keras.utils.set_random_seed(1)
    first = build_lite0((32, 32), None).get_weights()
    second = build_lite0((32, 32), None).get_weights()
    assert any(not np.array_equal(one, two) for one, two in zip(first, second, strict=True))


def test_npz_of_the_same_layout(network: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    path.write_bytes(EMBEDDED.read_bytes())
    for expected, found in zip(network.get_weights(), build_lite0((32, 32), path).get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_weights_of_keras(network: Any, tmp_path: Path) -> None:
    network.save_weights(tmp_path / "mine.weights.h5")
    again = build_lite0((32, 32), str(tmp_path / "mine.weights.h5"))
    for expected, found in zip(network.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def write_truncated(path: Path) -> None:
    whole = EMBEDDED.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def write_with_one_bit_flipped(path: Path) -> None:
    whole = bytearray(EMBEDDED.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)


def write_one_array(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(3))


def write_with_an_array_missing(path: Path) -> None:
    with EMBEDDED.open("rb") as source, zipfile.ZipFile(source) as whole, zipfile.ZipFile(path, "w") as part:
        for name in whole.namelist():
            if name != "b3_dw/kernel.npy":
                part.writestr(name, whole.read(name))


def write_with_an_array_of_another_shape(path: Path) -> None:
    with EMBEDDED.open("rb") as source, np.load(source) as found:
        np.savez(path, **{**found, "stem/kernel": np.zeros((5, 5, 3, 32), np.float16)})


@pytest.mark.parametrize(
    "write",
    [
        Path.touch,
        lambda path: path.write_text("no weights"),
        lambda path: path.write_bytes(b"PK\x03\x04"),
        lambda path: np.savez(path, something=np.zeros(3)),
        write_truncated,
        write_with_one_bit_flipped,
        write_one_array,
        write_with_an_array_missing,
        write_with_an_array_of_another_shape,
    ],
    ids=["empty", "text", "no zip", "other arrays", "truncated", "one bit", "one array", "missing", "shape"],
)
def test_wrong_weights(tmp_path: Path, write: Callable[[Path], object]) -> None:
    path = tmp_path / "wrong.npz"
    write(path)
    with pytest.raises(TrainingError, match=r"wrong\.npz"):
        build_lite0((32, 32), path)
