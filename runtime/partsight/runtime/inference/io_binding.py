"""ONNX Runtime's IO binding: runs on buffers of the card that are made once, one set for each size of batch.

Without it, each run allocates on the card, and copies there and back from NumPy's memory. Binding again for each run
would copy as often (microsoft/onnxruntime#10000). So `BoundRuns` copies a batch into the bound buffer in place, and
fills up other sizes: for a new shape cuDNN would search again, and a CUDA graph would be void.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from partsight.runtime.core import Pixels
from partsight.runtime.inference.engine import BOUND_NAME, EMBEDDING_NAME, INPUT_NAME, SCORE_NAME, Inference


@dataclass(frozen=True)
class _Bucket:
    """The buffers for one size of batch.

    Attributes:
        host: Frames, (size, height, width, 3) uint8, in which a smaller batch is filled up.
        image: The same on the device.
        score, embedding: Outputs on the device; the score's bounds if the model has those.
        binding: IO binding of the three to the session.
        options: Run options with the number of the size's CUDA graph.
    """

    host: Pixels
    image: Any
    score: Any
    embedding: Any
    binding: Any
    options: Any


class BoundRuns:
    """Runs a session on bound buffers; one run at a time, because they are shared. Thread-safe."""

    def __init__(self, session: Any, sizes: Sequence[int], device: str, card: int = 0) -> None:
        """Make the buffers.

        Args:
            session: onnxruntime.InferenceSession of a model with partsight's contract.
            sizes: Sizes of the batches to run.
            device: ONNX Runtime's name of the buffers' device: `cuda`, or `cpu`, which gains nothing.
            card: Number of the session's card.
        """
        self._session = session
        place = device, card
        self._buckets = [_bucket(session, size, place, number) for number, size in enumerate(sorted(set(sizes)))]
        self._lock = threading.Lock()

    def run(self, batch: Pixels) -> Inference:
        """Run the model on a batch of any size; see `engine.Engine`."""
        largest = len(self._buckets[-1].host)
        parts = [self._run(batch[start : start + largest]) for start in range(0, len(batch), largest)]
        if len(parts) == 1:
            return parts[0]
        return Inference(
            np.concatenate([part.score for part in parts]), np.concatenate([part.embedding for part in parts])
        )

    def _run(self, batch: Pixels) -> Inference:
        count = len(batch)
        bucket = next(bucket for bucket in self._buckets if len(bucket.host) >= count)
        with self._lock:
            if count < len(bucket.host):
                bucket.host[:count] = batch
                batch = bucket.host
            bucket.image.update_inplace(batch)
            self._session.run_with_iobinding(bucket.binding, bucket.options)
            # Copies: the next run overwrites the device's buffers, and on a CPU `numpy` shows that same memory.
            return Inference(np.array(bucket.score.numpy()[:count]), np.array(bucket.embedding.numpy()[:count]))


def _bucket(session: Any, size: int, place: tuple[str, int], number: int) -> _Bucket:
    import onnxruntime as ort  # noqa: PLC0415 (an optional dependency)

    shapes = {node.name: node.shape[1:] for node in (*session.get_inputs(), *session.get_outputs())}
    host = np.zeros((size, *shapes[INPUT_NAME]), np.uint8)
    values = {INPUT_NAME: ort.OrtValue.ortvalue_from_numpy(host, *place)}
    scores = BOUND_NAME if BOUND_NAME in shapes else SCORE_NAME
    for name in (scores, EMBEDDING_NAME):
        values[name] = ort.OrtValue.ortvalue_from_shape_and_type((size, *shapes[name]), np.float32, *place)
    binding = session.io_binding()
    binding.bind_ortvalue_input(INPUT_NAME, values[INPUT_NAME])
    for name in (scores, EMBEDDING_NAME):
        binding.bind_ortvalue_output(name, values[name])
    options = ort.RunOptions()
    # Without graphs it does nothing. From 1 on: ONNX Runtime takes -1 for "none" and 0 for "the only one".
    options.add_run_config_entry("gpu_graph_id", str(number + 1))
    return _Bucket(host, values[INPUT_NAME], values[scores], values[EMBEDDING_NAME], binding, options)
