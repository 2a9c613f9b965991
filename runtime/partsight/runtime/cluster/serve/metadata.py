"""Metadata of a served model, as KServe v2 and Triton describe models."""

import importlib.metadata
from typing import Any

from partsight.runtime.cluster.serve.frames import FILES, PREPARED, WHOLE
from partsight.runtime.cluster.serve.model import VERSION, ModelFacts
from partsight.runtime.recognition import ANSWER_TENSORS, NETWORK_SCORE

PLATFORM = "partsight"
EXTENSIONS = ("binary_tensor_data", "model_configuration", "model_repository")

Facts = dict[str, Any]


def server_metadata() -> Facts:
    """Return the answer to `GET /v2`."""
    return {
        "name": PLATFORM,
        "version": importlib.metadata.version("partsight"),
        "extensions": list(EXTENSIONS),
    }


def model_metadata(facts: ModelFacts) -> Facts:
    """Return the answer to `GET /v2/models/NAME`. −1 stands for any size."""
    height, width = facts.via_hw
    inputs = [
        (PREPARED, "UINT8", [-1, height, width, 3]),
        (WHOLE, "UINT8", [-1, -1, -1, 3]),
        (FILES, "BYTES", [-1]),
    ]
    outputs = [(spec.name, spec.datatype, [-1, *([spec.width] if spec.width else [])]) for spec in ANSWER_TENSORS]
    outputs.append((NETWORK_SCORE, "FP32", [-1, facts.parts]))
    return {
        "name": facts.name,
        "versions": [VERSION],
        "platform": PLATFORM,
        "inputs": [_tensor(*item) for item in inputs],
        "outputs": [_tensor(*item) for item in outputs],
    }


def model_config(facts: ModelFacts) -> Facts:
    """Return the answer to `GET /v2/models/NAME/config`, as Triton's: the parameters name the package."""
    metadata = model_metadata(facts)
    parameters = {
        "package_id": facts.package_id,
        "labels": str(facts.parts),
        "threshold": repr(facts.threshold),
        "signed_by": ",".join(facts.signed_by),
    }
    return {
        "name": facts.name,
        "platform": PLATFORM,
        "backend": PLATFORM,
        "max_batch_size": facts.max_frames,
        "input": [_without_batch(item) | {"optional": True} for item in metadata["inputs"]],
        "output": [_without_batch(item) for item in metadata["outputs"]],
        "parameters": {key: {"string_value": value} for key, value in parameters.items()},
    }


def index_entry(name: str, *, is_ready: bool) -> Facts:
    """Return an entry of the answer to `POST /v2/repository/index`."""
    return {"name": name, "version": VERSION, "state": "READY" if is_ready else "UNAVAILABLE"}


def _tensor(name: str, datatype: str, shape: list[int]) -> Facts:
    return {"name": name, "datatype": datatype, "shape": shape}


def _without_batch(tensor: Facts) -> Facts:
    """Return a tensor as Triton's configuration names it: without the axis of the batch."""
    datatype = "STRING" if tensor["datatype"] == "BYTES" else tensor["datatype"]
    shape = [str(size) for size in tensor["shape"][1:]]  # 64-bit numbers are texts in protobuf's JSON
    return {"name": tensor["name"], "data_type": f"TYPE_{datatype}", "dims": shape or ["1"]}
