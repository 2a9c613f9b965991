"""The replica: a served model as a deployment of Ray Serve, which calls it for HTTP, gRPC and health checks."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from partsight.runtime.cluster.serve.directory import CachedDirectory
from partsight.runtime.cluster.serve.grpc_api import METHODS, GrpcApi
from partsight.runtime.cluster.serve.http_api import HttpApi, HttpRequest
from partsight.runtime.cluster.serve.metrics import ReplicaMetrics
from partsight.runtime.cluster.serve.model import Answered, ServedModel
from partsight.runtime.cluster.serve.protocol import InferRequest
from partsight.runtime.cluster.serve.settings import ServedPackage
from partsight.runtime.cluster.serve.tensor_data import RequestError
from partsight.runtime.core import RemoteError, import_extra

Value = TypeVar("Value")


class Replica:
    """One process that answers for a package. Ray Serve creates it and calls it.

    Besides the methods below it has one for each of `grpc_api.METHODS`, by which Ray Serve's gRPC proxy calls it.
    """

    def __init__(self, settings: ServedPackage) -> None:
        """Load the package and warm it up; only then Ray Serve sends requests.

        Args:
            settings: Package, and how to run it.

        Raises:
            PartsightError: As `ServedModel`.
        """
        self._settings = settings
        self._model = ServedModel(settings)
        facts, limits = self._model.facts, settings.limits
        self._metrics = ReplicaMetrics(settings.name, facts.package_id)
        # A thread for each request, and one of its own for the health check, which no request may keep waiting.
        self._threads = ThreadPoolExecutor(settings.max_ongoing, "partsight-request")
        self._health_thread = ThreadPoolExecutor(1, "partsight-health")
        directory = CachedDirectory()
        tokens, max_bytes = settings.token_digests, limits.request_bytes
        self._http = HttpApi(facts, tokens, max_bytes, self._infer, directory)
        self._grpc = GrpcApi(facts, tokens, max_bytes, self._infer, directory, self._metrics.count_request)

    async def __call__(self, request: Any) -> Any:
        """Answer a request of HTTP, as Starlette has it."""
        started = time.perf_counter()
        headers = {name.lower(): value for name, value in request.headers.items()}
        path = str(request.scope["path"])
        answer = await self._http.handle(HttpRequest(request.method, path, headers, partial(_read_body, request)))
        if path.endswith("/infer"):
            self._metrics.count_request(answer.status, time.perf_counter() - started)
        responses = import_extra("starlette.responses", "ray")
        return responses.Response(answer.body, answer.status, dict(answer.headers))

    async def check_health(self) -> None:
        """Answer a golden image, or raise: after three times Ray Serve replaces this replica.

        Raises:
            RemoteError: The answer takes too long, or is wrong.
        """
        await self._within(self._settings.limits.health_s, self._health_thread, self._model.check)

    async def settings(self) -> ServedPackage:
        """Return the settings of this replica, to which a failed swap goes back."""
        return self._settings

    def __del__(self) -> None:
        """Answer the frames that wait, then free the package. Ray Serve calls it at the end."""
        if hasattr(self, "_grpc"):  # not if the package could not be loaded
            self._threads.shutdown(wait=False)
            self._health_thread.shutdown(wait=False)
            self._model.close()

    async def _infer(self, request: InferRequest) -> Answered:
        limit_s = self._settings.limits.answer_s
        answered = await self._within(limit_s, self._threads, partial(self._model.answer, request))
        self._metrics.count_frames(answered.results)
        return answered

    async def _within(self, limit_s: float, threads: Executor, work: Callable[[], Value]) -> Value:
        """Run blocking work in a thread; after the limit leave it behind: the health check finds the cause."""
        running = asyncio.get_running_loop().run_in_executor(threads, work)
        try:
            return await asyncio.wait_for(running, limit_s)
        except TimeoutError as error:
            raise RemoteError(f"no answer within {limit_s:g} s; ask again") from error


def _call_of(method: str) -> Callable[[Replica, Any, Any], Any]:
    async def call(self: Replica, message: Any, grpc_context: Any) -> Any:  # Ray Serve looks for the second name
        return await self._grpc.handle(method, message, grpc_context)

    return call


for _method in METHODS:
    setattr(Replica, _method, _call_of(_method))


async def _read_body(request: Any, max_bytes: int) -> bytes:
    """Return the body of a request; stop to read as soon as it is too large."""
    length = request.headers.get("content-length", "")
    parts: list[bytes] = []
    received = int(length) if length.isascii() and length.isdigit() else 0
    if received <= max_bytes:
        received = 0
        async for part in request.stream():
            parts.append(part)
            received += len(part)
            if received > max_bytes:
                break
    if received > max_bytes:
        raise RequestError(f"received {received} bytes; expected at most {max_bytes}: send fewer frames", 413)
    return b"".join(parts)
