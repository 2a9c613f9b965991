"""A real server of the KServe v2 protocol, by HTTP and gRPC, with a real recogniser behind it.

    python -m tests.kserve_server NAME 1=first.partsight 2=second.partsight --http 8000 --grpc 8001

As an object in a test's own process, its faults can be chosen for each request.
"""

import argparse
import contextlib
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import grpc
import numpy as np
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tritonclient.grpc import service_pb2, service_pb2_grpc

from partsight.runtime import EngineSettings, Recognizer
from partsight.runtime.cluster.serve.protocol import (
    HEADER_LENGTH,
    HttpAnswer,
    InferRequest,
    InferResponse,
    encode_error,
    encode_json,
    encode_response,
    parse_request,
    select_outputs,
)
from partsight.runtime.cluster.serve.tensor_data import RequestError, datatype_of, to_raw
from partsight.runtime.matching import via_size
from partsight.runtime.recognition import ANSWER_TENSORS, NETWORK_SCORE, AnswerCodec
from tests.waiting import HANG_S, wait_until

Tensors = dict[str, np.ndarray]
Fault = Callable[[Tensors], Tensors | None]
"""Changes the outputs of one answer; it may raise `RefusedError`, or wait."""


class RefusedError(Exception):
    """Ends a request with a status of HTTP, or the status of gRPC that stands for it."""

    def __init__(self, status: int, text: str = "refused by the test") -> None:
        super().__init__(text)
        self.status = status


_CODES = grpc.StatusCode
_GRPC = {
    400: _CODES.INVALID_ARGUMENT,
    401: _CODES.UNAUTHENTICATED,
    404: _CODES.NOT_FOUND,
    500: _CODES.INTERNAL,
    502: _CODES.RESOURCE_EXHAUSTED,
    503: _CODES.UNAVAILABLE,
}


class Model:
    """A package that answers prepared frames."""

    def __init__(self, path: str | Path, threads: int | None = 1) -> None:
        self.recognizer = Recognizer(path, cropped=True, engine=EngineSettings(threads=threads))
        manifest = self.recognizer.manifest
        assert manifest.matching is not None
        self.size_hw = via_size(manifest.preprocess, manifest.matching.spec)
        self._is_mono = manifest.preprocess.color == "mono"
        self._codec = AnswerCodec(self.recognizer.labels, self.recognizer.package_id)

    def run(self, batch: np.ndarray, names: Sequence[str]) -> Tensors:
        """Answer (n, height, width, 3) uint8 frames."""
        if batch.dtype != np.uint8 or batch.shape[1:] != (*self.size_hw, 3):
            raise RefusedError(400, f"received {batch.dtype} {batch.shape}")
        frames = [np.ascontiguousarray(frame[..., 0]) if self._is_mono else frame for frame in batch]
        tensors = self._codec.encode(self.recognizer.recognize_batch(frames))
        if NETWORK_SCORE in names:
            tensors[NETWORK_SCORE] = self.recognizer.infer(frames).score
        return tensors


