"""Fine-tuning: the end of the backbone learns to tell the parts apart, and never forgets a golden image.

It starts from the head that knows the golden images (linear probe, then fine-tune: arXiv 2202.10054) and trains what
comes after the cut on varied copies. The drop guard stops it as soon as it knows fewer golden images than before.
"""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from partsight.runtime.errors import TrainingError
from partsight.runtime.session import EMBEDDING_NAME, SCORE_NAME, FloatArray
from partsight.runtime.storage import sha256_bytes
from partsight.train.activations import ActivationCache, Copies, Source
from partsight.train.backbones import Backbone
from partsight.train.catalog import GoldenImage
from partsight.train.cuts import Split, check_cut, inner_network, split
from partsight.train.features import Extractor
from partsight.train.freeze import BatchNormGuard, FreezePlan, freeze
from partsight.train.heads import COSINE_SHARPNESS, Head
from partsight.train.progress import progress
from partsight.train.run_folder import TrainConfig
from partsight.train.stack import stack, weights_sha256
from partsight.train.tune_record import TuneEpoch, TuneRecord
from partsight.train.tune_state import Checkpoints, Progress, values
from partsight.train.variation import Variation

_LOG = logging.getLogger("partsight.train")
_IMPRINTED_COPIES = 8
"""Copies of each part that a prototype is the mean embedding of, at most, beside the golden image."""

TRAINED_VARIATION = Variation(
    rotation_deg=4.5,
    shift_percent=4.5,
    scale_percent=1.5,
    tilt_deg=1.5,
    exposure_percent=12.0,
    white_balance_percent=3.0,
    blur_px=0.9,
    noise_levels=3.5,
    jpeg_quality=85,
)
"""Of the copies: half as much again as a line is thought to vary, so that no frame is beyond what was trained on."""


@dataclass(frozen=True)
class Recipe:
    """How the tail is trained.

    Attributes:
        batch: images a step.
        learning_rate: the highest, of AdamW.
        warmup_share: of all steps, in which the learning rate rises from 0; then it falls along a cosine.
        weight_decay: of AdamW.
        margin: subtracted from the right part's cosine in the loss (CosFace, arXiv 1801.09414).
        sharpness: multiplies cosines in the loss.
        average: of the running average of weights, the share that a step keeps (arXiv 1803.05407).
        patience: epochs without a better held-out accuracy after which it stops.
        tolerance: by which golden accuracy may fall below stage 1's.
        variation: of the copies.
    """

    batch: int = 64
    learning_rate: float = 2e-4
    warmup_share: float = 0.1
    weight_decay: float = 1e-4
    margin: float = 0.0
    sharpness: float = COSINE_SHARPNESS
    average: float = 0.99
    patience: int = 5
    tolerance: float = 0.001
    variation: Variation = TRAINED_VARIATION


@dataclass(frozen=True)
class Stage1:
    """What fine-tuning starts from.

    Attributes:
        backbone: the kind of the network in `extractor`.
        extractor: the network from frames to features.
        head: the kind of head.
        head_model: the trained head.
        golden_accuracy: of extractor and head together.
        goldens: the images, in the order of the head's classes.
    """

    backbone: Backbone
    extractor: Extractor
    head: Head
    head_model: Any
    golden_accuracy: float
    goldens: tuple[GoldenImage, ...]


@dataclass(frozen=True)
class Tuned:
    """What came of it. Network and head are those of stage 1, with other weights.

    Attributes:
        extractor: the network from frames to features.
        features: (classes, d) float32 of the golden images.
        record: how it went.
    """

    extractor: Extractor
    features: FloatArray
    record: TuneRecord


def finetune(stage1: Stage1, config: TrainConfig, folder: Path, recipe: Recipe | None = None) -> Tuned:
    """Fine-tune the network of stage 1, in place.

    Interrupted, the same call goes on from the last epoch that was finished, and gives the same weights.

    Args:
        stage1: where to start.
        config: what a person decides: cut, copies, epochs, cache and seed.
        folder: the cache, for activations and for the state after each epoch.
        recipe: how to train; None for the default.

    Raises:
        TrainingError: the cut is not between blocks, the cache is too small, golden accuracy before the first step is
            not stage 1's, or a BatchNormalization layer changed.
        OutputError: the cache cannot be written.
    """
    recipe = recipe or Recipe()
    network = stage1.extractor.network
    cut = check_cut(config.cut, stage1.backbone.cuts(inner_network(network)))
    parts = split(network, cut)
    trunk = Extractor.of(parts.trunk, stage1.extractor.spec, f"{stage1.backbone}, up to {cut}")
    copies = Copies(stage1.goldens, recipe.variation, config.seed, trunk)
    cache = ActivationCache(folder, config.max_cache_gb * 1e9)
    source = (cache.fresh if config.fresh_variation else cache.open)(copies, config.copies)
    tuner = _Tuner.of(stage1, parts, source, recipe, config, cut)
    state = tuner.run(Checkpoints(folder / "tuning" / tuner.identity(copies)[:32]))
    prototypes = tuner.settle_prototypes() if stage1.head.score == "cosine" else "trained"
    tuner.guard.check("by the end of fine-tuning")
    extractor = Extractor.of(network, stage1.extractor.spec, f"{stage1.backbone}, fine-tuned from {cut}")
    record = TuneRecord(
        plan=tuner.plan.rows,
        batch_norm_layers=len(tuner.plan.batch_norms),
        cut=cut,
        copies=source.copies,
        history=tuple(state.history),
        floor=tuner.floor,
        dropped=state.dropped,
        best_epoch=state.best_epoch,
        prototypes=prototypes,
        outcome=f"{state.stopped}; kept the weights of epoch {state.best_epoch}",
    )
    return Tuned(extractor, _predict(parts.tail, source.goldens), record)


