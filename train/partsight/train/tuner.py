"""The loop of fine-tuning: epochs, drop guard, best weights, and restart after a kill."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from partsight.runtime.core import FloatArray, TrainingError, progress
from partsight.train.activations import ActivationSource
from partsight.train.checkpoints import Checkpoints, TuneProgress, values
from partsight.train.freeze import BatchNormGuard
from partsight.train.recipe import Recipe
from partsight.train.records import TuneEpoch


@dataclass(frozen=True)
class Imprinter:
    """Keeps the prototypes of a cosine head equal to the golden images' embeddings, as in stage 1.

    The prototypes do not train. If they did, they would learn to separate siblings in place of the backbone. That helps
    neither frames of the line nor parts enrolled later.

    Attributes:
        embedder: A keras.Model from the activation at the cut to embeddings of length 1, (batch, d).
        prototypes: Prototypes of the head, a variable (d, classes).
    """

    embedder: Any
    prototypes: Any

    def imprint(self, goldens: FloatArray) -> None:
        """Set the prototypes from the golden images' activations at the cut, (classes, h, w, c)."""
        self.prototypes.assign(predict(self.embedder, goldens).T)


@dataclass(frozen=True)
class Tuner:
    """Network, data and guard of a fine-tuning.

    Attributes:
        scorer: Compiled keras.Model from the activation at the cut, (batch, h, w, c), to scores, (batch, classes).
        source: Source of the activations.
        recipe: Optimiser, loss and variation.
        epochs: Largest number of epochs.
        seed: Seed of the order of the images.
        stage1_accuracy: Golden accuracy before fine-tuning, in [0, 1].
        guard: Guard over the BatchNormalization layers.
        imprinter: Imprinter of a cosine head; None for a dense head, which trains.
    """

    scorer: Any
    source: ActivationSource
    recipe: Recipe
    epochs: int
    seed: int
    stage1_accuracy: float
    guard: BatchNormGuard
    imprinter: Imprinter | None

    @property
    def floor(self) -> float:
        """Golden accuracy below which training stops."""
        return self.stage1_accuracy - self.recipe.tolerance

    def run(self, checkpoints: Checkpoints) -> TuneProgress:
        """Train until a rule ends the training, and leave the best weights in the network.

        Raises:
            TrainingError: Golden accuracy before the first step is not stage 1's, or a BatchNormalization layer
                changed.
            OutputError: A checkpoint cannot be written.
        """
        optimizer, weights = self.scorer.optimizer, self.scorer.weights
        optimizer.build(self.scorer.trainable_variables)
        variables = [*self.scorer.variables, *optimizer.variables]
        loaded = checkpoints.load(variables, len(weights))
        state, best = loaded or (TuneProgress([self._before()]), [values(weight) for weight in weights])
        while state.stopped is None:
            found, kept = self.epoch(len(state.history))
            if self._judge(state, found):
                best = kept
            checkpoints.save(state, variables, best)
        assign(weights, best)
        return state

    def epoch(self, number: int) -> tuple[TuneEpoch, list[FloatArray]]:
        """Train for one epoch; return its figures and the weights that they belong to."""
        started, weights = time.perf_counter(), self.scorer.weights
        loss = self._train(number)
        raw = [values(weight) for weight in weights]
        if self.recipe.average:  # measure and keep the running average of the weights
            self.scorer.optimizer.finalize_variable_values(self.scorer.trainable_variables)
        self._imprint()
        found = self._measure(number, loss, started)
        kept = [values(weight) for weight in weights]
        assign(weights, raw)
        return found, kept

    def accuracy(self, rows: FloatArray) -> float:
        """Return the share of rows, (classes, h, w, c), that get their own class: row i belongs to class i."""
        return float(np.mean(predict(self.scorer, rows).argmax(axis=1) == np.arange(len(rows))))

    def _before(self) -> TuneEpoch:
        """Measure before the first step, and check that the network is stage 1's."""
        before = self._measure(0, None, time.perf_counter())
        if abs(before.golden_accuracy - self.stage1_accuracy) > self.recipe.tolerance:
            raise TrainingError(
                f"before the first step golden accuracy is {before.golden_accuracy:.4f}; expected stage 1's "
                f"{self.stage1_accuracy:.4f}: the activations belong to another network. Remove the cache folder and "
                "train again"
            )
        return before

    def _train(self, epoch: int) -> float:
        """Train once on every copy and every golden image; return the mean loss."""
        classes, batch = self.source.classes, self.recipe.batch
        items = np.random.default_rng([self.seed, epoch]).permutation(classes * (self.source.copies + 1))
        steps = steps_an_epoch(self.source, self.recipe)
        items = np.resize(items, steps * batch)  # fill the last step with the first items: all steps have one shape
        total = 0.0
        for step in progress(range(steps), steps, f"fine-tuning, epoch {epoch} of {self.epochs}", "step"):
            if step % -(-steps // self.recipe.imprints) == 0:
                self._imprint()
            chosen = items[step * batch : (step + 1) * batch]
            total += float(self.scorer.train_on_batch(self.source.batch(epoch, chosen), chosen % classes))
            if step == 0:
                self.guard.check("in the first step")
            if not math.isfinite(total):
                break
        self.guard.check(f"in epoch {epoch}")
        return total / steps

    def _imprint(self) -> None:
        if self.imprinter is not None:
            self.imprinter.imprint(self.source.goldens)

    def _measure(self, epoch: int, loss: float | None, started: float) -> TuneEpoch:
        golden, held_out = self.accuracy(self.source.goldens), self.accuracy(self.source.held_out)
        rate = 0.0 if epoch == 0 else float(self.scorer.optimizer.learning_rate)
        return TuneEpoch(epoch, loss, golden, held_out, rate, round(time.perf_counter() - started, 2))

    def _judge(self, state: TuneProgress, found: TuneEpoch) -> bool:
        """Add an epoch to the history, apply the stopping rules, and return whether the epoch is the best."""
        state.history.append(found)
        if not self._is_sound(found):
            state.dropped = True
            state.stopped = self._describe_drop(found)
            return False
        held_out = [epoch.held_out_accuracy for epoch in state.history]
        is_best = found.held_out_accuracy >= held_out[state.best_epoch]  # a tie goes to the later epoch
        if is_best:
            state.best_epoch = found.epoch
        if found.epoch >= self.epochs:
            state.stopped = f"fine-tuned for {found.epoch} epochs"
        elif found.epoch - held_out.index(max(held_out)) >= self.recipe.patience:
            state.stopped = f"stopped early: held-out accuracy has not risen for {self.recipe.patience} epochs"
        return is_best

    def _is_sound(self, found: TuneEpoch) -> bool:
        return found.loss is not None and math.isfinite(found.loss) and found.golden_accuracy >= self.floor

    def _describe_drop(self, found: TuneEpoch) -> str:
        return (
            f"stopped by the drop guard in epoch {found.epoch}: golden accuracy {found.golden_accuracy:.4f}, loss "
            f"{found.loss:.4g}; expected at least {self.floor:.4f} (stage 1's {self.stage1_accuracy:.4f} minus "
            f"{self.recipe.tolerance:g}): cut later with --cut, or raise --copies"
        )


def steps_an_epoch(source: ActivationSource, recipe: Recipe) -> int:
    """Return the number of steps in an epoch: one pass over every copy and every golden image."""
    return -(-source.classes * (source.copies + 1) // recipe.batch)


def predict(model: Any, rows: FloatArray) -> FloatArray:
    """Return a model's output for memory-mapped rows, (rows, …); it reads 64 rows at a time."""
    batch = 64
    starts = range(0, len(rows), batch)
    return np.concatenate(
        [model.predict_on_batch(np.asarray(rows[start : start + batch], np.float32)) for start in starts]
    )


def assign(variables: Sequence[Any], arrays: Sequence[FloatArray]) -> None:
    """Set Keras variables to arrays."""
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
