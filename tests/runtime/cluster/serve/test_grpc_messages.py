"""Messages of gRPC: read like those of HTTP, and pickled by what they hold."""

import copyreg
import pickle
from collections.abc import Iterator
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from partsight.runtime.cluster.serve.grpc_messages import add_service, parse_message
from partsight.runtime.cluster.serve.tensor_data import RequestError


def message(**changes: Any) -> Any:
    facts = {"name": "x", "datatype": "UINT8", "shape": [2, 2]} | changes
    return service_pb2.ModelInferRequest(model_name="m", id="7", inputs=[facts])


def test_raw_and_typed_values_are_read_alike() -> None:
    raw = message()
    raw.raw_input_contents.append(b"\1\2\3\4")
    typed = message(contents={"uint_contents": [1, 2, 3, 4]})
    for found in map(parse_message, (raw, typed)):
        assert found.inputs["x"].tolist() == [[1, 2], [3, 4]]
        assert (found.inputs["x"].dtype, found.id) == (np.uint8, "7")


def test_files_are_read() -> None:
    found = parse_message(message(datatype="BYTES", shape=[2], contents={"bytes_contents": [b"\xff", b""]}))
    assert found.inputs["x"].tolist() == [b"\xff", b""]


@pytest.mark.parametrize(
    "wrong",
    [
        message(),
        message(shape=[-2, -2], contents={"uint_contents": [1, 2, 3, 4]}),
        message(shape=[2**62], contents={"uint_contents": [1]}),
        message(datatype="FP16", contents={"fp32_contents": [1, 2, 3, 4]}),
        message(datatype="X", contents={"uint_contents": [1, 2, 3, 4]}),
        message(contents={"uint_contents": [1, 2, 3, 256]}),
        message(parameters={"shared_memory_region": {"string_param": "r"}}, contents={"uint_contents": [1, 2, 3, 4]}),
        service_pb2.ModelInferRequest(),
        service_pb2.ModelInferRequest(inputs=[{"name": "x", "datatype": "UINT8", "shape": [0]}] * 2),
        service_pb2.ModelInferRequest(
            inputs=[{"name": "x", "datatype": "UINT8", "shape": [0]}], raw_input_contents=[b"", b""]
        ),
    ],
)
def test_wrong_messages_are_refused(wrong: Any) -> None:
    with pytest.raises(RequestError):
        parse_message(wrong)


@pytest.fixture
def table() -> Iterator[None]:
    before = dict(copyreg.dispatch_table)
    yield
    copyreg.dispatch_table.clear()
    copyreg.dispatch_table.update(before)


def test_a_message_can_be_sent_to_a_replica(table: None) -> None:
    sent = message(contents={"uint_contents": [1, 2, 3, 4]})
    with pytest.raises(pickle.PicklingError):  # else `add_service` need not replace it
        pickle.dumps(sent)
    add_service(Mock(), Mock())
    assert pickle.loads(pickle.dumps(sent)) == sent
