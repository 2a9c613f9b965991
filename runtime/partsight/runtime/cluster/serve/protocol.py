"""The KServe v2 protocol over HTTP, the server's side: from a request's body to tensors, and from tensors to a body.

Pure functions. They know the extension for binary tensors, in which raw values follow the JSON header:
https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
import numpy as np

from partsight.runtime.cluster.serve.tensor_data import DTYPES, RequestError, datatype_of, from_json, from_raw, to_raw

HEADER_LENGTH = "Inference-Header-Content-Length"
"""HTTP header with the length of the JSON header in bytes; binary tensors follow it."""

JSON_TYPE = "application/json"
BINARY_TYPE = "application/octet-stream"

MAX_INPUTS = 8
"""Most input tensors of a request."""

MAX_JSON_BYTES = 16 * 2**20
"""Longest JSON header: a tensor in JSON takes about 40 times the memory of its text while it is read."""


class _Parameters(msgspec.Struct):
    binary_data_size: Annotated[int, msgspec.Meta(ge=0)] | None = None
    binary_data: bool | None = None
    binary_data_output: bool | None = None
    classification: int = 0
    shared_memory_region: str = ""


class _Input(msgspec.Struct):
    name: str
    datatype: str
    shape: list[Annotated[int, msgspec.Meta(ge=0, lt=2**31)]]
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)
    data: list[Any] | None = None


class _Output(msgspec.Struct):
    name: str
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)


class _Header(msgspec.Struct):
    inputs: list[_Input]
    id: str = ""
    outputs: list[_Output] = msgspec.field(default_factory=list)
    parameters: _Parameters = msgspec.field(default_factory=_Parameters)


@dataclass(frozen=True)
class OutputRequest:
    """An output that the client asks for: its name, and whether its values come as raw bytes, not as JSON."""

    name: str
    is_binary: bool = False


@dataclass(frozen=True)
class InferRequest:
    """A request.

    Attributes:
        inputs: Tensors by name; texts and files are arrays of `bytes` objects.
        outputs: Requested outputs, in order; empty for all that the model gives by itself.
        id: The client's id of the request, which the response repeats; empty for none.
        is_binary: Whether outputs come as raw bytes if the client names none.
    """

    inputs: Mapping[str, np.ndarray]
    outputs: Sequence[OutputRequest] = ()
    id: str = ""
    is_binary: bool = False


@dataclass(frozen=True)
class InferResponse:
    """A response: the model that answers, its version, and its outputs by name."""

    model_name: str
    model_version: str
    outputs: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class HttpAnswer:
    """An answer of HTTP.

    Attributes:
        status: Status code.
        body: Body in bytes.
        headers: Headers, with the content type.
    """

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": JSON_TYPE})


def parse_request(body: bytes, header_length: str | None = None) -> InferRequest:
    """Return the request that a body holds.

    Args:
        body: Body of `POST /v2/models/NAME/infer`.
        header_length: Value of the HTTP header `Inference-Header-Content-Length`; None if the body is JSON alone.

    Raises:
        RequestError: The body is no such request; its status is 400.
    """
    length = _header_length(body, header_length)
    header = _parse_header(body[:length])
    raw = memoryview(body)[length:]
    inputs: dict[str, np.ndarray] = {}
    for item in header.inputs:
        if item.name in inputs:
            raise RequestError(f"received the input {item.name!r} twice; expected each input once")
        size = item.parameters.binary_data_size
        inputs[item.name] = _tensor(item, None if size is None else _take(raw, size, item.name))
        raw = raw[size or 0 :]
    if raw:
        raise RequestError(
            f"received {len(raw)} bytes after the last tensor; expected none: the sum of all binary_data_size, and "
            f"{HEADER_LENGTH}, must give the length of the body"
        )
    is_binary = bool(header.parameters.binary_data_output)
    return InferRequest(inputs, _outputs(header, is_binary), header.id, is_binary)


def select_outputs(
    request: InferRequest, names: Sequence[str], on_demand: Sequence[str] = ()
) -> tuple[OutputRequest, ...]:
    """Return the outputs to send: the requested ones, or all in `names` if the client names none.

    Args:
        request: Request of the client.
        names: Outputs of the model.
        on_demand: Further outputs, which only a client that names them gets.

    Raises:
        RequestError: The model has no such output, or the client names one twice.
    """
    if not request.outputs:
        return tuple(OutputRequest(name, request.is_binary) for name in names)
    asked = [output.name for output in request.outputs]
    unknown = [name for name in asked if name not in (*names, *on_demand)]
    if unknown:
        raise RequestError(f"received the output {unknown[0]!r}; expected one of {', '.join([*names, *on_demand])}")
    if len(set(asked)) < len(asked):
        raise RequestError(f"received the outputs {', '.join(asked)}; expected each once")
    return tuple(request.outputs)


def encode_response(response: InferResponse, request: InferRequest, outputs: Sequence[OutputRequest]) -> HttpAnswer:
    """Return a response as an HTTP answer.

    Args:
        response: Response with at least the outputs below.
        request: Request that it answers; the answer repeats its id.
        outputs: Outputs to send, as `select_outputs` returns them.
    """
    described: list[dict[str, Any]] = []
    raws: list[bytes] = []
    for output in outputs:
        array = response.outputs[output.name]
        facts = {"name": output.name, "datatype": datatype_of(array), "shape": list(array.shape)}
        if output.is_binary:
            raws.append(to_raw(array))
            described.append(facts | {"parameters": {"binary_data_size": len(raws[-1])}})
        else:
            described.append(facts | {"data": _to_json(array)})
    names = {"model_name": response.model_name, "model_version": response.model_version}
    header = msgspec.json.encode(names | ({"id": request.id} if request.id else {}) | {"outputs": described})
    if not any(output.is_binary for output in outputs):
        return HttpAnswer(200, header)
    return HttpAnswer(200, b"".join([header, *raws]), {"Content-Type": BINARY_TYPE, HEADER_LENGTH: str(len(header))})


def encode_json(facts: object, status: int = 200) -> HttpAnswer:
    """Return facts, such as a model's metadata, as an HTTP answer."""
    return HttpAnswer(status, msgspec.json.encode(facts))


