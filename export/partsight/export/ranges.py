"""Ranges: smallest and largest numbers of each tensor in a network, measured over calibration frames."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from partsight.runtime.core import FloatArray, Pixels, progress
from partsight.runtime.inference import INPUT_NAME, import_onnxruntime

LEVELS = 255
"""Number of steps between the smallest and the largest 8-bit number."""

_BATCH = 4
_SAMPLES = 4096  # random numbers of a tensor, from each batch
_NARROWINGS = np.linspace(0.1, 1.0, 37)


@dataclass(frozen=True)
class Range:
    """Range of one tensor's values.

    Attributes:
        low, high: Smallest and largest value; low <= 0 <= high, because INT8 must hold 0 exactly (padding, Relu).
        sample: Random sample of the values, (samples,) float32.
    """

    low: float
    high: float
    sample: FloatArray

    @property
    def largest(self) -> float:
        """The largest absolute value."""
        return max(-self.low, self.high)

    def least_error(self) -> tuple[float, float]:
        """Return the range with the smallest mean square error of rounding to 8 bits, over the sample.

        A few large values make the full range wide and its 255 steps coarse. A narrower range has finer steps, but it
        clips values outside. The function tries 37 shares of the full range, from 0.1 to 1, and returns the best
        (OMSE, arXiv 1902.06822, section 3).
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
    """Run the network over the frames and return the range of each tensor, by name.

    Args:
        model: FP32 model with the input `image_bgr`.
        tensors: Names of its float tensors.
        frames: Prepared frames, (frames, height, width, 3) uint8 BGR.
        seed: Seed of the samples.
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
    """Load the model with the tensors as additional outputs, which the runtime's `Session` does not support."""
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
