"""A connection by HTTP: requests and answers are tritonclient's, the transport is Python's own.

tritonclient's HTTP client runs on gevent. It is not thread-safe, and each thread that uses it leaves two file
descriptors behind when it ends. A line that swaps packages for months would run out of them.
"""

import http.client
import select
import ssl
import time
from typing import Any
from urllib.parse import quote

import msgspec

from partsight.runtime.core import RemoteError, import_extra
from partsight.runtime.inference import INPUT_NAME
from partsight.runtime.recognition.remote.address import RemoteAddress
from partsight.runtime.recognition.remote.connection import LostError, ModelFacts, Request, Response

_HEADER_LENGTH = "Inference-Header-Content-Length"
_AWAY = (500, 502, 503, 504)
"""Statuses of a server that is away or busy or loses the replica that works, and of a gateway in front of it."""


class HttpConnection:
    """See `Connection`."""

    def __init__(self, address: RemoteAddress, context: ssl.SSLContext | None, token: str) -> None:
        """Store the settings; the first request connects."""
        self._address, self.token = address, token
        self._library = import_extra("tritonclient.http", "triton")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._connection = (
            http.client.HTTPConnection(address.host, address.port)
            if context is None
            else http.client.HTTPSConnection(address.host, address.port, context=context)
        )

    def check_ready(self, limit_s: float) -> None:
        """See `Connection`."""
        status, _, _ = self._send("GET", "/v2/health/ready", limit_s)
        if status != 200:
            raise LostError(f"is not ready (HTTP {status})")

    def describe(self, version: str, limit_s: float) -> ModelFacts:
        """See `Connection`."""
        status, _, body = self._send("GET", self._path(version), limit_s)
        self._check(status, body)
        try:
            return msgspec.json.decode(body, type=ModelFacts)
        except msgspec.DecodeError as error:
            raise RemoteError(f"{self._address}: its metadata is not of the KServe v2 protocol ({error})") from error

    def infer(self, request: Request, limit_s: float) -> Response:
        """See `Connection`."""
        client = self._library.InferenceServerClient
        image = self._library.InferInput(INPUT_NAME, list(request.batch.shape), "UINT8")
        image.set_data_from_numpy(request.batch)
        outputs = [self._library.InferRequestedOutput(name) for name in request.outputs]
        sent, header_length = client.generate_request_body([image], outputs=outputs, request_id=request.id)
        headers = {_HEADER_LENGTH: str(header_length), "Content-Type": "application/octet-stream"}
        status, found, body = self._send("POST", f"{self._path(request.version)}/infer", limit_s, sent, headers)
        self._check(status, body)
        length = found.get(_HEADER_LENGTH)
        try:
            result = client.parse_response_body(body, header_length=None if length is None else int(length))
            tensors = {name: result.as_numpy(name) for name in request.outputs}
            return Response(str(result.get_response().get("id")), tensors)
        except Exception as error:  # of any kind: tritonclient checks little of an answer
            raise RemoteError(f"{self._address}: its answer is not of the KServe v2 protocol ({error!r})") from error

    def close(self) -> None:
        """See `Connection`."""
        self._connection.close()

    def _path(self, version: str) -> str:
        of_version = f"/versions/{version}" if version else ""
        return f"/v2/models/{quote(self._address.model, safe='')}{of_version}"

    def _send(
        self, method: str, path: str, limit_s: float, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any, bytes]:
        """Return status, headers and body of the answer."""
        ends_at = time.monotonic() + limit_s
        connection = self._connection
        if connection.sock is not None and _is_dropped(connection.sock):
            connection.close()
        try:
            connection.timeout = limit_s
            if connection.sock is None:
                connection.connect()
            self._limit(ends_at)
            connection.request(method, path, body, self._headers | (headers or {}))
            self._limit(ends_at)
            response = connection.getresponse()
            self._limit(ends_at)
            return response.status, response.headers, response.read()
        except ssl.SSLCertVerificationError as error:
            raise RemoteError(
                f"{self._address}: its certificate is not trusted ({error.verify_message}); give its authority's "
                "certificate with the option ca"
            ) from error
        except TimeoutError as error:
            raise LostError(f"gave no answer within {limit_s:.3g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise LostError(str(error) or type(error).__name__) from error

    def _limit(self, ends_at: float) -> None:
        """Limit the next step to the time that is left; raises TimeoutError if none is."""
        left_s = ends_at - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        if self._connection.sock is not None:  # it is None after an answer that ended the connection
            self._connection.sock.settimeout(left_s)

    def _check(self, status: int, body: bytes) -> None:
        if status == 200:
            return
        reason = _reason(body)
        if status in _AWAY:
            raise LostError(f"HTTP {status}{reason}")
        raise RemoteError(f"{self._address}: HTTP {status}{reason}{_REMEDIES.get(status, '')}")


_REMEDIES = {
    401: "; give a valid token with the option token_file",
    403: "; give a valid token with the option token_file",
    404: "; check the model's name, and that the server has loaded it",
}


def _is_dropped(sock: Any) -> bool:
    """Whether the server has closed an idle connection: an open one has nothing to read."""
    try:
        return bool(select.select([sock], [], [], 0)[0])
    except (OSError, ValueError):  # closed, or a descriptor beyond 1,023
        return True


def _reason(body: bytes) -> str:
    """Return the server's own words, after a colon; empty if there are none."""
    try:
        error = msgspec.json.decode(body, type=dict[str, Any]).get("error")
    except msgspec.DecodeError:
        error = body[:200].decode("utf-8", "replace").strip()
    return f": {error}" if error else ""
