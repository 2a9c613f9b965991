"""Fine-tuning: it starts from stage 1, forgets no golden image, goes on after a kill, and is repeatable."""

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from partsight.runtime.core.errors import TrainingError
from partsight.runtime.images.image_file import read_image
from partsight.runtime.images.preprocessing import preprocess
from partsight.runtime.inference.engine import EMBEDDING_NAME, SCORE_NAME
from partsight.train import finetune as module
from partsight.train.backbones import Backbone, find_backbone
from partsight.train.catalog import read_catalog
from partsight.train.checkpoints import STATE_NAME, Checkpoints
from partsight.train.cuts import inner_network
from partsight.train.finetune import Stage1, Tuned, find_cut, finetune
from partsight.train.fit import fit_head
from partsight.train.freeze import batch_norm_layers, freeze
from partsight.train.heads import find_head
from partsight.train.recipe import Recipe
from partsight.train.run_folder import RunFolder, TrainConfig
from partsight.train.stack import build_extractor, stack, weights_sha256
from partsight.train.trainer import make_deterministic, train
from tests.train.conftest import SPEC
from tests.waiting import HANG_S

PARTS = 6
FULL = TrainConfig(side_px=64, budget="full", copies=2, epochs=3, cut="block1_add")
RECIPE = Recipe(batch=6, average=0.9, patience=9)


class TinyBackbone(Backbone):
    """A stem and three residual blocks, with random weights: what fine-tuning does, it does to them in a second."""

    def build(self, input_hw: tuple[int, int], weights: str) -> Any:  # noqa: ARG002 (always random)
        inputs = keras.Input((*input_hw, 3))
        x = keras.layers.Conv2D(16, 8, 8, name="stem")(inputs)
        for number in range(3):
            shortcut = x
            x = keras.layers.Conv2D(16, 3, padding="same", name=f"block{number}_conv")(x)
            x = keras.layers.BatchNormalization(name=f"block{number}_bn")(x)
            x = keras.layers.ReLU(name=f"block{number}_relu")(x)
            x = keras.layers.Add(name=f"block{number}_add")([shortcut, x])
        return keras.Model(inputs, x, name="tiny")


TINY = TinyBackbone("Tiny", find_backbone("EfficientNetLite0").normalization, 64, "embedded")


@dataclass(frozen=True)
class Trained:
    stage1: Stage1
    tuned: Tuned

    @property
    def model(self) -> Any:
        return stack(self.tuned.extractor, self.stage1.head_model)


def stage1(catalog: Path, head_name: str = "cosine") -> Stage1:
    make_deterministic(0)
    head = find_head(head_name)
    extractor = build_extractor(TINY, "none", head, SPEC)
    goldens = read_catalog(catalog).goldens[:PARTS]
    features = extractor.run(preprocess([read_image(golden.path) for golden in goldens], SPEC))
    model = head.build(features.shape[1], PARTS)
    fit = fit_head(head, model, features, 0.99, 0)
    return Stage1(TINY, extractor, head, model, fit.history[-1].golden_accuracy, goldens)


def run(catalog: Path, folder: Path, config: TrainConfig = FULL, recipe: Recipe = RECIPE) -> Trained:
    start = stage1(catalog)
    return Trained(start, finetune(start, config, folder, recipe))


