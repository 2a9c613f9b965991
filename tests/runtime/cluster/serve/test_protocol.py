"""The KServe v2 protocol: tritonclient's requests are read, it reads the responses, and all else is refused."""

import contextlib
import json
import struct
from typing import Any

import numpy as np
import pytest
import tritonclient.http as triton
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.utils import np_to_triton_dtype

from partsight.runtime.cluster.serve.protocol import (
    HEADER_LENGTH,
    MAX_JSON_BYTES,
    HttpAnswer,
    InferRequest,
    InferResponse,
    OutputRequest,
    encode_error,
    encode_response,
    parse_request,
    select_outputs,
)
from partsight.runtime.cluster.serve.tensor_data import DTYPES, RequestError

PIXELS = np.arange(2 * 4 * 5 * 3, dtype=np.uint8).reshape(2, 4, 5, 3)
FILES = np.array([b"\xff\xd8\xff\x00", b""], np.object_)
OUTPUTS = {
    "label": np.array([b"M8", "Öse".encode()], np.object_),
    "agreement": np.array([0.25, 1 / 3], np.float32),
    "accepted": np.array([True, False]),
    "top_index": np.array([[1, -1], [0, 2**40]], np.int64),
}


def written(inputs: list[Any], outputs: list[Any] | None = None, request_id: str = "") -> tuple[bytes, str | None]:
    """Return a body as tritonclient writes it, and the header with the length of its JSON."""
    body, length = triton.InferenceServerClient.generate_request_body(inputs, outputs=outputs, request_id=request_id)
    return body, None if length is None else str(length)


def tensor(name: str, values: np.ndarray, *, is_binary: bool = True) -> Any:
    made = triton.InferInput(name, list(values.shape), np_to_triton_dtype(values.dtype))
    made.set_data_from_numpy(values, binary_data=is_binary)
    return made


def read(answer: HttpAnswer) -> Any:
    length = answer.headers.get(HEADER_LENGTH)
    return triton.InferenceServerClient.parse_response_body(
        answer.body, header_length=None if length is None else int(length)
    )


def body_of(**changes: Any) -> bytes:
    one = {"name": "image_bgr", "datatype": "UINT8", "shape": [2, 2], "data": [1, 2, 3, 4]} | changes
    return json.dumps({"inputs": [one]}).encode()


@pytest.mark.parametrize("is_binary", [True, False])
def test_tensors_of_tritonclient_are_read(is_binary: bool) -> None:
    request = parse_request(*written([tensor("image_bgr", PIXELS, is_binary=is_binary)], request_id="frame 7"))
    assert np.array_equal(request.inputs["image_bgr"], PIXELS)
    assert request.inputs["image_bgr"].dtype == np.uint8
    assert (request.id, request.outputs, request.is_binary) == ("frame 7", (), True)


def test_files_and_several_tensors_are_read() -> None:
    texts = np.array(["a", "ä"], np.object_)
    inputs = [tensor("frame_file", FILES), tensor("x", PIXELS), tensor("text", texts, is_binary=False)]
    request = parse_request(*written(inputs))
    assert request.inputs["frame_file"].tolist() == FILES.tolist()
    assert request.inputs["text"].tolist() == [b"a", "ä".encode()]
    assert np.array_equal(request.inputs["x"], PIXELS)


@pytest.mark.parametrize("dtype", [dtype for name, dtype in DTYPES.items() if name not in ("BYTES", "FP16")])
@pytest.mark.parametrize("is_binary", [True, False])
def test_each_number_is_read_alike(dtype: type, is_binary: bool) -> None:
    values = np.array([[0, 1], [1, 0]], dtype)
    found = parse_request(*written([tensor("x", values, is_binary=is_binary)])).inputs["x"]
    assert found.dtype == values.dtype
    assert np.array_equal(found, values)


def test_outputs_are_requested_each_in_its_form() -> None:
    outputs = [triton.InferRequestedOutput("label", binary_data=False), triton.InferRequestedOutput("agreement")]
    request = parse_request(*written([tensor("x", PIXELS)], outputs))
    expected = (OutputRequest("label", False), OutputRequest("agreement", True))
    assert select_outputs(request, ("agreement", "label")) == expected


def test_a_client_that_names_no_output_gets_all_but_those_on_demand() -> None:
    request = parse_request(body_of())
    assert select_outputs(request, ("label",), ("network_score",)) == (OutputRequest("label", False),)


@pytest.mark.parametrize("names", [["other"], ["label", "label"]])
def test_an_output_that_the_model_does_not_have_is_refused(names: list[str]) -> None:
    request = InferRequest({}, [OutputRequest(name) for name in names])
    with pytest.raises(RequestError) as caught:
        select_outputs(request, ("label",), ("network_score",))
    assert caught.value.status == 400


