"""Does a network forget its golden images when it is fine-tuned?

Trains a head on the frozen network's features, then fine-tunes the last blocks in five ways from that same start:
(a) with frozen BatchNormalization on the batch's statistics, as Keras did before TensorFlow 2, (b) with
`base(x, training=False)`, as guides advise today, (c) with flags that somebody toggles after a good freeze plan,
(p) with that plan and nothing toggled, by the optimiser of (a) to (c), and (d) as partsight does. Reads DATA/golden.

Examples:
    python benchmarks/finetune_drop.py
    python benchmarks/finetune_drop.py --backbone InceptionV3 --weights inception_v3_notop.weights.h5
"""

import argparse
import gc
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from _common import default_data, write_results
from _drop_plot import plot
from _drop_start import Start, Task, prepare
from _drop_variants import (
    Course,
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
"""Of the report that started this: training accuracy that Keras printed, and validation accuracy at the end."""


@dataclass(frozen=True)
class Variant:
    """A way to fine-tune.

    Attributes:
        key: a letter, as in the documentation.
        name: for people.
        run: from stage 1 and a folder for its state.
    """

    key: str
    name: str
    run: Callable[[Start, Path], Course]


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
def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table and write result files."""
    args = _parse(arguments)
    make_deterministic(0)
    task = to_task(args)
    side = args.side or task.backbone.side_px
    with tempfile.TemporaryDirectory() as folder:
        start = prepare(task, Path(folder), side)
        results = describe(start, side) | {"variants": compare(start, Path(folder), args.variants)}
        del start  # the files in the folder are mapped
        gc.collect()
    table = to_table(results)
    print(table)
    write_results(args.out, args.name, results, f"{table}\n\n{to_notes(results)}")
    plot(args.out / f"{args.name}.png", results)
    print(f"written to {args.out / args.name}.json, .md and .png")


def to_task(args: argparse.Namespace) -> Task:
    """Return what the command line asks for."""
    backbone = find_backbone(args.backbone)
    goldens = read_catalog(args.data / "golden").goldens
    count = args.classes or len(goldens)
    every = max(1, len(goldens) // count)  # neighbours in the catalogue are siblings: take them from all over it
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
    """Fine-tune in each of the ways named from the same start; return what became of each."""
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
    """Return what was compared on."""
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


def to_table(results: dict[str, Any]) -> str:
    """Return the figures as a Markdown table."""
    names = (
        f"{results['backbone']}, {results['classes']} parts",
        "printed by Keras: before any step",
        "epoch 1",
        "last epoch",
        "golden images, asked as on the line: before any step",
        "lowest after an epoch",
        "lowest within epoch 1",
        "with the weights that it leaves",
        "varied copies, with these",
        "moving statistics changed",
    )
    original = results["original_report"]
    report = (
        "original report",
        f"{original['head']:.4f} (end of head training)",
        f"{original['epoch_1']:.4f}",
        f"{original['epoch_21']:.4f} (epoch 21)",
        *[""] * 4,
        f"{original['validation']:.4f} (its validation)",
        "",
    )
    rows = [_row(results, variant) for variant in results["variants"]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (names, ["---"] * len(names), *rows, report))


def _row(results: dict[str, Any], variant: dict[str, Any]) -> tuple[str, ...]:
    points = variant["points"]
    after = epoch_ends(results, variant)
    within = [point["golden"] for point in points[1:] if 0 < point["step"] < results["steps_per_epoch"]]
    return (
        f"({variant['key']}) {variant['name']}",
        *(f"{point['printed']:.4f}" for point in (points[0], after[0], after[-1])),
        f"{points[0]['golden']:.4f}",
        f"{min(point['golden'] for point in after):.4f}",
        f"{min(within):.4f}" if within else "",
        f"{variant['left']:.4f}",
        f"{variant['held_out']:.4f}",
        f"{variant['moved']} of {variant['statistics']}" if variant["statistics"] else "none there",
    )


def epoch_ends(results: dict[str, Any], variant: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the points at the end of each epoch."""
    return [point for point in variant["points"][1:] if point["step"] % results["steps_per_epoch"] == 0]


def to_notes(results: dict[str, Any]) -> str:
    """Say what is equal, and what is not."""
    kind = {"none": "random", "embedded": "embedded ImageNet", "imagenet": "ImageNet"}.get(results["weights"])
    weights = f"{kind} weights" if kind else f"weights of the file {results['weights']}"
    cut, size = results["cut"], f"{results['side_px']}×{results['side_px']}"
    return "\n".join(
        (
            f"{results['backbone']} at {size}, {weights}; head {results['head']}, trained on inference-mode features "
            f"to a golden accuracy of {results['stage1_golden_accuracy']:.4f}. Keras {results['keras']}.",
            "",
            f"- Equal for all: weights before the first step, {results['classes']} golden images with "
            f"{results['copies']} varied copies each, their order, batches of {results['batch']}, "
            f"{results['steps_per_epoch']} steps an epoch. No dropout.",
            f"- Different: (a) trains what follows {cut} except BatchNormalization; (b) what follows it with "
            "BatchNormalization; (c) every layer, because toggling undid the plan; (p) and (d) what follows it "
            "except BatchNormalization.",
            f"- Different: all but (d) use {results['old_optimizer']} and the head's plain loss; (d) uses partsight's "
            f"recipe, {results['own_optimizer']}, at the batch size of the others; a cosine head's prototypes follow "
            "the golden images instead of training.",
            "- Printed by Keras: mean accuracy in training mode over the epoch's batches so far, as `fit` prints it; "
            "before any step, over the golden images. For (d) it is counted on the same batches.",
            "- Asked as on the line: inference mode. After an epoch (d) is asked as it judges itself and would be "
            "kept: with the running average of its weights. Within an epoch it is asked with its raw weights, and "
            "a cosine head with prototypes that are up to a quarter of an epoch old; nobody is ever given those.",
            "- Varied copies: one a part, that nobody trained on.",
            *(_verdict(results, variant) for variant in results["variants"] if variant["key"] == "d"),
        )
    )


def _verdict(results: dict[str, Any], ours: dict[str, Any]) -> str:
    floor = results["stage1_golden_accuracy"] - results["tolerance"]
    lowest = min(point["golden"] for point in epoch_ends(results, ours))
    kept = "stayed at or above" if lowest >= floor else "FELL BELOW"
    return (
        f"- After every epoch, golden accuracy of (d) {kept} stage 1's less {results['tolerance']:g} (lowest "
        f"{lowest:.4f}, floor {floor:.4f}). It {ours['outcome']}."
    )


def _parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--data", type=Path, default=default_data(), help="default: $PARTSIGHT_DATA, else examples/parts")
    add("--backbone", default="EfficientNetLite0", metavar="NAME", help="(default: %(default)s)")
    add("--weights", metavar="PATH|imagenet|none", help="of the backbone (default: the backbone's)")
    add("--head", default="cosine", choices=("cosine", "dense"), help="(default: %(default)s)")
    add("--variants", default="abcpd", metavar="LETTERS", help="which to run (default: %(default)s)")
    add("--side", type=int, metavar="PX", help="(default: the backbone's)")
    add("--cut", metavar="LAYER", help="(default: as in training)")
    add("--classes", type=int, metavar="N", help="take so many parts from all over the catalogue (default: all)")
    add("--epochs", type=int, default=3, help="(default: %(default)s)")
    add("--copies", type=int, default=0, metavar="N", help="varied copies of each golden image (default: %(default)s)")
    add("--batch", type=int, default=32, help="images a step (default: %(default)s)")
    add("--learning-rate", type=float, default=1e-4, metavar="X", help="of all but (d) (default: %(default)s)")
    add("--out", type=Path, default=Path("build/benchmarks"), help="folder (default: %(default)s)")
    add("--name", default="finetune_drop", help="of the result files (default: %(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