@dataclass(frozen=True)
class _Tuner:
    """The loop's parts: what trains, on what, and what watches over it."""

    scorer: Any  # activation at the cut → (batch, classes) scores
    embedder: Any  # activation at the cut → (batch, d) embeddings
    head_model: Any
    source: Source
    recipe: Recipe
    epochs: int
    seed: int
    floor: float
    stage1_accuracy: float
    plan: FreezePlan
    guard: BatchNormGuard

    @classmethod
    def of(
        cls, stage1: Stage1, parts: Split, source: Source, recipe: Recipe, config: TrainConfig, cut: str
    ) -> "_Tuner":
        outputs = stage1.head_model(parts.tail.outputs[0])
        scorer = keras.Model(parts.tail.inputs[0], outputs[SCORE_NAME])
        embedder = keras.Model(parts.tail.inputs[0], outputs[EMBEDDING_NAME])
        whole = stack(stage1.extractor, stage1.head_model)
        steps = config.epochs * _steps(source, recipe)
        allowed = stage1.backbone.cuts(inner_network(stage1.extractor.network))
        plan = freeze(
            whole, cut, allowed, lambda: scorer.compile(_optimizer(recipe, steps), _loss(stage1.head, recipe))
        )
        _LOG.info("what trains:\n%s", plan.table())
        return cls(
            scorer=scorer,
            embedder=embedder,
            head_model=stage1.head_model,
            source=source,
            recipe=recipe,
            epochs=config.epochs,
            seed=config.seed,
            floor=stage1.golden_accuracy - recipe.tolerance,
            stage1_accuracy=stage1.golden_accuracy,
            plan=plan,
            guard=BatchNormGuard.of(whole),
        )

    def identity(self, copies: Copies) -> str:
        """Return the SHA-256 of everything on which the result depends, before the first step."""
        facts = (copies.identity, self.source.copies, type(self.source).__name__, self.epochs, self.recipe)
        return sha256_bytes(f"{facts} {self.plan.cut} {weights_sha256(self.scorer)}".encode())

    def run(self, checkpoints: Checkpoints) -> Progress:
        """Train until there is a reason to stop, and leave the best weights in the network."""
        optimizer, trained = self.scorer.optimizer, self.scorer.trainable_variables
        optimizer.build(trained)
        variables = [*self.scorer.variables, *optimizer.variables]
        loaded = checkpoints.load(variables, len(trained))
        state, best = loaded or (Progress([self._before()]), [values(variable) for variable in trained])
        while state.stopped is None:
            epoch = len(state.history)
            started = time.perf_counter()
            loss = self._epoch(epoch)
            self.guard.check(f"in epoch {epoch}")
            raw = [values(variable) for variable in trained]
            if self.recipe.average:
                optimizer.finalize_variable_values(trained)  # the running average, of which accuracy is measured
            found = self._measure(TuneEpoch(epoch, loss, 0, 0, float(optimizer.learning_rate), 0), started)
            best = self._judge(state, found, best)
            _assign(trained, raw)
            checkpoints.save(state, variables, best)
        _assign(trained, best)
        return state

    def _before(self) -> TuneEpoch:
        """Measure before the first step; it must be the very network of stage 1."""
        before = self._measure(TuneEpoch(0, None, 0, 0, 0, 0), time.perf_counter())
        if abs(before.golden_accuracy - self.stage1_accuracy) > self.recipe.tolerance:
            raise TrainingError(
                f"before the first step golden accuracy is {before.golden_accuracy:.4f}; expected stage 1's "
                f"{self.stage1_accuracy:.4f}: the activations are not this network's. Remove the cache folder and "
                "train again"
            )
        return before

    def _epoch(self, epoch: int) -> float:
        """Train on every copy and every golden image once; returns the mean loss."""
        classes, batch = self.source.classes, self.recipe.batch
        items = np.random.default_rng([self.seed, epoch]).permutation(classes * (self.source.copies + 1))
        steps = _steps(self.source, self.recipe)
        items = np.resize(items, steps * batch)  # the last step is filled up with the first items: one shape only
        self.scorer.reset_metrics()
        loss = math.nan
        for step in progress(range(steps), steps, f"fine-tuning, epoch {epoch} of {self.epochs}", "step"):
            chosen = items[step * batch : (step + 1) * batch]
            loss = float(self.scorer.train_on_batch(self.source.batch(epoch, chosen), chosen % classes))
            if step == 0:
                self.guard.check("in the first step")
            if not math.isfinite(loss):
                break
        return loss

    def _measure(self, epoch: TuneEpoch, started: float) -> TuneEpoch:
        golden, held_out = self._accuracy(self.source.goldens), self._accuracy(self.source.held_out)
        return TuneEpoch(
            epoch.epoch, epoch.loss, golden, held_out, epoch.learning_rate, round(time.perf_counter() - started, 2)
        )

    def _accuracy(self, rows: FloatArray) -> float:
        return float(np.mean(_predict(self.scorer, rows).argmax(axis=1) == np.arange(len(rows))))

    def _judge(self, state: Progress, found: TuneEpoch, best: list[FloatArray]) -> list[FloatArray]:
        """Add an epoch to the history and decide whether another follows; returns the best weights."""
        state.history.append(found)
        is_sound = found.loss is not None and math.isfinite(found.loss) and found.golden_accuracy >= self.floor
        if not is_sound:
            state.dropped = True
            state.stopped = (
                f"stopped by the drop guard in epoch {found.epoch}: golden accuracy {found.golden_accuracy:.4f} with a "
                f"loss of {found.loss:.4g}; expected at least {self.floor:.4f}, stage 1's "
                f"{self.stage1_accuracy:.4f} less {self.recipe.tolerance:g}: cut later"
            )
            return best
        held_out = [epoch.held_out_accuracy for epoch in state.history]
        if found.held_out_accuracy >= held_out[state.best_epoch]:  # of equals the later, which averages more steps
            state.best_epoch = found.epoch
            best = [values(variable) for variable in self.scorer.trainable_variables]
        if found.epoch - held_out.index(max(held_out)) >= self.recipe.patience:
            state.stopped = f"stopped early: held-out accuracy has not risen for {self.recipe.patience} epochs"
        elif found.epoch >= self.epochs:
            state.stopped = f"fine-tuned for {found.epoch} epochs"
        return best

    def settle_prototypes(self) -> Literal["trained", "imprinted"]:
        """Replace each prototype by the mean embedding of its part's copies, unless that is worse.

        A part that is enrolled later gets its own embedding as a prototype; with imprinted ones it competes on equal
        terms.
        """
        prototypes = self.head_model.get_layer(SCORE_NAME).prototypes
        trained, held_out = values(prototypes), self._accuracy(self.source.held_out)
        prototypes.assign(self._mean_embeddings().T)
        is_sound = self._accuracy(self.source.goldens) >= self.floor
        if is_sound and self._accuracy(self.source.held_out) >= held_out:
            return "imprinted"
        prototypes.assign(trained)
        return "trained"

    def _mean_embeddings(self) -> FloatArray:
        """Return (classes, d) float32 of length 1."""
        classes = self.source.classes
        total = _predict(self.embedder, self.source.goldens)
        for copy in range(min(self.source.copies, _IMPRINTED_COPIES)):
            for start in range(0, classes, self.recipe.batch):
                places = np.arange(start, min(start + self.recipe.batch, classes))
                rows = self.source.batch(1, copy * classes + places)
                total[places] += self.embedder.predict_on_batch(rows)
        means: FloatArray = total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-12)
        return means


