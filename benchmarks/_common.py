"""What every benchmark needs: data, progress, and result files that say where they come from."""

import json
import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
DATA_VARIABLE = "PARTSIGHT_DATA"
_PACKAGES = (
    "partsight", "numpy", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt",
    "tensorflow", "keras", "torch",
)  # fmt: skip


def default_data() -> Path:
    """Return the folder of parts: that of the environment variable PARTSIGHT_DATA, or the sample in examples/."""
    return Path(os.environ.get(DATA_VARIABLE, REPOSITORY / "examples" / "parts"))


def machine() -> dict[str, str]:
    """Return what a figure depends on: processor, cores, card and versions."""
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
