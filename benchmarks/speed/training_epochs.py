"""The epochs of `training.py`: fine-tuning from cached activations, and the whole network."""

import statistics
import tempfile
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np

from partsight.runtime.core import progress
from partsight.runtime.images import PreprocessSpec
from partsight.runtime.inference import EMBEDDING_NAME, SCORE_NAME
from partsight.train.activations import ActivationCache, Copies
from partsight.train.backbones import Backbone, find_backbone
from partsight.train.catalog import read_catalog
from partsight.train.catalog_checks import PartImage
from partsight.train.cuts import check_cut, inner_network, split
from partsight.train.features import Extractor
from partsight.train.framework import keras, keras_settings
from partsight.train.freeze import BatchNormGuard, batch_norm_layers, freeze
from partsight.train.heads import find_head
from partsight.train.recipe import Recipe
from partsight.train.stack import build_extractor, stack
from partsight.train.trainer import make_deterministic
from partsight.train.tuner import Imprinter, Tuner

COPIES = 8
RECIPE = Recipe()


@keras_settings()
def measure_epochs(args: Namespace) -> dict[str, Any]:
    """Return median seconds of both epochs, and the settings."""
    make_deterministic(0)
    backbone = find_backbone(args.backbone)
    side = args.side or backbone.side_px
    spec = PreprocessSpec(height=side, width=side)
    goldens = read_catalog(args.data / "golden").goldens[: args.parts]
    weights = args.weights or backbone.default_weights
    with tempfile.TemporaryDirectory() as folder:
        tuner, cut, images = tail(backbone, weights, spec, goldens, args.cut, Path(folder))
        network = whole(backbone, weights, spec, len(goldens))
        seconds = measure(tuner, network, images, spec, args.rounds)
        del tuner  # it maps files in the folder, which Windows could not delete otherwise
    tail_s, whole_s = (statistics.median(values) for values in seconds)
    return {
        "backbone": backbone.name, "side_px": side, "cut": cut, "images": images, "rounds": args.rounds,
        "tail_epoch_s": tail_s, "whole_network_s": whole_s, "ratio": tail_s / whole_s,
    }  # fmt: skip


def tail(
    backbone: Backbone,
    weights: str,
    spec: PreprocessSpec,
    goldens: tuple[PartImage, ...],
    cut: str | None,
    folder: Path,
) -> tuple[Tuner, str, int]:
    """Return a fine-tuning as in training, the cut, and the number of images in an epoch."""
    head = find_head("cosine")
    extractor = build_extractor(backbone, weights, head, spec)
    allowed = backbone.cuts(inner_network(extractor.network))
    cut = check_cut(cut, allowed)
    parts = split(extractor.network, cut)
    trunk = Extractor.of(parts.trunk, spec, "trunk")
    source = ActivationCache(folder, 1e12).open(Copies(goldens, RECIPE.variation, 0, trunk), COPIES)
    head_model = head.build(extractor.network.output_shape[-1], len(goldens))
    outputs = head_model(parts.tail.outputs[0])
    scorer = keras.Model(parts.tail.inputs[0], outputs[SCORE_NAME])
    model, layer = stack(extractor, head_model), head_model.get_layer(SCORE_NAME)
    freeze(model, cut, allowed, lambda: scorer.compile(RECIPE.optimizer(1000), RECIPE.loss(head)), [layer])
    imprinter = Imprinter(keras.Model(parts.tail.inputs[0], outputs[EMBEDDING_NAME]), layer.prototypes)
    tuner = Tuner(scorer, source, RECIPE, 1, 0, 1.0, BatchNormGuard.of(model), imprinter)
    return tuner, cut, len(goldens) * (COPIES + 1)


def whole(backbone: Backbone, weights: str, spec: PreprocessSpec, classes: int) -> Any:
    """Return the whole network, in which every layer but BatchNormalization trains."""
    head = find_head("cosine")
    extractor = build_extractor(backbone, weights, head, spec)
    head_model = head.build(extractor.network.output_shape[-1], classes)
    model = keras.Model(extractor.network.inputs[0], head_model(extractor.network.outputs[0])[SCORE_NAME])
    inner_network(model).trainable = True
    for layer in batch_norm_layers(model):
        layer.trainable = False
    model.compile(RECIPE.optimizer(1000), RECIPE.loss(head))
    return model


def measure(
    tuner: Tuner, network: Any, images: int, spec: PreprocessSpec, rounds: int
) -> tuple[list[float], list[float]]:
    """Return the seconds of each round for the tail's epoch, and for the whole network on as many images."""
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 256, (RECIPE.batch, spec.height, spec.width, 3), np.uint8)
    labels = rng.integers(0, tuner.source.classes, RECIPE.batch)
    seconds: tuple[list[float], list[float]] = ([], [])
    for number in progress(range(rounds + 1), rounds + 1, "rounds", "round"):
        started = time.perf_counter()
        tuner.epoch(number + 1)
        between = time.perf_counter()
        for _ in range(-(-images // RECIPE.batch)):
            network.train_on_batch(frames, labels)
        if number > 0:  # the first round compiles
            seconds[0].append(between - started)
            seconds[1].append(time.perf_counter() - between)
    return seconds