def _steps(source: Source, recipe: Recipe) -> int:
    return -(-source.classes * (source.copies + 1) // recipe.batch)


def _optimizer(recipe: Recipe, steps: int) -> Any:
    warmup = max(1, round(recipe.warmup_share * steps))
    schedule = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warmup), warmup_target=recipe.learning_rate, warmup_steps=warmup
    )
    return keras.optimizers.AdamW(
        schedule,
        weight_decay=recipe.weight_decay,
        use_ema=recipe.average > 0,
        ema_momentum=recipe.average,
    )


def _loss(head: Head, recipe: Recipe) -> Callable[[Any, Any], Any]:
    if head.score != "cosine":
        return head.loss

    def cosine_loss(labels: Any, score: Any) -> Any:
        right = ops.one_hot(ops.cast(ops.reshape(labels, (-1,)), "int32"), score.shape[-1])
        logits = recipe.sharpness * (score - recipe.margin * right)
        return keras.losses.sparse_categorical_crossentropy(labels, logits, from_logits=True)

    return cosine_loss


def _predict(model: Any, rows: FloatArray) -> FloatArray:
    """Return a model's output for memory-mapped rows, which are never all in memory."""
    batch = 64
    starts = range(0, len(rows), batch)
    return np.concatenate(
        [model.predict_on_batch(np.asarray(rows[start : start + batch], np.float32)) for start in starts]
    )


def _assign(variables: Sequence[Any], arrays: Sequence[FloatArray]) -> None:
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
