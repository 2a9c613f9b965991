"""Fine-tuning: the end of the backbone learns to distinguish the parts without losing a golden image.

Stage 1 trains the head alone, stage 2 the layers after the cut on varied copies. Random head weights would distort the
pre-trained features in the first steps, so the head comes first (linear probe, then fine-tune: arXiv 2202.10054). The
drop guard stops stage 2 when golden accuracy falls below stage 1's.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from partsight.runtime.core import FloatArray, sha256_bytes
from partsight.runtime.inference import EMBEDDING_NAME, SCORE_NAME
from partsight.train.activations import ActivationCache, ActivationSource, Copies
from partsight.train.backbones import Backbone
from partsight.train.catalog_checks import PartImage
from partsight.train.checkpoints import Checkpoints, TuneProgress
from partsight.train.cuts import check_cut, cuts_that_train, inner_network, split
from partsight.train.features import Extractor
from partsight.train.framework import keras
from partsight.train.freeze import BatchNormGuard, FreezePlan, freeze
from partsight.train.heads import Head
from partsight.train.recipe import Recipe
from partsight.train.records import TuneRecord
from partsight.train.run_folder import TrainConfig
from partsight.train.stack import stack, weights_sha256
from partsight.train.tuner import Imprinter, Tuner, predict, steps_an_epoch

_LOG = logging.getLogger("partsight.train")


@dataclass(frozen=True)
class Stage1:
    """Start of a fine-tuning: the result of stage 1.

    Attributes:
        backbone: Backbone of the extractor.
        extractor: Network from frames to features.
        head: Kind of the head.
        head_model: Trained head, a keras.Model.
        golden_accuracy: Golden accuracy of extractor and head, in [0, 1].
        goldens: Golden images, in the order of the head's classes.
    """

    backbone: Backbone
    extractor: Extractor
    head: Head
    head_model: Any
    golden_accuracy: float
    goldens: tuple[PartImage, ...]


@dataclass(frozen=True)
class Tuned:
    """Result of a fine-tuning, which changes the weights of stage 1's network in place.

    Attributes:
        extractor: Network from frames to features.
        features: Features of the golden images, (classes, d) float32.
        record: Course of the fine-tuning.
    """

    extractor: Extractor
    features: FloatArray
    record: TuneRecord


def find_cut(backbone: Backbone, extractor: Extractor, head: Head, cut: str | None) -> str:
    """Return the layer after which to fine-tune: `cut`, or the default if it is None.

    Args:
        backbone: Backbone of the extractor.
        extractor: Network from frames to features.
        head: Head after it. The prototypes of a cosine head do not train, so a layer after the cut must.
        cut: Layer that the user named; None for the default.

    Raises:
        TrainingError: The cut is not between blocks, or nothing would train after it.
    """
    network = inner_network(extractor.network)
    allowed = backbone.cuts(network)
    return check_cut(cut, allowed, cuts_that_train(network, allowed) if head.score == "cosine" else None)


def finetune(stage1: Stage1, config: TrainConfig, folder: Path, recipe: Recipe | None = None) -> Tuned:
    """Fine-tune the network of stage 1, in place.

    After an interrupt, the same call continues after the last finished epoch, and returns the same weights.

    Args:
        stage1: Result of stage 1.
        config: Options of the user: cut, copies, epochs, cache and seed.
        folder: Cache folder, for activations and for the state after each epoch.
        recipe: Optimiser, loss and variation; None for the head's default.

    Raises:
        TrainingError: The cut is not between blocks, or nothing would train after it. The cache is too small. Golden
            accuracy before the first step is not stage 1's. Or a BatchNormalization layer changed.
        OutputError: The cache cannot be written.
    """
    recipe = recipe or Recipe.of(stage1.head)
    extractor, backbone = stage1.extractor, stage1.backbone
    cut = find_cut(backbone, extractor, stage1.head, config.cut)
    parts = split(extractor.network, cut)
    trunk = Extractor.of(parts.trunk, extractor.spec, f"{backbone}, up to {cut}")
    copies = Copies(stage1.goldens, recipe.variation, config.seed, trunk)
    source = _open(copies, config, folder)
    outputs = stage1.head_model(parts.tail.outputs[0])
    scorer = keras.Model(parts.tail.inputs[0], outputs[SCORE_NAME])
    plan, guard = _freeze_and_compile(stage1, cut, scorer, recipe, config.epochs * steps_an_epoch(source, recipe))
    imprinter = None
    if stage1.head.score == "cosine":
        embedder = keras.Model(parts.tail.inputs[0], outputs[EMBEDDING_NAME])
        imprinter = Imprinter(embedder, stage1.head_model.get_layer(SCORE_NAME).prototypes)
    tuner = Tuner(scorer, source, recipe, config.epochs, config.seed, stage1.golden_accuracy, guard, imprinter)
    state = tuner.run(Checkpoints(folder / "tuning" / _identity(tuner, copies)[:32]))
    guard.check("by the end of fine-tuning")
    tuned = Extractor.of(extractor.network, extractor.spec, f"{backbone}, fine-tuned from {cut}")
    return Tuned(tuned, predict(parts.tail, source.goldens), _record(plan, tuner, state))


def _open(copies: Copies, config: TrainConfig, folder: Path) -> ActivationSource:
    cache = ActivationCache(folder, config.max_cache_gb * 1e9)
    return cache.fresh(copies, config.copies) if config.fresh_variation else cache.open(copies, config.copies)


def _freeze_and_compile(
    stage1: Stage1, cut: str, scorer: Any, recipe: Recipe, steps: int
) -> tuple[FreezePlan, BatchNormGuard]:
    whole = stack(stage1.extractor, stage1.head_model)
    allowed = stage1.backbone.cuts(inner_network(stage1.extractor.network))
    held = [stage1.head_model.get_layer(SCORE_NAME)] if stage1.head.score == "cosine" else []
    plan = freeze(whole, cut, allowed, lambda: scorer.compile(recipe.optimizer(steps), recipe.loss(stage1.head)), held)
    _LOG.info("fine-tuning trains these layers:\n%s", plan.table())
    return plan, BatchNormGuard.of(whole)


def _identity(tuner: Tuner, copies: Copies) -> str:
    """Return the SHA-256 of all inputs of the training; it names the folder of the checkpoints."""
    facts = (copies.identity, tuner.source.copies, type(tuner.source).__name__, tuner.epochs, tuner.recipe)
    return sha256_bytes(f"{facts} {weights_sha256(tuner.scorer)}".encode())


def _record(plan: FreezePlan, tuner: Tuner, state: TuneProgress) -> TuneRecord:
    return TuneRecord(
        plan=plan.rows,
        batch_norm_layers=len(plan.batch_norms),
        cut=plan.cut,
        copies=tuner.source.copies,
        history=tuple(state.history),
        floor=tuner.floor,
        dropped=state.dropped,
        best_epoch=state.best_epoch,
        outcome=f"{state.stopped}; kept the weights of epoch {state.best_epoch}",
    )
