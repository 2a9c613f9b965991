"""The HTTP interface of a served model: which path gives which answer."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from partsight.runtime.cluster.serve.access import is_allowed
from partsight.runtime.cluster.serve.metadata import (
    index_entry,
    model_config,
    model_metadata,
    server_metadata,
)
from partsight.runtime.cluster.serve.model import VERSION, Answered, ModelFacts, check_model
from partsight.runtime.cluster.serve.protocol import (
    HEADER_LENGTH,
    HttpAnswer,
    InferRequest,
    InferResponse,
    encode_error,
    encode_json,
    encode_response,
    parse_request,
)
from partsight.runtime.cluster.serve.tensor_data import RequestError
from partsight.runtime.core import PartsightError

_MODEL = re.compile(r"/v2/models/(?P<name>[^/]+)(/versions/(?P<version>[^/]+))?(/(?P<verb>ready|config|infer))?")

_INDEX = "/v2/repository/index"
_OPEN_PATHS = ("/v2/health/live", "/v2/health/ready")
"""Paths that need no token: load balancers and Kubernetes ask them."""

_EMPTY = HttpAnswer(200, b"")

Infer = Callable[[InferRequest], Awaitable[Answered]]
Directory = Callable[[], Awaitable[Mapping[str, bool]]]
"""Returns the names of all served models, each with whether it can answer."""


@dataclass(frozen=True)
class HttpRequest:
    """A request of HTTP.

    Attributes:
        method: Method, in capitals.
        path: Path without the query, decoded.
        headers: Headers, by their names in lower case.
        body: Function that reads the body of at most so many bytes.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    body: Callable[[int], Awaitable[bytes]]


@dataclass(frozen=True)
class HttpApi:
    """Answers requests for one model, and for the server it belongs to.

    Attributes:
        facts: Facts of the model.
        token_digests: SHA-256 of the tokens that clients may send; empty if they need none.
        max_bytes: Largest body of a request.
        infer: Function that answers a request with frames.
        directory: Function that returns all models of the server.
    """

    facts: ModelFacts
    token_digests: Sequence[bytes]
    max_bytes: int
    infer: Infer
    directory: Directory

    async def handle(self, request: HttpRequest) -> HttpAnswer:
        """Return the answer to any request; errors are answers, too."""
        try:
            if request.path not in _OPEN_PATHS:
                self._check_token(request)
            match = _MODEL.fullmatch(request.path)
            return await (self._of_server(request) if match is None else self._of_model(request, match))
        except RequestError as error:
            return encode_error(str(error), error.status)
        except PartsightError as error:
            return encode_error(str(error), 503)

    def _check_token(self, request: HttpRequest) -> None:
        if not is_allowed(request.headers.get("authorization"), self.token_digests):
            raise RequestError("expected the header `Authorization: Bearer TOKEN` with a token of this server", 401)

    async def _of_server(self, request: HttpRequest) -> HttpAnswer:
        if request.path not in ("/v2", *_OPEN_PATHS, _INDEX):
            raise RequestError(f"received the path {request.path[:80]!r}; expected one of KServe v2, such as /v2", 404)
        self._check_method(request, "POST" if request.path == _INDEX else "GET")
        if request.path == "/v2":
            return encode_json(server_metadata())
        if request.path == "/v2/health/live":
            return _EMPTY
        models = await self.directory()
        if request.path == _INDEX:
            return encode_json([index_entry(name, is_ready=ready) for name, ready in models.items()])
        is_ready = bool(models) and all(models.values())
        return _EMPTY if is_ready else encode_error("a model cannot answer now; ask again", 503)

    async def _of_model(self, request: HttpRequest, match: re.Match[str]) -> HttpAnswer:
        check_model(self.facts, match["name"], match["version"] or VERSION)
        verb = match["verb"]
        self._check_method(request, "POST" if verb == "infer" else "GET")
        if verb == "ready":
            return _EMPTY
        if verb == "config":
            return encode_json(model_config(self.facts))
        return encode_json(model_metadata(self.facts)) if verb is None else await self._infer(request)

    async def _infer(self, request: HttpRequest) -> HttpAnswer:
        if request.headers.get("content-encoding", "identity") != "identity":
            raise RequestError("received a compressed body; expected a plain one: send JPEG files to save bytes", 415)
        body = await request.body(self.max_bytes)
        parsed = parse_request(body, request.headers.get(HEADER_LENGTH.lower()))
        answered = await self.infer(parsed)
        response = InferResponse(self.facts.name, VERSION, answered.tensors)
        return encode_response(response, parsed, answered.outputs)

    def _check_method(self, request: HttpRequest, expected: str) -> None:
        if request.method != expected:
            raise RequestError(f"received {request.method[:16]} {request.path[:80]}; expected {expected}", 405)