@dataclass
class KServeServer:
    """The server. Used as a context manager, in threads of this process.

    Attributes:
        name: Name of the model.
        packages: Packages by version; the last is the default.
        token: Bearer token that each request must have; empty for none.
        cert, key, client_ca: Files for TLS; `client_ca` asks for certificates of clients.
        grpc_options: Options of the gRPC server.
        lacks: Outputs that the model does not have.
        faults: Faults of the next answers, one for each request.
        asked: Outputs and number of frames of each request, in order.
    """

    name: str
    packages: Mapping[str, str | Path]
    token: str = ""
    cert: str = ""
    key: str = ""
    client_ca: str = ""
    grpc_options: Sequence[tuple[str, Any]] = (("grpc.max_receive_message_length", -1),)
    lacks: Sequence[str] = ()
    is_ready: bool = True
    ports: tuple[int, int] = (0, 0)
    faults: deque[Fault] = field(default_factory=deque)
    asked: list[tuple[tuple[str, ...], int]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.models = {version: Model(path) for version, path in self.packages.items()}
        self._start_http(self.ports[0])
        self._start_grpc(self.ports[1])
        return self

    def __exit__(self, *_: object) -> None:
        self._uvicorn.should_exit = True
        self._grpc.stop(None).wait()
        self._thread.join()
        for model in self.models.values():
            model.recognizer.close()

    def address(self, protocol: str = "http", version: str = "", **options: object) -> str:
        """Return the provider for a recogniser."""
        port = self.http_port if protocol == "http" else self.grpc_port
        query = "&".join(f"{name}={value}" for name, value in {"protocol": protocol, **options}.items())
        return f"kserve://localhost:{port}/{self.name}{'/' + version if version else ''}?{query}"

    def swap(self, version: str, package: str | Path) -> None:
        """Load another package in place of a version."""
        self.models[version] = Model(package)

    def close_connections(self) -> None:
        """Close all connections by HTTP, as a server does with idle ones."""
        connections = self._uvicorn.server_state.connections
        for item in list(connections):
            item.loop.call_soon_threadsafe(item.transport.close)
        wait_until(lambda: not connections)

    def metadata(self, name: str, version: str) -> dict[str, Any]:
        """Return the model's metadata."""
        model = self._model(name, version)
        outputs = [(spec.name, spec.datatype, [-1, spec.width] if spec.width else [-1]) for spec in ANSWER_TENSORS]
        outputs.append((NETWORK_SCORE, "FP32", [-1, len(model.recognizer.labels)]))
        return {
            "name": name,
            "versions": list(self.models),
            "platform": "partsight_test",
            "inputs": [{"name": "image_bgr", "datatype": "UINT8", "shape": [-1, *model.size_hw, 3]}],
            "outputs": [
                {"name": output, "datatype": datatype, "shape": shape}
                for output, datatype, shape in outputs
                if output not in self.lacks
            ],
        }

    def answer(self, name: str, version: str, inputs: Mapping[str, np.ndarray], names: Sequence[str]) -> Tensors:
        """Return the outputs of a request, after the next fault."""
        batch = inputs["image_bgr"]
        self.asked.append((tuple(names), len(batch)))
        tensors = self._model(name, version).run(batch, names)
        with contextlib.suppress(IndexError):
            tensors = self.faults.popleft()(tensors) or tensors
        return tensors

    def check_token(self, found: str | None) -> None:
        """Refuse a request without the token."""
        if self.token and found != f"Bearer {self.token}":
            raise RefusedError(401, "no such token")

    def _model(self, name: str, version: str) -> Model:
        version = version or list(self.models)[-1]
        if name != self.name or version not in self.models:
            raise RefusedError(404, f"unknown model {name} {version}")
        return self.models[version]

    def _start_http(self, port: int) -> None:
        paths = "/v2/models/{name}", "/v2/models/{name}/versions/{version}"
        routes = [Route("/v2/health/ready", self._ready)]
        routes += [Route(path, self._describe) for path in paths]
        routes += [Route(f"{path}/infer", self._infer, methods=["POST"]) for path in paths]
        tls: dict[str, Any] = {"ssl_certfile": self.cert, "ssl_keyfile": self.key} if self.cert else {}
        if self.client_ca:
            tls |= {"ssl_ca_certs": self.client_ca, "ssl_cert_reqs": 2}
        listener = socket.create_server(("127.0.0.1", port))
        self.http_port = listener.getsockname()[1]
        config = uvicorn.Config(Starlette(routes=routes), log_config=None, lifespan="off", **tls)
        self._uvicorn = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._uvicorn.run, args=([listener],), daemon=True)
        self._thread.start()
        wait_until(lambda: self._uvicorn.started)

    async def _ready(self, _: Request) -> Response:
        return Response(status_code=200 if self.is_ready else 503)

    async def _describe(self, request: Request) -> Response:
        def describe() -> HttpAnswer:
            return encode_json(self.metadata(request.path_params["name"], request.path_params.get("version", "")))

        return self._respond(request, describe)

    async def _infer(self, request: Request) -> Response:
        body = await request.body()

        def infer() -> HttpAnswer:
            asked = parse_request(body, request.headers.get(HEADER_LENGTH))
            names = [spec.name for spec in ANSWER_TENSORS]
            outputs = select_outputs(asked, names, (NETWORK_SCORE,))
            name, version = request.path_params["name"], request.path_params.get("version", "")
            tensors = self.answer(name, version, asked.inputs, [output.name for output in outputs])
            if "id" in tensors:  # a fault of its own
                asked = InferRequest(asked.inputs, asked.outputs, str(tensors.pop("id")), asked.is_binary)
            outputs = tuple(output for output in outputs if output.name in tensors)
            return encode_response(InferResponse(name, version, tensors), asked, outputs)

        return await run_in_threadpool(self._respond, request, infer)

    def _respond(self, request: Request, answer: Callable[[], HttpAnswer]) -> Response:
        try:
            self.check_token(request.headers.get("Authorization"))
            found = answer()
        except (RefusedError, RequestError) as error:
            found = encode_error(str(error), error.status)
        return Response(found.body, found.status, dict(found.headers))

    def _start_grpc(self, port: int) -> None:
        self._grpc = grpc.server(ThreadPoolExecutor(8), options=list(self.grpc_options))
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(_Servicer(self), self._grpc)
        where = f"localhost:{port}"
        if self.cert:
            pair = Path(self.key).read_bytes(), Path(self.cert).read_bytes()
            ca = Path(self.client_ca).read_bytes() if self.client_ca else None
            credentials = grpc.ssl_server_credentials([pair], ca, require_client_auth=ca is not None)
            self.grpc_port = self._grpc.add_secure_port(where, credentials)
        else:
            self.grpc_port = self._grpc.add_insecure_port(where)
        self._grpc.start()


