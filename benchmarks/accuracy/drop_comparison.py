"""The comparison of `finetune_drop.py`: one stage 1, then each variant of fine-tuning from that start."""

import argparse
import gc
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.accuracy.drop_start import Start, Task, prepare
from benchmarks.accuracy.drop_variants import (
    TuningCourse,
    on_batch_statistics,
    plan_alone,
    run_old,
    run_ours,
    toggled_afterwards,
    with_training_false,
)
from partsight.train.backbones import find_backbone
from partsight.train.catalog import read_catalog
from partsight.train.framework import keras, keras_settings
from partsight.train.heads import find_head
from partsight.train.recipe import Recipe
from partsight.train.trainer import make_deterministic

ORIGINAL = {"head": 0.9937, "epoch_1": 0.0, "epoch_21": 0.0035, "validation": 0.8272}
"""Figures of the original report: training accuracy as Keras printed it, and validation accuracy at the end."""


@dataclass(frozen=True)
class Variant:
    """Method of fine-tuning.

    Attributes:
        key: Letter, as in the documentation.
        name: Name in tables and pictures.
        run: Function of stage 1 and a folder for its state.
    """

    key: str
    name: str
    run: Callable[[Start, Path], TuningCourse]


def _old(key: str, name: str, build: Callable[[Start], Any]) -> Variant:
    return Variant(key, name, lambda start, _: run_old(start, build, f"({key})"))


VARIANTS = (
    _old("a", "frozen BN on batch statistics (old Keras)", on_batch_statistics),
    _old("b", "base(x, training=False), then unfrozen", with_training_false),
    _old("c", "freeze plan, flags toggled afterwards", toggled_afterwards),
    _old("p", "partsight's freeze plan, optimiser as in (a) to (c)", plan_alone),
    Variant("d", "partsight", run_ours),  # last, because it changes stage 1 itself
)


@keras_settings()
def run_comparison(args: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of the comparison and the course of each variant."""
    make_deterministic(0)
    task = to_task(args)
    side = args.side or task.backbone.side_px
    with tempfile.TemporaryDirectory() as folder:
        start = prepare(task, Path(folder), side)
        results = describe(start, side) | {"variants": compare(start, Path(folder), args.variants)}
        del start  # it maps files in the folder, which Windows could not delete otherwise
        gc.collect()
    return results


def to_task(args: argparse.Namespace) -> Task:
    """Return the task that the command line names."""
    backbone = find_backbone(args.backbone)
    goldens = read_catalog(args.data / "golden").goldens
    count = args.classes or len(goldens)
    every = max(1, len(goldens) // count)  # spread over the catalogue, because neighbours are siblings
    return Task(
        backbone=backbone,
        weights=args.weights or backbone.default_weights,
        head=find_head(args.head),
        goldens=goldens[::every][:count],
        cut=args.cut,
        epochs=args.epochs,
        copies=args.copies,
        learning_rate=args.learning_rate,
        recipe=replace(Recipe.of(find_head(args.head)), batch=args.batch),
        seed=0,
    )


def compare(start: Start, folder: Path, keys: str) -> list[dict[str, Any]]:
    """Fine-tune each named variant from the same start; return their courses."""
    found = []
    for variant in VARIANTS:
        if variant.key not in keys:
            continue
        started = time.perf_counter()
        course = variant.run(start, folder)
        seconds = round(time.perf_counter() - started, 1)
        found.append({"key": variant.key, "name": variant.name, "seconds": seconds, **asdict(course)})
        gc.collect()
    return found


def describe(start: Start, side: int) -> dict[str, Any]:
    """Return the settings of the comparison."""
    task = start.task
    known = task.weights in ("embedded", "imagenet", "none")
    return {
        "backbone": task.backbone.name,
        "weights": task.weights if known else Path(task.weights).name,
        "side_px": side,
        "head": task.head.name,
        "cut": start.cut,
        "classes": start.source.classes,
        "copies": start.source.copies,
        "batch": task.recipe.batch,
        "steps_per_epoch": start.steps,
        "epochs": task.epochs,
        "old_optimizer": f"SGD({task.learning_rate:g}, momentum 0.9)",
        "own_optimizer": f"AdamW({task.recipe.learning_rate:g}), warm-up and cosine, running average of weights",
        "tolerance": task.recipe.tolerance,
        "stage1_golden_accuracy": start.golden_accuracy,
        "keras": keras.__version__,
        "original_report": ORIGINAL,
    }