@pytest.mark.parametrize("binary", [(), ("label",), ("agreement", "top_index"), tuple(OUTPUTS)])
def test_tritonclient_reads_a_response(binary: tuple[str, ...]) -> None:
    request = InferRequest({}, id="7")
    outputs = [OutputRequest(name, name in binary) for name in OUTPUTS]
    answer = encode_response(InferResponse("line3", "1", OUTPUTS), request, outputs)
    result = read(answer)
    head = {key: value for key, value in result.get_response().items() if key != "outputs"}
    assert head == {"model_name": "line3", "model_version": "1", "id": "7"}
    for name, values in OUTPUTS.items():
        found = result.as_numpy(name)
        assert found.shape == values.shape
        decoded = [item.encode() if isinstance(item, str) else item for item in found.ravel().tolist()]
        assert decoded == values.ravel().tolist()
    assert (HEADER_LENGTH in answer.headers) == bool(binary)


def test_an_error_is_what_clients_expect() -> None:
    answer = encode_error("no such model", 404)
    assert (answer.status, json.loads(answer.body)) == (404, {"error": "no such model"})


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [2, 3]},
        {"shape": [-1, 4]},
        {"shape": [2**31, 2**31]},
        {"shape": [10**30]},
        {"shape": [1] * 100, "data": [1]},
        {"datatype": "FLOAT"},
        {"data": [1, 2, 3, 256]},
        {"data": [1, 2, 3, -1]},
        {"data": [1, 2, 3, 4.5]},
        {"data": [True] * 4},
        {"data": [1, 2, 3, None]},
        {"data": [[1, 2], [3]]},
        {"data": [1, 2, 3, "4"]},
        {"data": "1234"},
        {"data": None},
        {"data": [1, 2, 3, 10**400]},
        {"datatype": "BYTES", "data": [1, 2, 3, 4]},
        {"datatype": "BYTES", "data": json.loads("[" * 20 + "]" * 20)},
        {"datatype": "BOOL", "data": [0, 1, 0, 1]},
        {"parameters": {"binary_data_size": 4}},
        {"parameters": {"binary_data_size": -4}, "data": None},
        {"parameters": {"binary_data_size": 10**12}, "data": None},
        {"parameters": {"shared_memory_region": "x"}},
        {"name": 7},
    ],
)
def test_wrong_values_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        parse_request(body_of(**changes))
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"null",
        b"\xff\xfe",
        b'{"inputs": []}',
        b'{"inputs": [' + b"[" * 100_000,
        body_of() + b"\0",
        json.dumps({"inputs": [json.loads(body_of())["inputs"][0]] * 2}).encode(),
        json.dumps(
            {"inputs": [{"name": str(i), "datatype": "UINT8", "shape": [0], "data": []} for i in range(9)]}
        ).encode(),
        body_of()[:-1] + b', "outputs": [{"name": "label", "parameters": {"classification": 3}}]}',
    ],
)
def test_wrong_headers_are_refused(body: bytes) -> None:
    with pytest.raises(RequestError):
        parse_request(body)


@pytest.mark.parametrize("length", ["-1", "x", "9" * 30, "1e3", "", "4096", "٣"])
def test_a_wrong_length_of_the_header_is_refused(length: str) -> None:
    with pytest.raises(RequestError):
        parse_request(body_of(), length)


def test_a_header_that_would_take_too_much_memory_is_refused() -> None:
    with pytest.raises(RequestError) as caught:
        parse_request(b" " * (MAX_JSON_BYTES + 1))
    assert caught.value.status == 413


@pytest.mark.parametrize(
    "raw",
    [b"\1", struct.pack("<I", 5) + b"abcd", struct.pack("<I", 2**32 - 1), struct.pack("<I", 1) + b"ab", b""],
)
def test_damaged_items_are_refused(raw: bytes) -> None:
    one = {"name": "frame_file", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [one]}).encode()
    with pytest.raises(RequestError):
        parse_request(head + raw, str(len(head)))


def test_a_truncated_body_is_refused_at_every_length() -> None:
    body, length = written([tensor("image_bgr", PIXELS), tensor("frame_file", FILES)])
    for end in range(len(body)):
        with pytest.raises(RequestError):
            parse_request(body[:end], length)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
inputs = st.fixed_dictionaries(
    {"name": st.sampled_from(["a", "b"]), "datatype": st.sampled_from([*DTYPES, "X"])},
    optional={
        "shape": st.lists(st.integers(-1, 5) | st.integers(), max_size=5) | values,
        "data": values,
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(-1, 40) | values}),
    },
)


@given(
    st.fixed_dictionaries(
        {}, optional={"inputs": st.lists(inputs, max_size=3) | values, "id": values, "outputs": values}
    ),
    st.binary(max_size=40),
    st.none() | st.integers(0, 400).map(str) | st.text(max_size=4),
)
def test_any_request_is_read_or_refused(header: Any, raw: bytes, length: str | None) -> None:
    text = json.dumps(header).encode()
    try:
        request = parse_request(text + raw, length if length is None or length.isdigit() else str(len(text)))
    except RequestError:
        return
    assert all(isinstance(array, np.ndarray) for array in request.inputs.values())


@given(st.binary(max_size=200), st.none() | st.integers(0, 200).map(str))
def test_any_bytes_are_read_or_refused(body: bytes, length: str | None) -> None:
    with contextlib.suppress(RequestError):
        parse_request(body, length)
