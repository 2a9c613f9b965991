"""Competitors of `gpu.py`: partsight with more and more optimisations, other programs, and the card's limit."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from partsight.runtime import EngineSettings, GpuSettings, ModelPackage
from partsight.runtime.core import Pixels
from partsight.runtime.inference import (
    EMBEDDING_NAME,
    INPUT_NAME,
    SCORE_NAME,
    Arithmetic,
    ModelSettings,
    Session,
    find_provider,
    import_onnxruntime,
    provider_options,
)
from partsight.runtime.recognition import load_search

NAIVE = "naive ONNX Runtime: float32 frames, defaults"
LIMIT = "limit: the card alone, nothing copied"

_OFF = GpuSettings(io_binding=False, cuda_graphs=False, nhwc=False, exhaustive_search=False, tf32=False)

Answer = Callable[[Pixels], np.ndarray]
"""Function from frames in the host's memory, (batch, height, width, 3) uint8, to the class of each, (batch,)."""


@dataclass(frozen=True)
class Step:
    """Set of optimisations for the network: its name, the arithmetic, and the options that are on."""

    name: str
    arithmetic: Arithmetic
    gpu: GpuSettings


def all_steps(precisions: set[str]) -> Iterator[Step]:
    """Yield the steps, each with all optimisations of the steps before it."""
    step = Step("uint8 frames", "fp32", _OFF)
    yield step
    for name, option in (
        ("IO binding", "io_binding"),
        ("cuDNN's search", "exhaustive_search"),
        ("channels last", "nhwc"),
        ("TF32", "tf32"),
        ("CUDA graphs", "cuda_graphs"),
    ):
        if option == "cuda_graphs" and "fp16" in precisions:
            step = Step("+ FP16", "fp16", step.gpu)
            yield step
        step = Step(f"+ {name}", step.arithmetic, replace(step.gpu, **{option: True}))
        yield step


class Card:
    """Builds competitors of one package on one provider."""

    def __init__(self, package: ModelPackage, provider: str) -> None:
        self.package, self.provider = package, find_provider(provider)
        self.spec = package.manifest.preprocess

    def step(self, step: Step, batch: int) -> Answer:
        """Return partsight's session with the optimisations of a step."""
        session = Session(self._model(step), self.provider.name, self._settings(step, batch), load_search(self.package))
        return lambda frames: session.run(frames).score.argmax(axis=1)

    def naive(self) -> Answer:
        """Return a typical program: float32 frames from NumPy, and a session with default options."""
        model = onnx.load_from_string(self.package.model_bytes("fp32"))
        model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT
        session = import_onnxruntime().InferenceSession(model.SerializeToString(), providers=[self._ort_name])
        return lambda frames: session.run([SCORE_NAME], {INPUT_NAME: frames.astype(np.float32)})[0].argmax(axis=1)

    def limit(self, step: Step, frames: Pixels) -> Callable[[], object]:
        """Return a run of the network on frames that are already on the card; the scores stay there."""
        ort = import_onnxruntime()
        settings = self._settings(step, len(frames))
        options = [(self._ort_name, provider_options(self.provider, settings))]
        session = ort.InferenceSession(self._model(step), providers=options)
        device = "cuda" if self.provider.on_card else "cpu"
        binding = session.io_binding()
        binding.bind_ortvalue_input(INPUT_NAME, ort.OrtValue.ortvalue_from_numpy(frames, device))
        for node in session.get_outputs():
            shape = (len(frames), *node.shape[1:])
            binding.bind_ortvalue_output(
                node.name, ort.OrtValue.ortvalue_from_shape_and_type(shape, np.float32, device)
            )
        return lambda: session.run_with_iobinding(binding)  # it waits until the card has finished

    def torch(self, *, is_compiled: bool) -> Answer:
        """Return the same network in PyTorch, in FP16 with channels last; on a CPU in FP32."""
        import torch

        from benchmarks.speed.torch_network import network_of

        device, dtype = ("cuda", torch.float16) if self.provider.on_card else ("cpu", torch.float32)
        network = network_of(onnx.load_from_string(self.package.model_bytes("fp32")), device, dtype)
        # It uses CUDA graphs, as partsight does. "max-autotune" would take many minutes for each size of batch.
        mode = "reduce-overhead" if self.provider.on_card else None
        call = torch.compile(network, mode=mode, dynamic=False) if is_compiled else network

        def answer(frames: Pixels) -> np.ndarray:
            with torch.inference_mode():
                classes: np.ndarray = call(torch.from_numpy(frames).to(device)).argmax(dim=1).cpu().numpy()
                return classes

        return answer

    def nodes_by_provider(self, step: Step, frames: Pixels, folder: Path) -> dict[str, int]:
        """Return the number of the network's nodes on each of ONNX Runtime's providers, by its profile."""
        ort = import_onnxruntime()
        options = ort.SessionOptions()
        options.enable_profiling, options.profile_file_prefix = True, str(folder / "profile")
        providers = [(self._ort_name, provider_options(self.provider, self._settings(step, len(frames))))]
        session = ort.InferenceSession(self._model(step), options, providers=providers)
        session.run([SCORE_NAME, EMBEDDING_NAME], {INPUT_NAME: frames})
        return profiled_nodes(session.end_profiling())

    @property
    def _ort_name(self) -> str:
        return self.provider.ort_name

    def _model(self, step: Step) -> bytes:
        return self.package.model_bytes("fp16" if step.arithmetic == "fp16" else "fp32")

    def _settings(self, step: Step, batch: int) -> ModelSettings:
        size = (self.spec.height, self.spec.width)
        return ModelSettings(step.arithmetic, batch_sizes=(batch,), input_hw=size, engine=EngineSettings(gpu=step.gpu))


def profiled_nodes(file: str) -> dict[str, int]:
    """Return the number of nodes on each of ONNX Runtime's providers, from a profile's file."""
    events: list[dict[str, Any]] = json.loads(Path(file).read_text("utf-8"))
    ran = {
        event["name"]: event["args"]["provider"]
        for event in events
        if event.get("cat") == "Node" and "provider" in event.get("args", {})
    }
    names = list(ran.values())
    return {name: names.count(name) for name in sorted(set(names))}


def labels(answer: Answer, frames: Pixels, batch: int) -> np.ndarray:
    """Return the class of each frame, in batches of one size; frames from the start fill the last batch."""
    filled = np.resize(frames, (-(-len(frames) // batch) * batch, *frames.shape[1:]))
    found = [answer(filled[start : start + batch]) for start in range(0, len(filled), batch)]
    return np.concatenate(found)[: len(frames)]
