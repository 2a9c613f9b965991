"""Does a network forget its golden images when it is fine-tuned?

Trains a head on the frozen network's features, then fine-tunes the last blocks in five variants from that same start:
(a) with frozen BatchNormalization on the batch's statistics, as Keras did before TensorFlow 2, (b) with
`base(x, training=False)`, as guides advise today, (c) with flags that somebody toggles after a good freeze plan,
(p) with that plan and nothing toggled, by the optimiser of (a) to (c), and (d) as partsight does. Reads DATA/golden.

Examples:
    python -m benchmarks.accuracy.finetune_drop
    python -m benchmarks.accuracy.finetune_drop --backbone InceptionV3 --weights inception_v3_notop.weights.h5
"""

import argparse
from collections.abc import Sequence
from typing import Any

from benchmarks.accuracy.drop_plot import plot
from benchmarks.common.results import make_parser, write_results


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table and write result files."""
    args = _parse(arguments)
    from benchmarks.accuracy.drop_comparison import run_comparison  # imports TensorFlow

    results = run_comparison(args)
    table = to_table(results)
    print(table)
    write_results(args.out, args.name, results, f"{table}\n\n{to_notes(results)}")
    plot(args.out / f"{args.name}.png", results)
    print(f"written to {args.out / args.name}.json, .md and .png")


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
    """Return the equal and the different settings of the variants as text."""
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
            "a cosine head with prototypes that are up to a quarter of an epoch old; no package holds these.",
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
    parser = make_parser(__doc__, "finetune_drop")
    add = parser.add_argument
    add("--backbone", default="EfficientNetLite0", metavar="NAME", help="(default: %(default)s)")
    add("--weights", metavar="PATH|imagenet|none", help="of the backbone (default: the backbone's)")
    add("--head", default="cosine", choices=("cosine", "dense"), help="(default: %(default)s)")
    add("--variants", default="abcpd", metavar="LETTERS", help="which to run (default: %(default)s)")
    add("--side", type=int, metavar="PX", help="(default: the backbone's)")
    add("--cut", metavar="LAYER", help="(default: as in training)")
    add("--classes", type=int, metavar="N", help="number of parts, from all over the catalogue (default: all)")
    add("--epochs", type=int, default=3, help="(default: %(default)s)")
    add("--copies", type=int, default=0, metavar="N", help="varied copies of each golden image (default: %(default)s)")
    add("--batch", type=int, default=32, help="images a step (default: %(default)s)")
    add("--learning-rate", type=float, default=1e-4, metavar="X", help="of all but (d) (default: %(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
