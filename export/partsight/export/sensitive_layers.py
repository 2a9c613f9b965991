"""Sensitive layers: layers that INT8 changes most stay in FP32, if the model passes the gate with them."""

from dataclasses import dataclass

import numpy as np
import onnx

from partsight.export.gate import PrecisionGate
from partsight.export.int8 import Quantizer
from partsight.runtime.core import FloatArray, Pixels, progress
from partsight.runtime.inference import Session

MAX_KEPT = 0.25
"""Largest share of layers that may stay FP32; with more, INT8 would be hardly faster than FP32."""

_BATCH = 16


@dataclass(frozen=True)
class PartlyQuantized:
    """An INT8 model with some layers in FP32.

    Attributes:
        model: The model.
        kept: Names of the nodes in FP32.
    """

    model: onnx.ModelProto
    kept: tuple[str, ...]


def keep_sensitive_layers(
    quantizer: Quantizer, fp32: onnx.ModelProto, gate: PrecisionGate, frames: Pixels
) -> PartlyQuantized:
    """Return the passing model with the fewest layers in FP32; if none passes, the model with a quarter in FP32.

    The function ranks layers by the change of the embedding if only that layer is INT8. Bisection finds the smallest
    number of worst layers to keep. It assumes that one more kept layer never hurts; the gate judges the result anyway.

    Args:
        quantizer: Quantizer of the network.
        fp32: FP32 network.
        gate: Gate that refused the model with all layers in INT8.
        frames: Frames for the ranking, (frames, height, width, 3) uint8 BGR.
    """
    ranked = rank_layers(quantizer, fp32, gate, frames)
    enough = int(np.ceil(len(ranked) * MAX_KEPT))
    too_few = 0 if gate.would_pass(quantizer.quantize(_first(ranked, enough))) else enough - 1
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if gate.would_pass(quantizer.quantize(_first(ranked, middle))):
            enough = middle
        else:
            too_few = middle
    kept = _first(ranked, enough)
    return PartlyQuantized(quantizer.quantize(kept), tuple(name for layer in ranked[:enough] for name in layer))


def rank_layers(
    quantizer: Quantizer, fp32: onnx.ModelProto, gate: PrecisionGate, frames: Pixels
) -> list[tuple[str, ...]]:
    """Return the layers by falling change of the embedding if only that layer is INT8."""
    expected = _embeddings(gate.open(fp32), frames)
    every = {name for layer in quantizer.layers for name in layer}
    drift = []
    for layer in progress(quantizer.layers, len(quantizer.layers), "INT8: one layer at a time", "layer"):
        moved = _embeddings(gate.open(quantizer.quantize(every - set(layer))), frames)
        drift.append(float(np.square(moved - expected).sum(axis=1).mean()))
    order = np.argsort(-np.nan_to_num(np.array(drift), nan=np.inf), kind="stable")
    return [quantizer.layers[index] for index in order]


def _first(ranked: list[tuple[str, ...]], count: int) -> frozenset[str]:
    return frozenset(name for layer in ranked[:count] for name in layer)


def _embeddings(session: Session, frames: Pixels) -> FloatArray:
    return np.concatenate(
        [session.run(frames[start : start + _BATCH]).embedding for start in range(0, len(frames), _BATCH)]
    )
