"""A connection by gRPC, with tritonclient's client."""

from typing import Any, NoReturn

from partsight.runtime.core import RemoteError, import_extra
from partsight.runtime.inference import INPUT_NAME
from partsight.runtime.recognition.remote.address import RemoteAddress
from partsight.runtime.recognition.remote.connection import LostError, ModelFacts, Request, Response, TensorFacts

_CHANNEL = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),  # or a new channel would wait for the backoff of the one that failed
    ("grpc.enable_retries", 0),  # each attempt is counted here, and has an id of its own
    ("grpc.enable_http_proxy", 0),
]

_AWAY = {"UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED", "INTERNAL", "RESOURCE_EXHAUSTED"}
"""Statuses of a server that is away, stops, loses the replica that works, is too slow or has too much to do."""

_REMEDIES = {
    "UNAUTHENTICATED": "; give a valid token with the option token_file",
    "PERMISSION_DENIED": "; give a valid token with the option token_file",
    "NOT_FOUND": "; check the model's name, and that the server has loaded it",
}

_TOO_LARGE = "; raise the server's largest message, use a smaller batch, or protocol=http"


class GrpcConnection:
    """See `Connection`. It has a channel of its own, so that a lost one goes with the connection."""

    def __init__(self, address: RemoteAddress, token: str) -> None:
        """Make the channel; the first request connects.

        Raises:
            OSError: A file of the certificates cannot be read.
        """
        self._address, self.token = address, token
        self._library = import_extra("tritonclient.grpc", "triton")
        self._headers = {"application": address.model}  # Ray Serve finds the model by it; other servers ignore it
        if token:
            self._headers["authorization"] = f"Bearer {token}"
        options = address.options
        self._client = self._library.InferenceServerClient(
            address.authority,
            ssl=options.tls,
            root_certificates=options.ca or None,
            private_key=(options.key or options.cert) or None,
            certificate_chain=options.cert or None,
            channel_args=_CHANNEL,
        )

    def check_ready(self, limit_s: float) -> None:
        """See `Connection`."""
        try:
            is_ready = self._client.is_server_ready(self._headers, limit_s)
        except self._library.InferenceServerException as error:
            self._raise(error)
        if not is_ready:
            raise LostError("is not ready")

    def describe(self, version: str, limit_s: float) -> ModelFacts:
        """See `Connection`."""
        try:
            found = self._client.get_model_metadata(self._address.model, version, self._headers, client_timeout=limit_s)
        except self._library.InferenceServerException as error:
            self._raise(error)
        inputs, outputs = (
            [TensorFacts(item.name, item.datatype, list(item.shape)) for item in items]
            for items in (found.inputs, found.outputs)
        )
        return ModelFacts(found.name, list(found.versions), inputs, outputs)

    def infer(self, request: Request, limit_s: float) -> Response:
        """See `Connection`."""
        image = self._library.InferInput(INPUT_NAME, list(request.batch.shape), "UINT8")
        image.set_data_from_numpy(request.batch)
        try:
            result = self._client.infer(
                self._address.model,
                [image],
                request.version,
                [self._library.InferRequestedOutput(name) for name in request.outputs],
                request.id,
                headers=self._headers,
                client_timeout=limit_s,
            )
        except self._library.InferenceServerException as error:
            self._raise(error)
        try:
            return Response(result.get_response().id, {name: result.as_numpy(name) for name in request.outputs})
        except Exception as error:  # of any kind: tritonclient checks little of an answer
            raise RemoteError(f"{self._address}: its answer is not of the KServe v2 protocol ({error!r})") from error

    def close(self) -> None:
        """See `Connection`."""
        self._client.close()

    def _raise(self, error: Any) -> NoReturn:
        status = str(error.status()).removeprefix("StatusCode.")
        text = " ".join(str(error.message()).split())
        if status in _AWAY:
            remedy = _TOO_LARGE if "message larger than max" in text else ""
            raise LostError(f"{status}: {text}{remedy}") from error
        raise RemoteError(f"{self._address}: {status}: {text}{_REMEDIES.get(status, '')}") from error
