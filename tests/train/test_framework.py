"""Keras as partsight needs it, whatever another project on the machine has set."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partsight.export.exporter import export
from partsight.runtime.core.errors import CatalogError, TrainingError
from partsight.train.framework import keras, keras_settings
from partsight.train.layers import CenteredUnit, CosineSimilarity
from partsight.train.run_folder import RunFolder, TrainConfig
from partsight.train.trainer import train

STAND_IN = """
import os
if os.path.exists(os.path.join(os.environ["KERAS_HOME"], "keras.json")):
    raise ValueError("Invalid `floatx` configuration")
if "KERAS_MAX_EPOCHS" in os.environ:
    raise ValueError("invalid literal for int()")
ops, backend = None, os.environ["KERAS_BACKEND"]
"""

PROGRAM = """
import os
from partsight.train.framework import keras
after = [os.environ[name] for name in ("KERAS_BACKEND", "KERAS_MAX_EPOCHS", "KERAS_HOME")]
print(keras.backend, *map(os.path.basename, after))
"""


def settings() -> tuple[object, ...]:
    config = keras.config
    return (config.floatx(), config.epsilon(), config.image_data_format(), config.dtype_policy().name,
            config.max_epochs(), config.max_steps_per_epoch())  # fmt: skip


OWN = ("float32", 1e-7, "channels_last", "float32", None, None)


@pytest.fixture
def foreign() -> Iterator[tuple[object, ...]]:
    """A program that embeds partsight has settings of its own."""
    with keras_settings():
        keras.config.set_floatx("float16")
        keras.config.set_epsilon(0.1)
        keras.config.set_image_data_format("channels_first")
        keras.config.set_dtype_policy("mixed_float16")
        keras.config.set_max_epochs(1)
        keras.config.set_max_steps_per_epoch(2)
        yield ("float16", 0.1, "channels_first", "mixed_float16", 1, 2)


@pytest.mark.parametrize("is_damaged", [False, True])
def test_keras_is_imported_with_tensorflow(tmp_path: Path, is_damaged: bool) -> None:
    """A stand-in for Keras, as importing TensorFlow takes long."""
    (tmp_path / "keras.py").write_text(STAND_IN)
    (tmp_path / "tensorflow.py").touch()
    home = tmp_path / "home"
    home.mkdir()
    if is_damaged:
        (home / "keras.json").write_text('{"floatx": "bfloat16"}')
    paths = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    variables = {"PYTHONPATH": paths, "KERAS_BACKEND": "jax", "KERAS_HOME": str(home), "KERAS_MAX_EPOCHS": "many"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=os.environ | variables, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("tensorflow jax many home\n", "")
    assert sorted(path.name for path in home.iterdir()) == (["keras.json"] if is_damaged else [])


def test_settings_are_partsights_in_the_block_alone(foreign: tuple[object, ...]) -> None:
    assert settings() == foreign
    with keras_settings():
        assert settings() == OWN
    assert settings() == foreign


def test_training_has_its_own_settings(
    foreign: tuple[object, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = []

    def read(*_: object) -> Any:
        found.append(settings())
        raise CatalogError("enough")

    monkeypatch.setattr("partsight.train.trainer.read_catalog", read)
    with pytest.raises(CatalogError):
        train(tmp_path, tmp_path / "run", TrainConfig())
    assert found == [OWN]
    assert settings() == foreign


def test_a_run_is_loaded_with_the_same_settings(foreign: tuple[object, ...], small_run: RunFolder) -> None:
    model = small_run.load_model()
    assert model.compute_dtype == "float32"
    assert settings() == foreign


def test_layers_keep_their_epsilon_in_a_program_with_another(foreign: tuple[object, ...]) -> None:
    """0.1 would leave short features short: other scores than in training."""
    with keras_settings():
        layers = CenteredUnit(), CosineSimilarity(1)
        layers[0].build((None, 2))
        layers[1].build((None, 2))
        layers[1].prototypes.assign(np.array([[1e-3], [0.0]]))
        keras.config.set_epsilon(0.1)
        (score,) = np.asarray(layers[1](layers[0](np.array([[1e-3, 0.0]], np.float32))))
    assert score == pytest.approx(1.0)


def test_another_backend_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(TrainingError, match="'jax'"):
        train(tmp_path, tmp_path / "run", TrainConfig())
    with pytest.raises(TrainingError, match="'jax'"):
        export(tmp_path, tmp_path / "package")
