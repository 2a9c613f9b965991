"""Competitor of `peers.py` in its own process, so that other libraries' threads and imports do not slow it.

It reads lines of JSON from stdin and answers each with one line on stdout. It is idle except in its turn.
"""

import itertools
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.common.frames import batches
from benchmarks.common.rounds import timed
from partsight.runtime import ModelPackage, Recognizer
from partsight.runtime.images import preprocess
from partsight.runtime.inference import ModelSettings, Session
from partsight.runtime.recognition import load_search

Config = dict[str, Any]
Answer = Callable[[list[Any]], Any]
"""Function from frames to the class of each."""


def main() -> None:
    """Load a competitor, report that it is ready, and take turns until stdin ends."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # libraries print to stdout as well
    config = json.loads(sys.stdin.readline())
    frames = list(np.load(config["frames"], mmap_mode="r"))
    try:
        answer = BUILDERS[config["kind"]](config)
        sources = {size: itertools.cycle(_chunks(frames, size)) for size in config["batches"]}
        classes = {size: _classes(answer, frames, size) for size in config["batches"]}  # compiles for each size, too
    except Exception as error:  # noqa: BLE001 (any error of a library leaves it out)
        print(json.dumps({"error": f"{type(error).__name__}: {error}"}), file=replies)
        return
    print(json.dumps({"classes": list(classes.values())[-1]}), file=replies)
    for line in sys.stdin:
        turn = json.loads(line)
        source = sources[turn["batch"]]
        seconds = timed(lambda source=source: answer(next(source)), turn["turn_s"])
        print(json.dumps({"seconds": seconds}), file=replies)


def _chunks(frames: list[Any], size: int) -> list[list[Any]]:
    """Return batches of one size, the same in each call."""
    return list(itertools.islice(batches(frames, size), max(1, len(frames) // size)))


def _classes(answer: Answer, frames: list[Any], size: int) -> list[int]:
    return [int(found) for chunk in _chunks(frames, size) for found in answer(chunk)]


def _preprocessing(config: Config) -> Callable[[list[Any]], Any]:
    """Return partsight's preprocessing, which most competitors use."""
    spec = ModelPackage.read(config["package"]).manifest.preprocess
    return lambda frames: preprocess(frames, spec)


def _model(config: Config) -> Any:
    """Return the Keras model that the package was exported from."""
    from partsight.train.run_folder import RunFolder

    return RunFolder.read(config["run"]).load_model()


def _keras(config: Config) -> Answer:
    prepare, model = _preprocessing(config), _model(config)
    return lambda frames: model.predict(prepare(frames), verbose=0)["score"].argmax(axis=1)


def _keras_function(config: Config) -> Answer:
    import tensorflow as tf

    prepare, model = _preprocessing(config), _model(config)
    function = tf.function(lambda batch: model(batch, training=False)["score"], jit_compile=config["jit"])
    return lambda frames: function(tf.constant(prepare(frames))).numpy().argmax(axis=1)


def _keras_torch(config: Config) -> Answer:
    """Run the same Keras model on Keras' PyTorch backend."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras  # noqa: F401 (before partsight, which imports it with TensorFlow)
    import torch

    prepare, model = _preprocessing(config), _model(config)

    def answer(frames: list[Any]) -> Any:
        with torch.inference_mode():
            return model(torch.from_numpy(prepare(frames)), training=False)["score"].numpy().argmax(axis=1)

    return answer


def _torch(config: Config) -> Answer:
    """Run the package's folded network in PyTorch, channels last."""
    import onnx
    import torch

    from benchmarks.speed.torch_network import network_of

    prepare, network = _preprocessing(config), network_of(onnx.load(config["file"]))
    call = network
    if config["is_compiled"]:
        torch._inductor.config.freezing = True  # weights are constants, so PyTorch lays them out only once
        call = torch.compile(network, dynamic=False)

    def answer(frames: list[Any]) -> Any:
        with torch.inference_mode():
            return call(torch.from_numpy(prepare(frames))).numpy().argmax(axis=1)

    return answer


def _naive(config: Config) -> Answer:
    """Run a typical program: cv2.resize for one frame after the other, and a session with default options."""
    import onnxruntime as ort

    session = ort.InferenceSession(config["file"], providers=["CPUExecutionProvider"])
    image = session.get_inputs()[0]
    height, width = image.shape[1:3]

    def answer(frames: list[Any]) -> Any:
        resized = [cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in frames]
        return session.run(["score"], {image.name: np.stack(resized)})[0].argmax(axis=1)

    return answer


def _cv2_dnn(config: Config) -> Answer:
    prepare, network = _preprocessing(config), cv2.dnn.readNetFromONNX(config["file"])

    def answer(frames: list[Any]) -> Any:
        network.setInput(prepare(frames))
        return network.forward("score").argmax(axis=1)

    return answer


def _native_openvino(config: Config) -> Answer:
    import openvino

    prepare = _preprocessing(config)
    options = {"PERFORMANCE_HINT": "LATENCY"} | config["options"]
    compiled = openvino.Core().compile_model(config["file"], "CPU", options)
    score = compiled.output("score")
    return lambda frames: compiled(prepare(frames))[score].argmax(axis=1)


def _recognizer(config: Config) -> Answer:
    options = {name: config[name] for name in ("provider", "precision", "matching")}
    recognizer = Recognizer(config["package"], batch_size=max(config["batches"]), **options)
    index = {label: index for index, label in enumerate(recognizer.labels)}
    return lambda frames: [index[result.top[0][0]] for result in recognizer.recognize_batch(frames)]


def _raw(config: Config) -> Answer:
    """Run the session alone on prepared batches: the limit for `Recognizer`."""
    model, search = Path(config["file"]).read_bytes(), load_search(ModelPackage.read(config["package"]))
    session = Session(model, config["provider"], ModelSettings(config["precision"]), search)
    prepare = _preprocessing(config)
    ready: dict[tuple[int, int], Any] = {}

    def answer(frames: list[Any]) -> Any:
        key = len(frames), frames[0].ctypes.data
        if key not in ready:
            ready[key] = prepare(frames)
        return session.run(ready[key]).score.argmax(axis=1)

    return answer


BUILDERS: dict[str, Callable[[Config], Answer]] = {
    "keras": _keras,
    "keras-function": _keras_function,
    "keras-torch": _keras_torch,
    "torch": _torch,
    "naive": _naive,
    "cv2.dnn": _cv2_dnn,
    "openvino": _native_openvino,
    "recognizer": _recognizer,
    "raw": _raw,
}

if __name__ == "__main__":
    main()
