"""Ranges: how large the numbers in a network get, measured over calibration frames."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from partsight.runtime.core import FloatArray, Pixels, progress
from partsight.runtime.inference import INPUT_NAME, import_onnxruntime

LEVELS = 255
"""Steps of an 8-bit number."""

_BATCH = 4
_SAMPLES = 4096  # of a tensor's numbers, from each batch
_NARROWINGS = np.linspace(0.1, 1.0, 37)


@dataclass(frozen=True)
class Range:
    """Values of one tensor.

    Attributes:
        low, high: least and largest number; low <= 0 <= high.
        sample: some of the numbers, drawn at random.
    """

    low: float
    high: float
    sample: FloatArray

    @property
    def largest(self) -> float:
        """Largest absolute value."""
        return max(-self.low, self.high)

    def least_error(self) -> tuple[float, float]:
        """Return the range for which rounding to 8 bits costs least, in mean square error over the sample.

        A narrower range has finer steps and cuts off values outside (OMSE, arXiv 1902.06822, section 3).
        """
        best, found = np.inf, (self.low, self.high)
        for share in _NARROWINGS:
            low, high = self.low * share, self.high * share
            step = (high - low) / LEVELS
            if step <= 0:
                continue
            rounded = np.clip(np.rint(self.sample / step) * step, low, high)
            error = float(np.mean((rounded - self.sample) ** 2))
            if error < best:
                best, found = error, (float(low), float(high))
        return found


def measure_ranges(
    model: onnx.ModelProto, tensors: Sequence[str], frames: Pixels, seed: int = 0
) -> Mapping[str, Range]:
    """Run the network over the frames and note the values of each tensor.

    Args:
        model: FP32; input `image_bgr`.
        tensors: names of float tensors that it computes.
        frames: (frames, height, width, 3) uint8 BGR, as `preprocess` makes them.
        seed: of the samples.
    """
    session = _session(model, tensors)
    rng = np.random.default_rng(seed)
    low, high = np.zeros(len(tensors)), np.zeros(len(tensors))
    samples: list[list[FloatArray]] = [[] for _ in tensors]
    starts = range(0, len(frames), _BATCH)
    for start in progress(starts, len(starts), "measuring ranges", f"×{_BATCH}"):
        values = session.run(list(tensors), {INPUT_NAME: frames[start : start + _BATCH]})
        for index, value in enumerate(values):
            low[index] = min(low[index], value.min())
            high[index] = max(high[index], value.max())
            samples[index].append(value.reshape(-1)[rng.integers(0, value.size, _SAMPLES)])
    return {
        name: Range(float(low[index]), float(high[index]), np.concatenate(samples[index]))
        for index, name in enumerate(tensors)
    }


def _session(model: onnx.ModelProto, tensors: Sequence[str]) -> Any:
    """Load the model with tensors as further outputs; the runtime's Session knows only the contract's."""
    wider = onnx.ModelProto()
    wider.CopyFrom(model)
    own = {output.name for output in model.graph.output}
    wider.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in tensors if name not in own
    )
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(wider.SerializeToString(), options, providers=["CPUExecutionProvider"])
