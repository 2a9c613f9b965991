"""Child process of `startup.py`: answers one frame, prints figures, runs batches, and prints figures again.

The argument is JSON, and each line on stdout is JSON. The process imports only the modules that a line's program needs.
"""

import json
import sys
import time

_STARTED = time.perf_counter()
"""Time after the interpreter has started; only the parent can measure the start of the interpreter."""


def main() -> None:
    """Run the case that the argument describes."""
    config = json.loads(sys.argv[1])
    if config["kind"] == "import":
        import partsight.runtime  # noqa: F401 (the import is measured)

        _print_values(import_s=time.perf_counter() - _STARTED, tensorflow="tensorflow" in sys.modules)
    else:
        (_raw if config["kind"] == "raw" else _recognizer)(config)


def _recognizer(config: dict) -> None:
    import numpy as np

    from partsight.runtime import EngineSettings, Recognizer

    imported_s = time.perf_counter() - _STARTED
    frame, batch = np.load(config["frame"]), config["batch"]
    engine = EngineSettings(**config["engine"])
    with Recognizer(config["package"], batch_size=batch, engine=engine, **config["options"]) as recognizer:
        loaded_s = time.perf_counter() - _STARTED
        first = recognizer.recognize(frame)
        _print_values(best=first.top[0][0], import_s=imported_s, load_s=loaded_s - imported_s, **_memory())
        for _ in range(config["calls"]):
            recognizer.recognize_batch([frame] * batch)
        _print_values(**_memory())


def _raw(config: dict) -> None:
    """Work as a program without partsight: the lower limit for every recogniser."""
    import cv2
    import numpy as np
    import onnxruntime as ort

    imported_s = time.perf_counter() - _STARTED
    frame = np.load(config["frame"])
    session = ort.InferenceSession(config["file"], providers=["CPUExecutionProvider"])
    height, width = session.get_inputs()[0].shape[1:3]
    loaded_s = time.perf_counter() - _STARTED

    def best(frames: list) -> list[int]:
        batch = np.stack([cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in frames])
        return session.run(["score"], {"image_bgr": batch})[0].argmax(axis=1).tolist()

    first = best([frame])
    _print_values(best=first[0], import_s=imported_s, load_s=loaded_s - imported_s, **_memory())
    for _ in range(config["calls"]):
        best([frame] * config["batch"])
    _print_values(**_memory())


def _memory() -> dict[str, float]:
    """Return the resident memory now and its peak, in MB of 10^6 bytes."""
    try:
        with open("/proc/self/status", encoding="utf-8") as status:  # noqa: PTH123 (pathlib would add to the import)
            found = dict(line.split(":", 1) for line in status)
        # Not from getrusage: after fork and exec, its peak may be the parent's.
        return {f"{name}_mb": int(found[key].split()[0]) * 1024 / 1e6 for name, key in _STATUS}
    except OSError:
        return {}  # not Linux


_STATUS = (("resident", "VmRSS"), ("peak", "VmHWM"))


def _print_values(**values: object) -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    main()
