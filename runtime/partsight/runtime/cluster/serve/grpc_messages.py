"""Messages of KServe v2 over gRPC: from tritonclient's messages to requests, and from answers to messages."""

import copyreg
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from partsight.runtime.cluster.serve.model import VERSION, Answered
from partsight.runtime.cluster.serve.protocol import MAX_INPUTS, InferRequest, OutputRequest
from partsight.runtime.cluster.serve.tensor_data import DTYPES, RequestError, datatype_of, from_raw, to_raw
from partsight.runtime.core import import_extra

SERVICER = f"{__name__}.add_service"
"""Path of the function that adds the service to a gRPC server, for Ray Serve's gRPC proxy."""

_REQUESTS = (
    "ServerLiveRequest",
    "ServerReadyRequest",
    "ServerMetadataRequest",
    "ModelReadyRequest",
    "ModelMetadataRequest",
    "ModelConfigRequest",
    "ModelInferRequest",
    "RepositoryIndexRequest",
)

_TYPED_CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def import_messages() -> Any:
    """Return the module of KServe's messages.

    Raises:
        DependencyError: tritonclient is not installed.
    """
    return import_extra("tritonclient.grpc.service_pb2", "ray")


def add_service(servicer: Any, server: Any) -> None:
    """Add the service of KServe v2 to a gRPC server. Ray Serve's gRPC proxy calls it in its process.

    The proxy pickles each request for a replica. But tritonclient's classes name a module that does not exist, so their
    pickles cannot be read; the function replaces them by the messages' own bytes.
    """
    messages = import_messages()
    for name in _REQUESTS:
        copyreg.pickle(getattr(messages, name), _reduced)
    import_extra("tritonclient.grpc.service_pb2_grpc", "ray").add_GRPCInferenceServiceServicer_to_server(
        servicer, server
    )


def restore(name: str, data: bytes) -> Any:
    """Return the message of tritonclient that has a name and these bytes; a pickle calls it."""
    message = getattr(import_messages(), name)()
    message.ParseFromString(data)
    return message


def parse_message(message: Any) -> InferRequest:
    """Return the request that a `ModelInferRequest` holds.

    Raises:
        RequestError: The message is no such request.
    """
    if not 0 < len(message.inputs) <= MAX_INPUTS:
        raise RequestError(f"received {len(message.inputs)} inputs; expected 1 to {MAX_INPUTS}")
    raws = message.raw_input_contents
    if raws and len(raws) != len(message.inputs):
        raise RequestError(f"received {len(raws)} raw_input_contents; expected {len(message.inputs)}, one an input")
    inputs = {item.name: _tensor(item, raws[index] if raws else None) for index, item in enumerate(message.inputs)}
    if len(inputs) < len(message.inputs):
        raise RequestError("received an input twice; expected each input once")
    return InferRequest(inputs, tuple(_outputs(message)), message.id, is_binary=True)


def encode_message(name: str, request: InferRequest, answered: Answered) -> Any:
    """Return the answer to a request as a `ModelInferResponse`."""
    messages = import_messages()
    response = messages.ModelInferResponse(model_name=name, model_version=VERSION, id=request.id)
    for output in answered.outputs:
        array = answered.tensors[output.name]
        response.outputs.add(name=output.name, datatype=datatype_of(array), shape=array.shape)
        response.raw_output_contents.append(to_raw(array))
    return response


def metadata_message(facts: Mapping[str, Any]) -> Any:
    """Return the metadata of a model as a `ModelMetadataResponse`."""
    messages = import_messages()
    response = messages.ModelMetadataResponse(
        name=facts["name"], versions=facts["versions"], platform=facts["platform"]
    )
    response.inputs.extend(_described(messages, facts["inputs"]))
    response.outputs.extend(_described(messages, facts["outputs"]))
    return response


def config_message(facts: Mapping[str, Any]) -> Any:
    """Return the configuration of a model as a `ModelConfigResponse`."""
    json_format = import_extra("google.protobuf.json_format", "ray")
    response = import_messages().ModelConfigResponse()
    json_format.ParseDict(dict(facts), response.config)
    return response


def index_message(entries: Sequence[Mapping[str, str]]) -> Any:
    """Return all models of the server as a `RepositoryIndexResponse`."""
    response = import_messages().RepositoryIndexResponse()
    for entry in entries:
        response.models.add(**entry)
    return response


def _reduced(message: Any) -> tuple[Any, tuple[str, bytes]]:
    return restore, (type(message).__name__, message.SerializeToString())


def _described(messages: Any, tensors: Sequence[Mapping[str, Any]]) -> Iterator[Any]:
    return (messages.ModelMetadataResponse.TensorMetadata(**tensor) for tensor in tensors)


def _tensor(item: Any, raw: bytes | None) -> np.ndarray:
    where, shape = f"input {item.name[:80]!r}", list(item.shape)
    if item.datatype not in DTYPES or "shared_memory_region" in item.parameters:
        raise RequestError(
            f"{where}: received datatype {item.datatype[:40]!r}; expected one of {', '.join(DTYPES)}, in the message"
        )
    values = _typed(item, where) if raw is None else from_raw(memoryview(raw), item.datatype, where)
    if min(shape, default=0) < 0 or values.size != math.prod(shape):
        raise RequestError(f"{where}: received {values.size} values of {item.datatype}; its shape is {shape}")
    try:
        return values.reshape(shape)
    except ValueError as error:
        raise RequestError(f"{where}: received the shape {shape}: {error}") from error


def _typed(item: Any, where: str) -> np.ndarray:
    field = _TYPED_CONTENTS.get(item.datatype)
    if field is None:
        raise RequestError(f"{where}: expected {item.datatype} in raw_input_contents")
    found = getattr(item.contents, field)
    if item.datatype == "BYTES":
        row = np.empty(len(found), np.object_)
        row[:] = list(found)
        return row
    try:
        return np.array(list(found), DTYPES[item.datatype])
    except OverflowError as error:
        raise RequestError(f"{where}: its values are no {item.datatype}: {error}") from error


def _outputs(message: Any) -> Iterator[OutputRequest]:
    for output in message.outputs:
        if "classification" in output.parameters or "shared_memory_region" in output.parameters:
            raise RequestError(
                f"output {output.name[:80]!r}: asks for classification or shared memory; expected a plain tensor"
            )
        yield OutputRequest(output.name, is_binary=True)
