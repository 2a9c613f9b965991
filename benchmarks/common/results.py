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
    """Return the folder of parts: that of the environment variable PARTSIGHT_DATA, or the sample in examples/."""
    return Path(os.environ.get(DATA_VARIABLE, REPOSITORY / "examples" / "parts"))


def machine() -> dict[str, str]:
    """Return the facts that figures depend on: processor, cores, card and versions."""
    facts = {"processor": _processor(), "cores": str(os.cpu_count()), **_card(), "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            facts[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return facts


def write_results(folder: Path, name: str, results: dict[str, Any], table: str) -> None:
    """Write results as JSON and as a Markdown table, with the machine they were measured on."""
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
    """Print Markdown, and write it with the JSON and the picture."""
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
        rounds: Default of `--rounds`; None for a benchmark without rounds.
        frames: Default of `--frames`; None for a benchmark that takes no frames, or all.
    """
    made = argparse.ArgumentParser(
        description=documentation,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        conflict_handler="resolve",  # a benchmark may describe an option in its own words
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
    """Return the NVIDIA cards and their driver, where there is one."""
    if shutil.which("nvidia-smi") is None:
        return {}
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return {"card": "; ".join(found.stdout.split("\n")).strip("; ")} if found.returncode == 0 else {}
