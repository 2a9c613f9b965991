"""The start: what a new process of the line costs in seconds and memory."""

import json
import subprocess
import sys
import time

from partsight.cli.bench_facts import Speed, Start
from partsight.runtime.core import PartsightError

_MAX_S = 300

# The moment of the start comes from the parent: Python's own start and all imports count.
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
if sys.platform == "linux":  # not getrusage, which counts the parent's memory, too
    with open("/proc/self/status") as status:
        peak_mb = next((int(line.split()[1]) * 1024 / 1e6 for line in status if line.startswith("VmHWM:")), None)
elif sys.platform != "win32":
    import resource
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(json.dumps({"first_answer_s": first_answer_s, "peak_mb": peak_mb}))
"""


def measure_start(package: str, speed: Speed, shape: tuple[int, ...]) -> Start:
    """Start a process that answers one frame, then a batch.

    Args:
        package: its folder.
        speed: the configuration to start.
        shape: of a frame.

    Raises:
        PartsightError: the process failed.
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
        return Start(**json.loads(done.stdout))
    except (subprocess.SubprocessError, OSError, ValueError, TypeError) as error:
        said = str(getattr(error, "stderr", None) or error).strip().splitlines()
        raise PartsightError(
            f"a new process with {speed.way} was started to see what that costs, and failed ({said[-1]}); expected an "
            "answer as this process gave it: is there memory for both? --no-start leaves this out"
        ) from error
