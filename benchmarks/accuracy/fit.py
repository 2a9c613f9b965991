"""Does it fit? Shares of right, unknown and wrong answers by turn, shift, scale, light, blur and colour order.

The benchmark varies the package's golden images by rising amounts; with `--data` it varies the images of DATA/golden. A
package that uses a region of the frame needs `--data`, because its own golden images show only that region.

Example:
    python -m benchmarks.accuracy.fit line3.partsight
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.common.plot import GREEN, GREY, RED, tidy
from benchmarks.common.results import make_parser, write_report
from partsight.runtime import ModelPackage, Recognizer
from partsight.runtime.calibration import Tolerances, ToleranceSeries, fit_table, measure_fit
from partsight.runtime.cameras import find_images
from partsight.runtime.core import Pixels
from partsight.runtime.images import ImageFiles

BATCH = 32


def main(arguments: list[str] | None = None) -> None:
    """Measure, print a table and write result files."""
    args = _parse(arguments)
    package = ModelPackage.read(args.package)
    goldens, labels = read_goldens(package, args.data, args.parts, args.seed)
    options = {"provider": args.provider, "precision": args.precision, "batch_size": BATCH}
    with Recognizer(args.package, **options) as recognizer:
        tolerances = measure_fit(recognizer, goldens, labels, sample=len(labels), seed=args.seed)
    about = f"{args.package.stem}, {args.provider} {args.precision}: {tolerances.parts} parts, seed {args.seed}."
    text = f"{about} Right without a difference: {tolerances.right_unvaried:.1%}.\n\n{fit_table(tolerances)}"
    results = asdict(tolerances) | {"seed": args.seed, "provider": args.provider, "precision": args.precision}
    write_report(args, results, text, plot(tolerances, f"{args.package.stem}: answers to {tolerances.parts} parts"))


def read_goldens(package: ModelPackage, data: Path | None, parts: int, seed: int) -> tuple[Sequence[Pixels], list[str]]:
    """Return golden images of the size of the line's frames, and their parts.

    Args:
        package: Package that was taught the parts.
        data: Folder with golden/PART/FILE; None for the package's own golden images.
        parts: Largest number of parts, which the seed draws.
        seed: Seed of the sample.
    """
    spec, taught = package.manifest.preprocess, package.manifest.labels
    if data is not None:
        paths = [path for path in find_images(data / "golden") if path.parent.name in set(taught)]
        if not paths:
            raise SystemExit(
                f"{data / 'golden'} holds no part of {package.path}; name the package's training data with --data"
            )
        chosen = _draw(len(paths), parts, seed)
        return ImageFiles([paths[index] for index in chosen]), [paths[index].parent.name for index in chosen]
    if spec.region is not None:
        raise SystemExit(f"{package.path} uses a region of the frame; name whole golden images with --data FOLDER")
    chosen = _draw(len(taught), parts, seed)
    images = [package.golden_image(index) for index in chosen]
    if spec.color == "mono":
        images = [np.ascontiguousarray(image[..., 0]) for image in images]
    return images, [taught[index] for index in chosen]


def _draw(count: int, parts: int, seed: int) -> list[int]:
    chosen: list[int] = np.sort(np.random.default_rng(seed).permutation(count)[:parts]).tolist()
    return chosen


def plot(tolerances: Tolerances, title: str) -> Figure:
    """Draw the shares by amount, one panel for each kind of difference, with the tolerated range shaded."""
    columns = 3
    rows = -(-len(tolerances.series) // columns)
    figure = Figure(figsize=(4 * columns, 2.9 * rows + 0.8), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    for axes, series in zip(panels, tolerances.series, strict=False):
        _draw_series(axes, series)
    for axes in panels[len(tolerances.series) :]:
        axes.set_axis_off()
    for axes in panels[::columns]:
        axes.set_ylabel("share of frames, %")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    figure.suptitle(title, fontsize=13, fontweight="bold")
    return figure


def _draw_series(axes: Axes, series: ToleranceSeries) -> None:
    """Draw amounts at equal distances, because small amounts are close together."""
    amounts = [point.amount for point in series.points]
    low, high = (amounts.index(amount) for amount in series.tolerated)
    axes.axvspan(low - 0.15, high + 0.15, color="#e3f0e8", label="tolerated")
    for name, colour in (("right", GREEN), ("unknown", GREY), ("wrong", RED)):
        shares = [100 * getattr(point, name) for point in series.points]
        style = "-" if series.unit else "none"  # nothing lies between the two colour orders
        axes.plot(range(len(amounts)), shares, linestyle=style, color=colour, marker="o", markersize=4, label=name)
    shown = [f"{amount:g}" for amount in amounts] if series.unit else ["as taught", "swapped"]
    axes.set_xticks(range(len(amounts)), shown, fontsize=8)
    axes.set_xlim(-0.5, len(amounts) - 0.5)
    axes.set_ylim(-4, 104)
    axes.set_title(f"{series.name}, {series.unit}" if series.unit else series.name, fontsize=11)
    tidy(axes, "y")


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, "fit")
    parser.add_argument("--data", type=Path, help="folder with golden/ (default: the package's own golden images)")
    parser.add_argument("package", metavar="PACKAGE", type=Path)
    parser.add_argument("--provider", default="cpu", help="default: %(default)s")
    parser.add_argument("--precision", default="fp32", help="default: %(default)s")
    parser.add_argument("--parts", type=int, default=300, help="largest number of parts (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of sample and variation (default: %(default)s)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
