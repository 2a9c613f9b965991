"""The common start of all variants: the same images, the same network, and the same trained head."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from partsight.runtime.core import Pixels
from partsight.runtime.images import PreprocessSpec
from partsight.train.activations import ActivationCache, ActivationSource, Copies, IndexArray
from partsight.train.backbones import Backbone
from partsight.train.catalog_checks import PartImage
from partsight.train.cuts import check_cut, inner_network, split
from partsight.train.features import Extractor
from partsight.train.fit import fit_head
from partsight.train.heads import Head
from partsight.train.recipe import Recipe
from partsight.train.stack import build_extractor
from partsight.train.tuner import predict, steps_an_epoch

HEAD_EPOCHS = 30
_HELD_OUT = 0
"""Number of the varied copy that no variant trains on."""


@dataclass(frozen=True)
class Task:
    """The settings of the comparison.

    Attributes:
        backbone, weights, head: Parts of the network.
        goldens: Golden images.
        cut: Layer after which the last blocks start; None for partsight's default.
        epochs: Number of epochs of fine-tuning.
        copies: Number of varied copies of each golden image to train on, next to the image.
        learning_rate: Learning rate of the old recipe, SGD with momentum 0.9.
        recipe: Recipe of partsight; all variants use its batch size.
        seed: Seed of variation and order.
    """

    backbone: Backbone
    weights: str
    head: Head
    goldens: tuple[PartImage, ...]
    cut: str | None
    epochs: int
    copies: int
    learning_rate: float
    recipe: Recipe
    seed: int


@dataclass(frozen=True)
class Start:
    """Stage 1, the start of every variant: a head trained on features in inference mode.

    Attributes:
        task: Settings of the comparison.
        extractor: Network from frames to features.
        head_model: Trained head.
        cut: Layer after which the last blocks start.
        allowed: All layers after which the network might be cut.
        source: Activations at the cut, in inference mode.
        frames: Frames in the order of the items in `source`, (copies + 1, classes, h, w, 3) uint8; golden images last.
        held_out: One varied copy of each golden image that no variant trains on, (classes, h, w, 3) uint8.
        golden_accuracy: Golden accuracy of stage 1.
    """

    task: Task
    extractor: Extractor
    head_model: Any
    cut: str
    allowed: tuple[str, ...]
    source: ActivationSource
    frames: Pixels
    held_out: Pixels
    golden_accuracy: float

    @property
    def steps(self) -> int:
        """Number of steps in an epoch."""
        return steps_an_epoch(self.source, self.task.recipe)

    @property
    def checked_after(self) -> tuple[int, ...]:
        """Steps after which the benchmark checks the golden images: each quarter of epoch 1, then each epoch."""
        quarters = {-(-self.steps * quarter // 4) for quarter in (1, 2, 3)}
        return tuple(sorted(quarters | {self.steps * epoch for epoch in range(1, self.task.epochs + 1)}))

    def batches(self, epoch: int) -> Iterator[IndexArray]:
        """Yield the items of each step, in the order that all variants use."""
        classes, batch = self.source.classes, self.task.recipe.batch
        items = np.random.default_rng([self.task.seed, epoch]).permutation(classes * (self.source.copies + 1))
        yield from np.resize(items, (self.steps, batch))

    def images(self, items: IndexArray) -> Pixels:
        """Return the frames of items."""
        return self.frames[items // self.source.classes, items % self.source.classes]


def prepare(task: Task, folder: Path, side_px: int) -> Start:
    """Train the head and compute the common start; caches go into `folder`."""
    spec = PreprocessSpec(height=side_px, width=side_px)
    extractor = build_extractor(task.backbone, task.weights, task.head, spec)
    allowed = task.backbone.cuts(inner_network(extractor.network))
    cut = check_cut(task.cut, allowed)
    parts = split(extractor.network, cut)
    copies = Copies(task.goldens, task.recipe.variation, task.seed, Extractor.of(parts.trunk, spec, "trunk"))
    source = ActivationCache(folder, 1e12).open(copies, task.copies)
    features = predict(parts.tail, source.goldens)
    head_model = task.head.build(features.shape[1], len(features))
    fit = fit_head(task.head, head_model, features, 1.0, HEAD_EPOCHS)
    numbers = [*range(1, task.copies + 1), None]
    frames = np.stack([_frames(copies, number) for number in numbers])
    held_out = _frames(copies, _HELD_OUT)
    accuracy = fit.history[-1].golden_accuracy
    return Start(task, extractor, head_model, cut, allowed, source, frames, held_out, accuracy)


def _frames(copies: Copies, number: int | None) -> Pixels:
    return np.stack([copies.prepared(index, number) for index in range(len(copies.goldens))])
