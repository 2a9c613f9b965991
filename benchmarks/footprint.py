"""What does recognising cost a machine: import time, time to the first answer, peak memory?

Each round is a fresh process, as a line's restart is; medians are printed.

Example:
    python benchmarks/footprint.py line3.partsight --rounds 7
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from _common import write_results
from tqdm import tqdm

_IMPORT = """
import json, sys, time
started = time.perf_counter()
import partsight.runtime
print(json.dumps({"import_s": time.perf_counter() - started, "tensorflow": "tensorflow" in sys.modules}))
"""

_RECOGNIZE = """
import json, sys, time
started = time.perf_counter()
import numpy as np
from partsight.runtime import Recognizer
with Recognizer(sys.argv[1], batch_size=int(sys.argv[2])) as recognizer:
    frame = np.full((1024, 1280, 3), 200, np.uint8)
    recognizer.recognize(frame)
    first_s = time.perf_counter() - started
    for _ in range(10):
        recognizer.recognize_batch([frame] * int(sys.argv[2]))
try:
    import resource
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 2**20)
except ImportError:  # Windows
    peak_mb = float("nan")
print(json.dumps({"first_answer_s": first_s, "peak_memory_mb": peak_mb}))
"""


def main() -> None:
    """Measure, print a table and write result files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", metavar="PACKAGE", type=Path)
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--batch", type=int, default=16, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks"), help="folder (default: %(default)s)")
    parser.add_argument("--name", default="footprint", help="of the result files (default: %(default)s)")
    args = parser.parse_args()
    rounds = [
        _run(_IMPORT) | _run(_RECOGNIZE, str(args.package), str(args.batch))
        for _ in tqdm(range(args.rounds), desc="rounds", unit="round", disable=None)
    ]
    medians = {name: statistics.median(values[name] for values in rounds) for name in rounds[0] if name != "tensorflow"}
    rows = (
        ("`import partsight.runtime`", f"{medians['import_s']:.2f} s"),
        ("TensorFlow loaded by it", "yes" if any(values["tensorflow"] for values in rounds) else "no"),
        ("process start to the first answer", f"{medians['first_answer_s']:.2f} s"),
        (f"peak memory, batches of {args.batch}", f"{medians['peak_memory_mb']:.0f} MB"),
    )
    table = "\n".join(["| what | median |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])
    print(table)
    write_results(args.out, args.name, {"rounds": rounds, "medians": medians}, table)


def _run(program: str, *arguments: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-c", program, *arguments], check=True, capture_output=True, text=True)
    values: dict[str, float] = json.loads(done.stdout)
    return values


if __name__ == "__main__":
    main()