class _Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    def __init__(self, server: KServeServer) -> None:
        self._server = server

    def ServerReady(self, _: Any, context: Any) -> Any:  # noqa: N802
        with self._errors(context):
            return service_pb2.ServerReadyResponse(ready=self._server.is_ready)

    def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        with self._errors(context):
            return service_pb2.ModelMetadataResponse(**self._server.metadata(request.name, request.version))

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        with self._errors(context):
            (image,) = request.inputs
            batch = np.frombuffer(request.raw_input_contents[0], np.uint8).reshape(image.shape)
            names = [output.name for output in request.outputs]
            tensors = self._server.answer(request.model_name, request.model_version, {image.name: batch}, names)
            answer_id = str(tensors.pop("id", request.id))
            sent = {name: tensors[name] for name in names if name in tensors}
            return service_pb2.ModelInferResponse(
                model_name=request.model_name,
                model_version=request.model_version,
                id=answer_id,
                outputs=[
                    {"name": name, "datatype": datatype_of(array), "shape": array.shape} for name, array in sent.items()
                ],
                raw_output_contents=[to_raw(array) for array in sent.values()],
            )

    @contextlib.contextmanager
    def _errors(self, context: Any) -> Iterator[None]:
        try:
            self._server.check_token(dict(context.invocation_metadata()).get("authorization"))
            yield
        except RefusedError as error:
            context.abort(_GRPC[error.status], str(error))


def main() -> None:
    """Serve until the process is killed; print a line when it is ready."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("packages", nargs="+", help="VERSION=PATH")
    parser.add_argument("--http", type=int, default=0)
    parser.add_argument("--grpc", type=int, default=0)
    args = parser.parse_args()
    packages = dict(text.split("=", 1) for text in args.packages)
    with KServeServer(args.name, packages, ports=(args.http, args.grpc)) as server:
        print(server.http_port, server.grpc_port, flush=True)
        while True:
            time.sleep(HANG_S)


if __name__ == "__main__":
    main()
