"""Clients of a server of tests: colours as frames, tritonclient, and loads of several threads."""

import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from ray import serve
from ray.exceptions import RayError
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from partsight.runtime.core import Pixels
from partsight.runtime.recognition import REASONS
from tests.tiny import COLOURS_BGR, SIDE_PX, solid
from tests.waiting import HANG_S, wait_until

COLOURS = tuple(COLOURS_BGR)


def prepared(*colours: str | tuple[int, int, int]) -> np.ndarray:
    """Return prepared frames, (n, side, side, 3) uint8."""
    return np.stack([solid(colour, SIDE_PX, SIDE_PX) for colour in colours])


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass(frozen=True)
class Server:
    """The server of a test: its ports, and the deployed models by name."""

    http_port: int
    grpc_port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def http(self) -> Any:
        return triton_http.InferenceServerClient(
            f"127.0.0.1:{self.http_port}", connection_timeout=HANG_S, network_timeout=HANG_S
        )

    def grpc(self) -> Any:
        return triton_grpc.InferenceServerClient(f"127.0.0.1:{self.grpc_port}")


def infer(client: Any, model: str, name: str, values: Any, **options: Any) -> Any:
    """Send one tensor with a client of tritonclient, and return its result."""
    module = triton_grpc if isinstance(client, triton_grpc.InferenceServerClient) else triton_http
    array = np.asarray(values)
    tensor = module.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    tensor.set_data_from_numpy(array)
    return client.infer(model, [tensor], **options)


def files(*encoded: bytes) -> np.ndarray:
    """Return files as a tensor."""
    row = np.empty(len(encoded), np.object_)
    row[:] = encoded
    return row


@dataclass
class Load:
    """Frames that several clients send, each until it has an answer.

    Attributes:
        answers: For each frame its answers, as (label, package id).
        retries: Errors after which a client asked again, by their status.
        faults: Errors that a client must never see.
    """

    answers: list[list[tuple[str, str]]] = field(default_factory=list)
    retries: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def answered(self) -> int:
        return sum(map(len, self.answers))

    def wait_for(self, further: int) -> None:
        """Wait until so many more frames have been answered."""
        goal = self.answered + further
        wait_until(lambda: self.answered >= goal or self.faults)
        assert self.faults == []

    def package_ids(self) -> set[str]:
        return {package_id for given in self.answers for _, package_id in given}

    def wrong(self) -> list[int]:
        """Return the frames that do not have exactly one answer, or a wrong one."""
        return [
            index
            for index, given in enumerate(self.answers)
            if [label for label, _ in given] != [COLOURS[index % len(COLOURS)]]
        ]

    def _next(self) -> int:
        with self._lock:
            self.answers.append([])
            return len(self.answers) - 1

    def _run(self, client: Any, model: str, may_retry: Callable[[Exception], bool]) -> None:
        while not self._stopped.is_set():
            index = self._next()
            frame = prepared(COLOURS[index % len(COLOURS)])
            while True:
                try:
                    result = infer(client, model, "image_bgr", frame, request_id=str(index))
                except Exception as error:  # noqa: BLE001 (of tritonclient, and of the socket below it)
                    with self._lock:
                        if not may_retry(error):
                            self.faults.append(f"{type(error).__name__}: {error}")
                            return
                        self.retries[_status_of(error)] += 1
                    continue
                assert result.get_response()["id"] == str(index)
                answer = result.as_numpy("label")[0].decode(), result.as_numpy("package_id")[0].decode()
                with self._lock:
                    self.answers[index].append(answer)
                break


def _status_of(error: Exception) -> str:
    return str(error.status()) if isinstance(error, InferenceServerException) else type(error).__name__


@contextmanager
def load(server: Server, model: str, *, clients: int, may_retry: bool) -> Iterator[Load]:
    """Send frames from several clients until the end of the block."""
    found = Load()
    threads = [
        threading.Thread(target=found._run, args=(server.http(), model, lambda _: may_retry), daemon=True)
        for _ in range(clients)
    ]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        found._stopped.set()
        for thread in threads:
            thread.join(HANG_S)


def same_answers(result: Any, expected: Sequence[Any], within: float = 1e-6) -> bool:
    """Return whether a result of tritonclient holds the answers of a local recogniser."""
    labels = [item if isinstance(item, str) else item.decode() for item in result.as_numpy("label").tolist()]
    reasons = result.as_numpy("reason").tolist()
    scores = {"agreement": "score", "margin": "margin", "threshold": "threshold", "least_margin": "least_margin"}
    return (
        labels == [answer.label or "" for answer in expected]
        and [REASONS[index] for index in reasons] == [answer.reason for answer in expected]
        and all(
            np.allclose(result.as_numpy(name), [getattr(answer, field) for answer in expected], rtol=0, atol=within)
            for name, field in scores.items()
        )
    )


def frames_of(*colours: str | tuple[int, int, int]) -> list[Pixels]:
    return list(prepared(*colours))


def answer_of(name: str, method: str) -> int:
    """Call a method of one of the replicas until one answers, and return its process."""
    while True:
        try:
            return int(getattr(serve.get_app_handle(name), method).remote().result(timeout_s=60))
        except RayError:  # the replica was killed a moment ago
            continue


def gone(pids: set[int]) -> set[int]:
    """Return the processes that have ended."""
    return {
        pid
        for pid in pids
        if not Path(f"/proc/{pid}/cmdline").exists() or not Path(f"/proc/{pid}/cmdline").read_bytes()
    }
