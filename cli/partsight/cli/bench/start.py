"""The start: seconds and memory that a new process of the line costs."""

import json
import subprocess
import sys
import time

from partsight.cli.bench.facts import Speed, StartCost
from partsight.runtime.core import PartsightError

_MAX_S = 300

# The parent notes the time of the start, so that Python's own start and all imports count.
_PROGRAM = """
import json, sys, time
task = json.loads(sys.argv[1])
import numpy as np
from partsight.runtime import Recognizer
options = {name: task[name] for name in ("provider", "precision", "batch_size")}
with Recognizer(task["package"], **options) as recognizer:
    frame = np.full(task["shape"], 200, np.uint8)
    recognizer.recognize(frame)
    first_answer_s = time.time() - task["started"]
    recognizer.recognize_batch([frame] * task["batch_size"])
peak_mb = None
if sys.platform == "linux":  # getrusage would count the memory of the parent too
    with open("/proc/self/status") as status:
        peak_mb = next((int(line.split()[1]) * 1024 / 1e6 for line in status if line.startswith("VmHWM:")), None)
elif sys.platform != "win32":
    import resource
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(json.dumps({"first_answer_s": first_answer_s, "peak_mb": peak_mb}))
"""


def measure_start(package: str, speed: Speed, shape: tuple[int, ...]) -> StartCost:
    """Start a process that answers one frame, then a batch.

    Args:
        package: Path of the package.
        speed: Configuration and batch size to start with.
        shape: Shape of a frame: (height, width, 3), or (height, width) if it is grey.

    Raises:
        PartsightError: The process failed.
    """
    options = {"provider": speed.provider, "precision": speed.precision, "batch_size": speed.batch}
    task = {"package": package, "shape": shape, **options, "started": time.time()}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, json.dumps(task)],
            check=True,
            capture_output=True,
            text=True,
            timeout=_MAX_S,
        )
        return StartCost(**json.loads(done.stdout))
    except (subprocess.SubprocessError, OSError, ValueError, TypeError) as error:
        output = str(getattr(error, "stderr", None) or error).strip().splitlines()
        raise PartsightError(
            f"a new process with {speed.configuration}, started to measure its cost, failed ({output[-1]}). Check that "
            "there is memory for two processes, or leave this measurement out with --no-start"
        ) from error
