"""The HTTP interface, without Ray: each path has its method, its token and its answer, and an error is an answer."""

import asyncio
import json
from typing import Any

import pytest

from partsight.runtime import RemoteError
from partsight.runtime.cluster.serve.http_api import HttpApi, HttpRequest
from partsight.runtime.cluster.serve.model import Answered, ModelFacts
from partsight.runtime.cluster.serve.protocol import HttpAnswer, InferRequest
from partsight.runtime.cluster.serve.tensor_data import RequestError

FACTS = ModelFacts("line3", "id", 6, (36, 36), 0.5, (), 8)
BODY = json.dumps({"inputs": [{"name": "x", "datatype": "UINT8", "shape": [1], "data": [1]}]}).encode()


class Asked:
    """Stands for the model and the directory; counts what reaches them."""

    def __init__(self, error: Exception | None = None, *, is_ready: bool = True) -> None:
        self.error, self.is_ready, self.infers = error, is_ready, 0

    async def infer(self, _: InferRequest) -> Answered:
        self.infers += 1
        if self.error is not None:
            raise self.error
        return Answered((), {}, ())

    async def directory(self) -> dict[str, bool]:
        return {"caps": True, "line3": self.is_ready}


def ask(
    method: str, path: str, asked: Asked | None = None, tokens: tuple[bytes, ...] = (), **headers: str
) -> HttpAnswer:
    asked = asked or Asked()

    async def body(max_bytes: int) -> bytes:
        assert max_bytes == 1000
        return BODY

    api = HttpApi(FACTS, tokens, 1000, asked.infer, asked.directory)
    return asyncio.run(api.handle(HttpRequest(method, path, headers, body)))


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2"),
        ("GET", "/v2/health/live"),
        ("GET", "/v2/health/ready"),
        ("POST", "/v2/repository/index"),
        ("GET", "/v2/models/line3"),
        ("GET", "/v2/models/line3/versions/1"),
        ("GET", "/v2/models/line3/ready"),
        ("GET", "/v2/models/line3/versions/1/ready"),
        ("GET", "/v2/models/line3/config"),
        ("POST", "/v2/models/line3/infer"),
        ("POST", "/v2/models/line3/versions/1/infer"),
    ],
)
def test_each_path_has_its_method(method: str, path: str) -> None:
    assert ask(method, path).status == 200
    assert ask({"GET": "POST", "POST": "GET"}[method], path).status == 405
    assert ask("DELETE", path).status == 405
    assert ask(method, f"{path}/x").status == 404


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2", 401),
        ("/v2/models/line3", 401),
        ("/v2/nix", 401),
        ("/v2/health/live", 200),
        ("/v2/health/ready", 200),
    ],
)
def test_only_health_needs_no_token(path: str, status: int) -> None:
    assert ask("GET", path, tokens=(b"\0" * 32,)).status == status


def test_a_request_without_a_token_reaches_no_model() -> None:
    asked = Asked()
    assert ask("POST", "/v2/models/line3/infer", asked, (b"\0" * 32,), authorization="Bearer x").status == 401
    assert asked.infers == 0


@pytest.mark.parametrize(
    ("error", "status"), [(RequestError("x"), 400), (RequestError("x", 413), 413), (RemoteError("x"), 503)]
)
def test_an_error_is_an_answer(error: Exception, status: int) -> None:
    answer = ask("POST", "/v2/models/line3/infer", Asked(error))
    assert (answer.status, json.loads(answer.body)) == (status, {"error": "x"})


def test_a_server_is_ready_when_all_models_are() -> None:
    assert ask("GET", "/v2/health/ready", Asked(is_ready=False)).status == 503
    found: list[dict[str, Any]] = json.loads(ask("POST", "/v2/repository/index", Asked(is_ready=False)).body)
    assert {item["name"]: item["state"] for item in found} == {"caps": "READY", "line3": "UNAVAILABLE"}
