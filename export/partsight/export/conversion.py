"""Conversion: from Keras to a folded ONNX graph with the inputs and outputs that the runtime expects."""

import contextlib
import gc
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import onnx

from partsight.train.framework import tf

# isort: split
import tf2onnx  # after `framework`: tf2onnx imports Keras too, with the backend of the user's settings

from partsight.export.folding import FoldSummary, fold, summarise
from partsight.runtime.core import ExportError, release_freed_memory
from partsight.runtime.inference import EMBEDDING_NAME, INPUT_NAME, SCORE_NAME
from partsight.train.interrupts import interrupts_kept

OPSET = 17


@dataclass(frozen=True)
class Converted:
    """A converted model and the result of folding."""

    model: onnx.ModelProto
    summary: FoldSummary


@interrupts_kept()
def convert(network: Any) -> Converted:
    """Convert a stacked model.

    Args:
        network: A keras.Model from (batch, height, width, 3) uint8 BGR to {score, embedding}.

    Returns:
        A graph from `image_bgr`, uint8, to `score` and `embedding`, float32; the batch axis has the name `batch`.

    Raises:
        ExportError: tf2onnx cannot convert the model, or folding leaves a BatchNormalization.
    """
    model = _trace(network)
    summary = fold(model, INPUT_NAME)
    _name_batch_axis(model)
    check_folded(summarise(model))
    _check_contract(model)
    return Converted(model, summary)


def check_folded(summary: FoldSummary) -> None:
    """Check that no BatchNormalization is left, neither as a node nor as separate multiplications and additions.

    Raises:
        ExportError: One is left.
    """
    if summary.batch_norm_left or summary.foldable_left:
        raise ExportError(
            f"{summary.batch_norm_left} BatchNormalization nodes and {summary.foldable_left} affine nodes behind a "
            "convolution are left in the graph; expected 0: folding does not know this form of backbone; please "
            "report it with the backbone's name"
        )


def _trace(network: Any) -> onnx.ModelProto:
    """Convert a traced function of the network, because tf2onnx does not support the tensor names of Keras 3."""
    # It hides warnings about tf2onnx's own steps, which the user cannot act on.
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    signature = [tf.TensorSpec((None, *network.input_shape[1:]), tf.uint8, name=INPUT_NAME)]

    @tf.function(input_signature=signature)  # type: ignore[untyped-decorator]
    def answer(frames: Any) -> Any:
        outputs = network(frames, training=False)
        return {name: tf.identity(outputs[name]) for name in (EMBEDDING_NAME, SCORE_NAME)}

    try:
        with _copies_collected():
            model, _ = tf2onnx.convert.from_function(answer, input_signature=signature, opset=OPSET)
    except (ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ExportError(
            f"tf2onnx cannot convert the model ({error}); use a backbone whose layers tf2onnx knows"
        ) from error
    return model


@contextlib.contextmanager
def _copies_collected() -> Iterator[None]:
    """Run Python's garbage collector often.

    tf2onnx copies the graph with all weights for each of its twenty optimisers, and the copies are reference cycles.
    Python collects cycles only after a quarter more objects exist, which next to TensorFlow's objects never happens.
    For InceptionV3 the copies took 4 GB.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(5000, 1, 1)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()
        release_freed_memory()


def _name_batch_axis(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].ClearField("dim_value")
        value.type.tensor_type.shape.dim[0].dim_param = "batch"


def _check_contract(model: onnx.ModelProto) -> None:
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        # tf2onnx leaves an unknown operation in the graph and only logs it.
        reason = " ".join(str(error).split())
        raise ExportError(
            f"the converted graph is not ONNX ({reason}); use a backbone whose layers tf2onnx knows"
        ) from error
    inputs = [value.name for value in model.graph.input]
    outputs = sorted(value.name for value in model.graph.output)
    if inputs != [INPUT_NAME] or outputs != sorted([SCORE_NAME, EMBEDDING_NAME]):
        raise ExportError(
            f"the converted graph has inputs {inputs} and outputs {outputs}; expected {INPUT_NAME}, and "
            f"{SCORE_NAME} and {EMBEDDING_NAME}"
        )
