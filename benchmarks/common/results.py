"""Results: the options that all benchmarks share, and the files that they write."""

import argparse
import json
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

REPOSITORY = Path(__file__).resolve().parents[2]
DATA_VARIABLE = "PARTSIGHT_DATA"
_PACKAGES = (
    "partsight", "numpy", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt",
    "tensorflow", "keras", "torch",
)  # fmt: skip


def default_data() -> Path:
    """Return the folder in the environment variable PARTSIGHT_DATA, else the sample parts in examples/."""
    return Path(os.environ.get(DATA_VARIABLE, REPOSITORY / "examples" / "parts"))


def machine() -> dict[str, str]:
    """Return facts of the machine: processor, cores, card and versions."""
    facts = {"processor": _processor(), "cores": str(os.cpu_count()), **_card(), "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            facts[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return facts


def write_results(folder: Path, name: str, results: dict[str, Any], table: str) -> None:
    """Write results as JSON and as a Markdown table, with the facts of the machine."""
    folder.mkdir(parents=True, exist_ok=True)
    facts = machine()
    text = json.dumps({"machine": facts, "results": results}, indent=1) + "\n"
    (folder / f"{name}.json").write_text(text, encoding="utf-8")
    footer = ", ".join(f"{key} {value}" for key, value in facts.items())
    (folder / f"{name}.md").write_text(f"{table}\n\n{footer}\n", encoding="utf-8")


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_report(args: argparse.Namespace, results: dict[str, Any], text: str, figure: Figure) -> None:
    """Print the Markdown text, and write text, JSON and plot."""
    print(text)
    write_results(args.out, args.name, results, text)
    figure.savefig(args.out / f"{args.name}.png", dpi=110)
    print(f"written to {args.out / args.name}.json, .md and .png")


def make_parser(
    documentation: str | None, name: str, *, rounds: int | None = None, frames: int | None = None
) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark.

    Args:
        documentation: Docstring of the benchmark, for its help.
        name: Default name of the result files.
        rounds: Default of `--rounds`; None for a benchmark without this option.
        frames: Default of `--frames`; None for a benchmark without this option.
    """
    made = argparse.ArgumentParser(
        description=documentation,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        conflict_handler="resolve",  # a benchmark may define an option again
    )
    made.add_argument(
        "--data",
        type=Path,
        default=default_data(),
        help="folder with golden/, line/ and unknown/ (default: $PARTSIGHT_DATA, else examples/parts)",
    )
    if frames is not None:
        made.add_argument("--frames", type=int, default=frames, help="number of frames (default: %(default)s)")
    if rounds is not None:
        made.add_argument("--rounds", type=int, default=rounds, help="default: %(default)s")
    made.add_argument("--out", type=Path, default=Path("build/benchmarks"), help="folder (default: %(default)s)")
    made.add_argument("--name", default=name, help="name of the result files (default: %(default)s)")
    return made


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _card() -> dict[str, str]:
    """Return the NVIDIA cards and their driver; empty without a card."""
    if shutil.which("nvidia-smi") is None:
        return {}
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return {"card": "; ".join(found.stdout.split("\n")).strip("; ")} if found.returncode == 0 else {}
