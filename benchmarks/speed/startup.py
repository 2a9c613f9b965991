"""How long does a start take: import, time from process start to the first label, and memory?

Each round starts a fresh process for each case, as a line's restart does. The parent's clock runs from before the
process exists until the first label arrives. The lower limit is a plain ONNX Runtime program: it imports NumPy, OpenCV
and ONNX Runtime, loads and resizes a frame, runs the network and takes the best class. All files are in the system's
cache; after a boot they come from the disk and the start takes longer.

Example:
    python -m benchmarks.speed.startup line3.partsight --rounds 7
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from benchmarks.common.configurations import brief, left_out_text
from benchmarks.common.frames import line_frames, parse_size
from benchmarks.common.plot import BLUE, GREEN, GREY, PlotBar, bar_figure
from benchmarks.common.results import make_parser, markdown_table, write_report
from benchmarks.common.rounds import median_of, spread
from partsight.runtime import ModelPackage
from partsight.runtime.core import progress, progress_bar

CHILD = Path(__file__).with_name("startup_child.py")
CALLS = 3
"""Number of batches after the first label, for the peak of memory."""
LEAST = {"cpu": 0.5, "openvino": 1.0}
"""Promised seconds to the first label, for InceptionV3 on OpenVINO from its cache."""
MIN_MEMORY_MB = 200.0
"""Promised peak of memory in MB, for InceptionV3 in INT8 on `cpu`."""


@dataclass(frozen=True)
class StartCase:
    """Work of a fresh process.

    Attributes:
        name: Name in tables and pictures.
        kind: Kind of program that `startup_child.py` runs.
        settings: Settings of that program.
        provider, precision: Configuration of a recogniser; empty for other programs.
        is_cached: Whether it starts from OpenVINO's cache of an earlier start.
    """

    name: str
    kind: str
    settings: dict[str, Any] = field(default_factory=dict)
    provider: str = ""
    precision: str = ""
    is_cached: bool = False


@dataclass(frozen=True)
class StartupRow:
    """Medians of the rounds of one case.

    Attributes:
        name: Name of the case.
        first_label_s, first_label_p90_s: Time from before the process exists; median and 90th percentile.
        import_s, load_s: Time of imports and of opening the package, as the process measures them.
        resident_mb: Memory after the first label, in MB of 10^6 bytes.
        peak_mb: Peak of memory until then.
        peak_batches_mb: Peak of memory after batches.
    """

    name: str
    first_label_s: float
    first_label_p90_s: float
    import_s: float
    load_s: float
    resident_mb: float
    peak_mb: float
    peak_batches_mb: float


def main(arguments: list[str] | None = None) -> None:
    """Measure, print tables and write result files."""
    args = _parse(arguments)
    package = ModelPackage.read(args.package)
    with tempfile.TemporaryDirectory() as folder:
        frame = Path(folder) / "frame.npy"
        np.save(frame, line_frames(args.data, 1, args.frame_size)[0])
        shared = {"frame": str(frame), "package": str(args.package), "batch": args.batch, "calls": CALLS}
        cases, left_out = _working(all_cases(package, args.provider, Path(folder) / "cache"), shared)
        rounds = _rounds(cases, shared, args.rounds)
    rows = [_row(case.name, rounds[case.name]) for case in cases if case.kind != "import"]
    imports = rounds[cases[0].name]
    text = (to_table(rows, args.batch), _import_text(imports), left_out_text(left_out), goals(cases, rows))
    results = {"rows": [asdict(row) for row in rows], "import": imports, "rounds": args.rounds, "left_out": left_out}
    write_report(args, results, "\n\n".join(filter(None, text)), plot(rows, f"{args.package.stem}: start of a process"))


def all_cases(package: ModelPackage, providers: list[str], cache: Path) -> list[StartCase]:
    """Return the cases: the import, plain ONNX Runtime, then partsight."""
    files = {name: str(package.path / model.file) for name, model in package.manifest.models.items()}
    precisions = [precision for precision in ("fp32", "int8") if precision in files]
    cases = [StartCase("import", "import")]
    cases += [StartCase(f"plain ONNX Runtime {name}", "raw", {"file": files[name]}) for name in precisions]
    for precision in precisions if "cpu" in providers else ():
        for matching, words in ((False, "network alone"), (True, "golden images")):
            cases.append(_recognizer(f"cpu {precision}, {words}", "cpu", precision, matching))
    for precision in precisions if "openvino" in providers else ():
        cases.append(_recognizer(f"openvino {precision}, no cache", "openvino", precision, True))
        cases.append(_recognizer(f"openvino {precision}, from cache", "openvino", precision, True, cache))
    return cases


def _recognizer(name: str, provider: str, precision: str, matching: bool, cache: Path | None = None) -> StartCase:
    options = {"provider": provider, "precision": precision, "matching": matching}
    settings = {"options": options, "engine": {"cache": str(cache)} if cache else {}}
    return StartCase(name, "recognizer", settings, provider, precision, cache is not None)


def _working(cases: list[StartCase], shared: dict[str, Any]) -> tuple[list[StartCase], dict[str, str]]:
    """Start each case once without measuring, to fill caches; return the working cases and why others fail."""
    works: list[StartCase] = []
    left_out: dict[str, str] = {}
    for case in progress(cases, len(cases), "first start", "start"):
        try:
            _start(case, shared)
        except RuntimeError as error:
            left_out[case.name] = brief(error)
            continue
        works.append(case)
    return works, left_out


def _rounds(cases: list[StartCase], shared: dict[str, Any], rounds: int) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {case.name: [] for case in cases}
    rng = np.random.default_rng(0)
    with progress_bar(rounds * len(cases), "starts", "start") as bar:
        for _ in range(rounds):
            for index in rng.permutation(len(cases)):
                found[cases[index].name].append(_start(cases[index], shared))
                bar.update()
    return found


def _start(case: StartCase, shared: dict[str, Any]) -> dict[str, Any]:
    """Start a process and return its figures and the clock's.

    Raises:
        RuntimeError: The process failed; the message is the last line of its error.
    """
    config = json.dumps(shared | {"kind": case.kind} | case.settings)
    # Write bytecode, as installed packages have it; otherwise each start compiles all sources again.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        command = [sys.executable, str(CHILD), config]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
            assert process.stdout
            line = process.stdout.readline()
            first_label_s = time.perf_counter() - started
            rest = process.stdout.read()
        errors.seek(0)
        if process.returncode != 0:
            raise RuntimeError(errors.read().strip().rpartition("\n")[2])
    found = json.loads(line) | {"first_label_s": first_label_s}
    return found | {f"{name}_batches": value for name, value in json.loads(rest or "{}").items()}


def _row(name: str, rounds: list[dict[str, Any]]) -> StartupRow:
    def median(key: str) -> float:
        return median_of([found.get(key, float("nan")) for found in rounds])

    first_label = [found["first_label_s"] for found in rounds]
    keys = ("import_s", "load_s", "resident_mb", "peak_mb", "peak_mb_batches")
    return StartupRow(name, median_of(first_label), spread(first_label)[1], *map(median, keys))


def to_table(rows: list[StartupRow], batch: int) -> str:
    """Return the figures as a Markdown table."""
    head = (
        "start", "first label", "90th percentile", "of it import", "of it loading", "memory after it", "peak",
        f"peak after batches of {batch}",
    )  # fmt: skip
    lines = []
    for row in rows:
        seconds = (row.first_label_s, row.first_label_p90_s, row.import_s, row.load_s)
        memory = (row.resident_mb, row.peak_mb, row.peak_batches_mb)
        lines.append((row.name, *(f"{value:.2f} s" for value in seconds), *(f"{value:.0f} MB" for value in memory)))
    return markdown_table(head, lines)


def _import_text(imports: list[dict[str, Any]]) -> str:
    seconds = median_of([found["import_s"] for found in imports])
    loaded = "LOADS" if any(found["tensorflow"] for found in imports) else "does not load"
    return f"`import partsight.runtime` takes {seconds:.2f} s and {loaded} TensorFlow."


def goals(cases: list[StartCase], rows: list[StartupRow]) -> str:
    """Return promises and figures as a Markdown table."""
    found = {row.name: row for row in rows}
    lines: list[tuple[str, ...]] = []
    for case in (case for case in cases if case.provider == "cpu" or case.is_cached):
        row = found[case.name]
        lines.append(_goal(case.name, "first label", row.first_label_s, LEAST[case.provider], "{:.2f} s"))
        if (case.provider, case.precision) == ("cpu", "int8"):
            lines.append(_goal(case.name, "peak after batches", row.peak_batches_mb, MIN_MEMORY_MB, "{:.0f} MB"))
    return markdown_table(("start", "what", "found", "promised at most", "kept"), lines)


def _goal(name: str, what: str, found: float, most: float, shape: str) -> tuple[str, ...]:
    return (name, what, shape.format(found), shape.format(most), "yes" if found <= most else "NO")


def plot(rows: list[StartupRow], title: str) -> Figure:
    """Draw the time to the first label, and the peak of memory."""
    panels: list[tuple[str, Callable[[StartupRow], float], str]] = [
        ("process start to first label, s", lambda row: row.first_label_s, "{:.2f} s"),
        ("peak of memory with batches, MB", lambda row: row.peak_batches_mb, "{:.0f} MB"),
    ]
    drawn = [
        (name, [PlotBar(row.name, value(row), shape.format(value(row)), _colour(row.name)) for row in rows])
        for name, value, shape in panels
    ]
    return bar_figure(drawn, "", title)


def _colour(name: str) -> str:
    return GREY if name.startswith("plain") else BLUE if name.startswith("openvino") else GREEN


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser(__doc__, "startup", rounds=7)
    parser.add_argument("package", metavar="PACKAGE", type=Path)
    parser.add_argument("--provider", nargs="+", choices=LEAST, default=list(LEAST), help="default: both")
    parser.add_argument("--batch", type=int, default=16, help="frames in a batch (default: %(default)s)")
    parser.add_argument("--frame-size", type=parse_size, default=(1280, 1024), help="default: 1280x1024")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