@pytest.fixture(scope="module")
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `trained` keeps its state. Copy it before changing it."""
    return tmp_path_factory.mktemp("tuning")


@pytest.fixture(scope="module")
def trained(small_catalog: Path, state_folder: Path) -> Trained:
    return run(small_catalog, state_folder)


def test_the_tail_trains_and_nothing_else(trained: Trained, small_catalog: Path) -> None:
    before = inner_network(stage1(small_catalog).extractor.network)
    after = inner_network(trained.tuned.extractor.network)
    changed = {
        new.name
        for old, new in zip(before.layers, after.layers, strict=True)
        if any(not np.array_equal(a, b) for a, b in zip(old.get_weights(), new.get_weights(), strict=True))
    }
    assert changed == {"block2_conv"}


def test_the_record(trained: Trained) -> None:
    record = trained.tuned.record
    assert [epoch.epoch for epoch in record.history] == [0, 1, 2, 3]
    assert record.history[0].loss is None
    assert all(np.isfinite(epoch.loss) for epoch in record.history[1:] if epoch.loss is not None)
    assert record.history[0].golden_accuracy == trained.stage1.golden_accuracy
    assert all(epoch.golden_accuracy >= record.floor for epoch in record.history)
    assert record.floor == pytest.approx(trained.stage1.golden_accuracy - 0.001)
    assert (record.cut, record.copies, record.batch_norm_layers, record.dropped) == ("block1_add", 2, 3, False)
    assert [row.block for row in record.plan if row.trains] == ["block2_add"]
    assert re.findall(r"\d+", record.outcome) == ["3", str(record.best_epoch)]


def test_the_whole_network_knows_its_golden_images(trained: Trained) -> None:
    images = [read_image(golden.path) for golden in trained.stage1.goldens]
    found = trained.model.predict_on_batch(preprocess(images, SPEC))
    assert list(found[SCORE_NAME].argmax(axis=1)) == list(range(PARTS))
    features = trained.tuned.extractor.run(preprocess(images, SPEC))
    np.testing.assert_allclose(features, trained.tuned.features, atol=1e-3)


def test_a_prototype_is_the_golden_image_s_embedding(trained: Trained) -> None:
    """Else a part that is enrolled later, with its own embedding, would not compete on equal terms."""
    images = [read_image(golden.path) for golden in trained.stage1.goldens]
    found = trained.model.predict_on_batch(preprocess(images, SPEC))
    prototypes = np.array(trained.stage1.head_model.get_layer(SCORE_NAME).get_weights()[0])
    np.testing.assert_allclose(prototypes.T, found[EMBEDDING_NAME], atol=1e-4)


def test_the_same_seed_gives_the_same_weights(trained: Trained, small_catalog: Path, tmp_path: Path) -> None:
    again = run(small_catalog, tmp_path)
    assert weights_sha256(again.model) == weights_sha256(trained.model)
    assert [path.name for path in (tmp_path / "tuning").glob("*/*")] == [STATE_NAME]  # only the newest state is kept
    other = run(small_catalog, tmp_path / "other", replace_config(FULL, seed=1))
    assert weights_sha256(other.model) != weights_sha256(trained.model)


def replace_config(config: TrainConfig, **changes: Any) -> TrainConfig:
    return TrainConfig(**{**{name: getattr(config, name) for name in config.__struct_fields__}, **changes})


def test_killed_in_training_it_goes_on_to_the_same_weights(
    trained: Trained, small_catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path\n"
        "from tests.train import test_finetune as tests; from partsight.train.checkpoints import Checkpoints\n"
        "save = Checkpoints.save\n"
        "def save_and_die(self, progress, variables, best):\n"
        "    save(self, progress, variables, best)\n"
        "    if len(progress.history) == 3: os.kill(os.getpid(), getattr(signal, 'SIGKILL', signal.SIGTERM))\n"
        "Checkpoints.save = save_and_die\n"
        "tests.run(Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    command = [sys.executable, "-c", script, str(small_catalog), str(tmp_path)]
    killed = subprocess.run(command, capture_output=True, check=False, cwd=Path(__file__).parents[2], timeout=HANG_S)
    assert killed.returncode != 0
    if sys.platform != "win32":
        assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert [path.name for path in (tmp_path / "tuning").glob("*/*")] == [STATE_NAME]
    steps = count_steps(monkeypatch)
    resumed = run(small_catalog, tmp_path)
    assert len(steps) == 3  # of the last epoch alone: 18 images, 6 a step
    assert weights_sha256(resumed.model) == weights_sha256(trained.model)
    first, second = ([replace_seconds(epoch) for epoch in tuned.tuned.record.history] for tuned in (trained, resumed))
    assert first == second


@pytest.mark.parametrize("damage", [lambda _: b"", lambda data: data[:-400], lambda data: data[:99] + b"?" * 999])
def test_a_damaged_state_is_logged_and_training_begins_again(
    trained: Trained,
    state_folder: Path,
    small_catalog: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[bytes], bytes],
) -> None:
    shutil.copytree(state_folder, tmp_path, dirs_exist_ok=True)
    path = next((tmp_path / "tuning").glob("*/*"))
    path.write_bytes(damage(path.read_bytes()))
    steps = count_steps(monkeypatch)
    again = run(small_catalog, tmp_path)
    assert len(steps) == 9  # of all three epochs
    assert str(path) in caplog.text
    assert weights_sha256(again.model) == weights_sha256(trained.model)


def count_steps(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    steps: list[Any] = []
    original = keras.Model.train_on_batch

    def counted(self: Any, x: Any, y: Any) -> Any:
        steps.append(len(y))
        return original(self, x, y)

    monkeypatch.setattr(keras.Model, "train_on_batch", counted)
    return steps


def replace_seconds(epoch: Any) -> tuple[Any, ...]:
    return (epoch.epoch, epoch.loss, epoch.golden_accuracy, epoch.held_out_accuracy, epoch.learning_rate)


@pytest.mark.parametrize(("head", "learning_rate"), [("dense", 30.0), ("cosine", float("nan"))])
def test_the_drop_guard_restores_what_it_started_from(
    small_catalog: Path, tmp_path: Path, head: str, learning_rate: float
) -> None:
    start = stage1(small_catalog, head)
    before = weights_sha256(stack(start.extractor, start.head_model))
    reckless = replace(RECIPE, learning_rate=learning_rate, warmup_share=0.0, average=0.0)
    tuned = finetune(start, replace_config(FULL, epochs=20), tmp_path, reckless)
    record = tuned.record
    assert record.dropped
    assert len(record.history) < 21
    assert record.best_epoch == 0
    assert "stopped by the drop guard in epoch" in record.outcome
    assert "expected at least 0.9990" in record.outcome
    assert weights_sha256(stack(tuned.extractor, start.head_model)) == before


def test_it_stops_early_when_held_out_copies_are_known_no_better(small_catalog: Path, tmp_path: Path) -> None:
    record = run(small_catalog, tmp_path, replace_config(FULL, epochs=9), replace(RECIPE, patience=2)).tuned.record
    best = max(epoch.held_out_accuracy for epoch in record.history)
    first = next(epoch.epoch for epoch in record.history if epoch.held_out_accuracy == best)
    assert record.history[-1].epoch == first + 2 < 9
    assert record.outcome.startswith("stopped early: held-out accuracy has not risen for 2 epochs")


def test_it_must_start_from_stage_1(small_catalog: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"1\.0000.* 0\.5"):
        finetune(replace(stage1(small_catalog), golden_accuracy=0.5), FULL, tmp_path, RECIPE)


def test_a_flag_set_behind_the_plan_s_back_ends_it_at_the_first_step(
    small_catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sabotaged(model: Any, cut: str, allowed: Any, compile_last: Callable[[], None], held: Any) -> Any:
        plan = freeze(model, cut, allowed, compile_last, held)
        batch_norm_layers(model)[-1].trainable = True
        return plan

    monkeypatch.setattr(module, "freeze", sabotaged)
    steps = count_steps(monkeypatch)
    with pytest.raises(TrainingError, match="block2_bn"):
        run(small_catalog, tmp_path)
    assert len(steps) == 1


def test_a_cut_inside_a_block_is_refused_before_any_work(small_catalog: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"block1_bn.*block1_add"):
        run(small_catalog, tmp_path, replace_config(FULL, cut="block1_bn"))
    assert not list(tmp_path.iterdir())


def test_the_end_of_the_network_is_no_cut_for_a_head_that_does_not_train(small_catalog: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="block2_add"):
        run(small_catalog, tmp_path, replace_config(FULL, cut="block2_add"))
    start = stage1(small_catalog, "dense")
    assert find_cut(TINY, start.extractor, start.head, "block2_add") == "block2_add"


def test_a_dense_head_trains_with_the_backbone(small_catalog: Path, tmp_path: Path) -> None:
    start = stage1(small_catalog, "dense")
    before = [np.array(weight) for weight in start.head_model.get_weights()]
    record = finetune(start, replace_config(FULL, epochs=1), tmp_path, replace(RECIPE, learning_rate=1e-5)).record
    assert record.history[-1].golden_accuracy >= record.floor
    assert any(not np.array_equal(a, b) for a, b in zip(before, start.head_model.get_weights(), strict=True))


def test_fresh_variation_needs_no_cached_copies(small_catalog: Path, tmp_path: Path) -> None:
    record = run(small_catalog, tmp_path, replace_config(FULL, epochs=1, fresh_variation=True)).tuned.record
    assert record.copies == 2
    assert sorted(path.name for path in tmp_path.rglob("*.npy")) == ["golden.npy", "held_out.npy"]


def test_a_full_run_from_catalogue_to_run_folder(small_catalog: Path, small_run: RunFolder, tmp_path: Path) -> None:
    finished = train(small_catalog, tmp_path / "run", replace_config(FULL, epochs=1, cut="b14_add"))
    record = RunFolder.read(tmp_path / "run").record
    assert record == finished.record
    assert record.tuning is not None
    assert small_run.record.tuning is None
    assert record.golden_accuracy == 1
    assert record.outcome.endswith(record.tuning.outcome)
    assert record.weights_sha256 != small_run.record.weights_sha256
    model = finished.load_model()
    assert weights_sha256(model) == record.weights_sha256
    images = [read_image(golden.path) for golden in read_catalog(small_catalog).goldens]
    scores = model.predict_on_batch(preprocess(images, record.preprocess))[SCORE_NAME]
    np.testing.assert_allclose(scores.max(axis=1), [golden.score for golden in record.goldens], atol=1e-4)


def test_a_checkpoint_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "nothing").load([], 0) is None
