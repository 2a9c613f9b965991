"""The gRPC interface of a served model: which call gives which answer."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from partsight.runtime.cluster.serve.access import is_allowed
from partsight.runtime.cluster.serve.grpc_messages import (
    config_message,
    encode_message,
    import_messages,
    index_message,
    metadata_message,
    parse_message,
)
from partsight.runtime.cluster.serve.http_api import Directory, Infer
from partsight.runtime.cluster.serve.metadata import index_entry, model_config, model_metadata, server_metadata
from partsight.runtime.cluster.serve.model import VERSION, ModelFacts, check_model
from partsight.runtime.cluster.serve.tensor_data import RequestError
from partsight.runtime.core import PartsightError, import_extra

METHODS = (
    "ServerLive",
    "ServerReady",
    "ServerMetadata",
    "ModelReady",
    "ModelMetadata",
    "ModelConfig",
    "ModelInfer",
    "RepositoryIndex",
)
"""Calls of the service that have an answer here."""

_OPEN = ("ServerLive", "ServerReady")

_STATUS_NAMES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    404: "NOT_FOUND",
    413: "INVALID_ARGUMENT",
    503: "UNAVAILABLE",
}
"""Names of gRPC's status codes, by those of HTTP."""


@dataclass(frozen=True)
class GrpcApi:
    """Answers calls of gRPC for one model, and for the server it belongs to.

    Attributes:
        facts, token_digests, max_bytes, infer, directory: As of `HttpApi`.
        count: Function that counts a request with frames: status of HTTP, and seconds.
    """

    facts: ModelFacts
    token_digests: Sequence[bytes]
    max_bytes: int
    infer: Infer
    directory: Directory
    count: Callable[[int, float], None]

    async def handle(self, method: str, message: Any, context: Any) -> Any:
        """Return the answer to a call; an error sets the context's status.

        Args:
            method: One of `METHODS`.
            message: The call's message.
            context: Context of the call, with its metadata.
        """
        started, status = time.perf_counter(), 200
        try:
            if method not in _OPEN and not is_allowed(_authorization(context), self.token_digests):
                raise RequestError(
                    "expected the metadata `authorization: Bearer TOKEN` with a token of this server", 401
                )
            return await self._calls[method](message)
        except PartsightError as error:
            status = error.status if isinstance(error, RequestError) else 503
            code = import_extra("grpc", "ray").StatusCode
            context.set_code(getattr(code, _STATUS_NAMES.get(status, "UNKNOWN")))
            context.set_details(str(error))
            return getattr(import_messages(), f"{method}Response")()
        finally:
            if method == "ModelInfer":
                self.count(status, time.perf_counter() - started)

    @property
    def _calls(self) -> Mapping[str, Callable[[Any], Awaitable[Any]]]:
        return {
            "ServerLive": self._live,
            "ServerReady": self._ready,
            "ServerMetadata": self._server_metadata,
            "ModelReady": self._model_ready,
            "ModelMetadata": self._model_metadata,
            "ModelConfig": self._model_config,
            "ModelInfer": self._infer,
            "RepositoryIndex": self._index,
        }

    async def _live(self, _: Any) -> Any:
        return import_messages().ServerLiveResponse(live=True)

    async def _ready(self, _: Any) -> Any:
        ready = await self.directory()
        return import_messages().ServerReadyResponse(ready=bool(ready) and all(ready.values()))

    async def _server_metadata(self, _: Any) -> Any:
        return import_messages().ServerMetadataResponse(**server_metadata())

    async def _model_ready(self, message: Any) -> Any:
        check_model(self.facts, message.name, message.version or VERSION)
        return import_messages().ModelReadyResponse(ready=True)

    async def _model_metadata(self, message: Any) -> Any:
        check_model(self.facts, message.name, message.version or VERSION)
        return metadata_message(model_metadata(self.facts))

    async def _model_config(self, message: Any) -> Any:
        check_model(self.facts, message.name, message.version or VERSION)
        return config_message(model_config(self.facts))

    async def _index(self, _: Any) -> Any:
        return index_message([index_entry(name, is_ready=ready) for name, ready in (await self.directory()).items()])

    async def _infer(self, message: Any) -> Any:
        check_model(self.facts, message.model_name, message.model_version or VERSION)
        size = message.ByteSize()
        if size > self.max_bytes:
            raise RequestError(f"received {size} bytes; expected at most {self.max_bytes}: send fewer frames", 413)
        request = parse_message(message)
        return encode_message(self.facts.name, request, await self.infer(request))


def _authorization(context: Any) -> str | None:
    return next((str(value) for key, value in context.invocation_metadata() if key == "authorization"), None)