def encode_error(message: str, status: int) -> HttpAnswer:
    """Return an error as an HTTP answer: `{"error": MESSAGE}`."""
    return encode_json({"error": message}, status)


def _header_length(body: bytes, text: str | None) -> int:
    if text is None:
        length = len(body)
    elif text.isascii() and text.isdigit() and len(text) < 12:
        length = int(text)
    else:
        raise RequestError(f"received {HEADER_LENGTH}: {text[:40]!r}; expected a number of bytes")
    if length > len(body):
        raise RequestError(f"received {len(body)} bytes; expected at least {length}, which is {HEADER_LENGTH}")
    if length > MAX_JSON_BYTES:
        raise RequestError(
            f"received {length} bytes of JSON; expected at most {MAX_JSON_BYTES}: send the tensor as binary data", 413
        )
    return length


def _parse_header(text: bytes) -> _Header:
    try:
        header = msgspec.json.decode(text, type=_Header)
    except (msgspec.MsgspecError, UnicodeError, RecursionError, ValueError) as error:
        raise RequestError(f"the JSON header is not a request of KServe v2: {error}") from error
    if not 0 < len(header.inputs) <= MAX_INPUTS:
        raise RequestError(f"received {len(header.inputs)} inputs; expected 1 to {MAX_INPUTS}")
    return header


def _take(raw: memoryview, size: int, name: str) -> memoryview:
    if size > len(raw):
        raise RequestError(f"input {name!r}: received {len(raw)} bytes; expected {size}, which is binary_data_size")
    return raw[:size]


def _tensor(item: _Input, raw: memoryview | None) -> np.ndarray:
    if item.parameters.shared_memory_region:
        raise RequestError(f"input {item.name!r}: is in shared memory; expected its values in the request")
    if item.datatype not in DTYPES:
        raise RequestError(
            f"input {item.name!r}: received datatype {item.datatype[:40]!r}; expected one of {', '.join(DTYPES)}"
        )
    if (raw is None) == (item.data is None):
        raise RequestError(f"input {item.name!r}: expected its values once, as `data` or by `binary_data_size`")
    where = f"input {item.name!r}"
    elements = math.prod(item.shape)
    values = from_json(item.data, item.datatype, where) if raw is None else from_raw(raw, item.datatype, where)
    if values.size != elements:
        raise RequestError(
            f"{where}: received {values.size} values of {item.datatype}; its shape {item.shape} needs {elements}"
        )
    try:
        return values.reshape(item.shape)
    except ValueError as error:
        raise RequestError(f"{where}: received the shape {item.shape}: {error}") from error


def _outputs(header: _Header, is_binary: bool) -> tuple[OutputRequest, ...]:
    for output in header.outputs:
        if output.parameters.classification or output.parameters.shared_memory_region:
            raise RequestError(
                f"output {output.name[:80]!r}: asks for classification or shared memory; expected a plain tensor"
            )
    asked = [(output.name, output.parameters.binary_data) for output in header.outputs]
    return tuple(OutputRequest(name, is_binary if binary is None else binary) for name, binary in asked)


def _to_json(array: np.ndarray) -> list[Any]:
    values = array.ravel().tolist()
    return [value.decode("utf-8", "replace") for value in values] if array.dtype == np.object_ else values
