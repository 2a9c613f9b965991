"""Variants of fine-tuning: three common mistakes, partsight's method, and partsight's freeze plan alone."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accuracy.drop_start import Start
from partsight.runtime.core import FloatArray, Pixels, progress
from partsight.runtime.inference import EMBEDDING_NAME, SCORE_NAME
from partsight.train.activations import IndexArray
from partsight.train.checkpoints import Checkpoints
from partsight.train.cuts import inner_network, layers_in_order, split
from partsight.train.framework import keras, ops
from partsight.train.freeze import BatchNormGuard, batch_norm_layers, freeze
from partsight.train.layers import FrameNormalization
from partsight.train.stack import stack
from partsight.train.tuner import Imprinter, Tuner, predict


@dataclass(frozen=True)
class Point:
    """The state of a variant after a number of steps.

    Attributes:
        step: Number of steps taken.
        epoch: The same number in epochs.
        printed: Training-mode accuracy since the start of the epoch, as Keras' `fit` prints it.
        golden: Share of golden images recognised in inference mode, as on a line.
    """

    step: int
    epoch: float
    printed: float
    golden: float


@dataclass(frozen=True)
class TuningCourse:
    """Course of a variant.

    Attributes:
        points: Points in order, the first before any step.
        left: Share of golden images recognised with the final weights, in inference mode.
        held_out: Share of varied copies recognised with the final weights, in inference mode.
        moved, statistics: Number of moving means and variances that changed, and number of all.
        trained: Number of weights that the optimiser changed.
        outcome: Reason why it ended.
    """

    points: tuple[Point, ...]
    left: float
    held_out: float
    moved: int
    statistics: int
    trained: int
    outcome: str


class OldBatchNormalization(keras.layers.BatchNormalization):
    """BatchNormalization of Keras before TensorFlow 2: in training it uses the batch's statistics even if frozen.

    Freezing only protected its variables (keras-team/keras#9965).
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise (batch, …, channels)."""
        if not training or self.trainable:
            return super().call(inputs, training=training, mask=mask)
        mean, variance = ops.moments(inputs, axes=self._reduction_axes)
        return ops.batch_normalization(inputs, mean, variance, self.axis, self.beta, self.gamma, self.epsilon)


def on_batch_statistics(start: Start) -> Any:
    """(a) Freeze every BatchNormalization; each still normalises with the batch's statistics."""
    network = _copy(start, OldBatchNormalization)
    model = _assemble(start, network)
    _train_last_blocks(start, network)
    for layer in batch_norm_layers(model):
        layer.trainable = False
    return model


def with_training_false(start: Start) -> Any:
    """(b) Call `base(x, training=False)` and set `trainable` of the last blocks, as guides advise today."""
    network = _copy(start, keras.layers.BatchNormalization)
    model = _assemble(start, network, training=False)
    _train_last_blocks(start, network)
    return model


def toggled_afterwards(start: Start) -> Any:
    """(c) Use partsight's freeze plan, then set the parent's flag to False and back to True."""
    network = _copy(start, keras.layers.BatchNormalization)
    model = _assemble(start, network)
    freeze(model, start.cut, start.allowed, lambda: None)
    model.trainable = False
    model.trainable = True
    return model


def plan_alone(start: Start) -> Any:
    """(p) Use partsight's freeze plan, but not its recipe."""
    network = _copy(start, keras.layers.BatchNormalization)
    model = _assemble(start, network)
    freeze(model, start.cut, start.allowed, lambda: None)
    return model


def _copy(start: Start, batch_norm: type[keras.layers.BatchNormalization]) -> Any:
    def clone(layer: Any) -> Any:
        kind = batch_norm if isinstance(layer, keras.layers.BatchNormalization) else type(layer)
        return kind.from_config(layer.get_config())

    return keras.models.clone_model(inner_network(start.extractor.network), clone_function=clone)


def _assemble(start: Start, network: Any, **call: bool) -> Any:
    """Return the whole network from frames to scores, with stage 1's weights."""
    frames = keras.Input(start.frames.shape[2:], dtype="uint8")
    normalization, head = start.task.backbone.normalization, start.task.head
    x = FrameNormalization(normalization.order, normalization.mean, normalization.scale)(frames)
    x = network(x, **call)
    x = (keras.layers.GlobalAveragePooling2D() if head.pooling == "average" else keras.layers.Flatten())(x)
    model = keras.Model(frames, head.build(x.shape[-1], start.source.classes)(x)[SCORE_NAME])
    model.set_weights([*start.extractor.network.get_weights(), *start.head_model.get_weights()])
    return model


def _train_last_blocks(start: Start, network: Any) -> None:
    network.trainable = False  # as during the training of the head
    network.trainable = True
    for layer in layers_in_order(network):
        layer.trainable = False
        if layer.name == start.cut:
            return


def run_old(start: Start, build: Callable[[Start], Any], what: str) -> TuningCourse:
    """Fine-tune without partsight: SGD over the whole network, without a guard."""
    model = build(start)
    model.compile(
        keras.optimizers.SGD(start.task.learning_rate, momentum=0.9),
        start.task.head.loss,
        metrics=["sparse_categorical_accuracy"],
    )
    check = GoldenCheck.of(start, model)
    points = [Point(0, 0.0, check.in_training_mode(), check.golden())]
    for epoch in range(1, start.task.epochs + 1):
        accuracies: list[float] = []
        bar = progress(start.batches(epoch), start.steps, f"{what}, epoch {epoch} of {start.task.epochs}", "step")
        for number, items in enumerate(bar, start.steps * (epoch - 1) + 1):
            _, accuracy = model.train_on_batch(start.images(items), items % start.source.classes)
            accuracies.append(float(accuracy))  # of this batch alone; `fit` prints the epoch's mean
            if number in start.checked_after:
                points.append(Point(number, number / start.steps, float(np.mean(accuracies)), check.golden()))
    return check.course(points, f"trained for {start.task.epochs} epochs; nothing stopped it")


@dataclass(frozen=True)
class GoldenCheck:
    """Checks a network's golden accuracy, and which of its variables changed.

    Attributes:
        start: Start with the golden images.
        model: Whole network.
        tail: Network from the activation at the cut; None if the trunk trains, because then no activation is fixed.
        before: All variables before the first step.
    """

    start: Start
    model: Any
    tail: Any | None
    before: tuple[FloatArray, ...]

    @classmethod
    def of(cls, start: Start, model: Any) -> "GoldenCheck":
        """Return a check of a network, made before its first step."""
        parts = split(model, start.cut)
        trains = bool(parts.trunk.trainable_weights)
        return cls(start, model, None if trains else parts.tail, tuple(model.get_weights()))

    def golden(self) -> float:
        """Return the share of golden images recognised in inference mode."""
        return self._share(self.start.frames[-1], self.start.source.goldens)

    def in_training_mode(self) -> float:
        """Return the share of golden images recognised in training mode; the variables stay the same."""
        classes, batch = self.start.source.classes, self.start.task.recipe.batch
        indices = np.resize(
            np.random.default_rng(self.start.task.seed).permutation(classes), (-(-classes // batch), batch)
        )
        right = []
        for chosen in progress(indices, len(indices), "in training mode, no step", f"×{batch}"):
            scores = ops.convert_to_numpy(self.model(self.start.frames[-1][chosen], training=True))
            right.append(scores.argmax(axis=1) == chosen)
        self.model.set_weights(self.before)  # undo: this pass moves the statistics of a BatchNormalization that trains
        return float(np.mean(right))

    def course(self, points: list[Point], outcome: str) -> TuningCourse:
        """Return the course of the network after its last step."""
        left, held_out = self.golden(), self._share(self.start.held_out, self.start.source.held_out)
        changed = {
            id(variable): not np.array_equal(old, new)
            for variable, old, new in zip(self.model.weights, self.before, self.model.get_weights(), strict=True)
        }
        layers = batch_norm_layers(self.model)
        statistics = [id(variable) for layer in layers for variable in (layer.moving_mean, layer.moving_variance)]
        moved = sum(changed[index] for index in statistics)
        return TuningCourse(
            tuple(points), left, held_out, moved, len(statistics), sum(changed.values()) - moved, outcome
        )

    def _share(self, frames: Pixels, activations: FloatArray) -> float:
        scores = predict(self.model, frames) if self.tail is None else predict(self.tail, activations)
        return float(np.mean(scores.argmax(axis=1) == np.arange(len(scores))))


class WatchedSource:
    """Provides activations and checks the golden images between steps; see `activations.ActivationSource`."""

    def __init__(self, start: Start, scorer: Any) -> None:
        self._start, self._scorer = start, scorer
        self._step = 0
        self._right: dict[int, list[bool]] = {}
        self.points: list[Point] = []
        self.classes, self.copies = start.source.classes, start.source.copies
        self.goldens, self.held_out = start.source.goldens, start.source.held_out

    def batch(self, epoch: int, items: IndexArray) -> FloatArray:
        """Return the activations of the next step."""
        if self._step in self._start.checked_after and self._step % self._start.steps:
            golden = predict(self._scorer, self.goldens).argmax(axis=1) == np.arange(self.classes)
            self.points.append(
                Point(self._step, self._step / self._start.steps, self.printed(epoch), float(golden.mean()))
            )
        self._step += 1
        rows = self._start.source.batch(epoch, items)
        scores = ops.convert_to_numpy(self._scorer(rows, training=True))
        self._right.setdefault(epoch, []).extend(scores.argmax(axis=1) == items % self.classes)
        return rows

    def printed(self, epoch: int) -> float:
        """Return the training-mode accuracy since the start of the epoch."""
        return float(np.mean(self._right[epoch]))


def run_ours(start: Start, folder: Path) -> TuningCourse:
    """(d) Fine-tune with partsight: freeze plan, guard over BatchNormalization, drop guard. It changes stage 1."""
    task, head = start.task, start.task.head
    tail = split(start.extractor.network, start.cut).tail
    outputs = start.head_model(tail.outputs[0])
    scorer = keras.Model(tail.inputs[0], outputs[SCORE_NAME])
    model = stack(start.extractor, start.head_model)
    scores = keras.Model(model.inputs[0], model.output[SCORE_NAME])
    imprinter, held = None, []
    if head.score == "cosine":
        layer = start.head_model.get_layer(SCORE_NAME)
        imprinter, held = Imprinter(keras.Model(tail.inputs[0], outputs[EMBEDDING_NAME]), layer.prototypes), [layer]
    optimizer = task.recipe.optimizer(task.epochs * start.steps)
    freeze(model, start.cut, start.allowed, lambda: scorer.compile(optimizer, task.recipe.loss(head)), held)
    check = GoldenCheck.of(start, scores)
    points = [Point(0, 0.0, check.in_training_mode(), check.golden())]
    source = WatchedSource(start, scorer)
    guard = BatchNormGuard.of(model)
    tuner = Tuner(scorer, source, task.recipe, task.epochs, task.seed, start.golden_accuracy, guard, imprinter)
    state = tuner.run(Checkpoints(folder / "tuning"))
    ends = [
        Point(found.epoch * start.steps, found.epoch, source.printed(found.epoch), found.golden_accuracy)
        for found in state.history[1:]
    ]
    points += sorted([*source.points, *ends], key=lambda point: point.step)
    return check.course(points, f"{state.stopped}; kept the weights of epoch {state.best_epoch}")
