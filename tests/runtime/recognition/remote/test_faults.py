"""Servers that are lost, slow, busy, or answer wrongly."""

import contextlib
import logging
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partsight.runtime import Recognizer, RemoteError
from partsight.runtime.recognition.remote import pipeline
from partsight.runtime.recognition.remote.http_connection import HttpConnection
from tests.kserve_server import Fault, KServeServer, RefusedError, Tensors
from tests.runtime.recognition.remote.limits import short_of_time
from tests.runtime.recognition.samples import COLOURS
from tests.tiny import solid
from tests.waiting import HANG_S, wait_until

PROTOCOLS = ("http", "grpc")


@pytest.fixture(scope="module", params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    """Each protocol."""
    return str(request.param)


@pytest.fixture(scope="module")
def shared(matching_package: Path) -> Iterator[KServeServer]:
    """A server of the tiny package with matching."""
    with KServeServer("m", {"1": matching_package}) as server:
        yield server


@pytest.fixture
def server(shared: KServeServer) -> Iterator[KServeServer]:
    """The server, without the faults of the test before."""
    shared.faults.clear()
    yield shared
    shared.faults.clear()


def refuse(status: int) -> Fault:
    """Return a fault that refuses with a status."""

    def fault(_: Tensors) -> Tensors:
        raise RefusedError(status)

    return fault


def change(**values: Any) -> Fault:
    """Return a fault that changes outputs."""
    return lambda tensors: tensors | values


def test_a_busy_server_is_asked_again(
    server: KServeServer, matching_package: Path, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "partsight")
    with Recognizer(matching_package, provider=server.address(protocol)) as recognizer:
        server.faults += [refuse(500), refuse(502), refuse(503)]
        assert recognizer.recognize(solid("red")).label == "red"
        assert (recognizer.take_retries(), recognizer.take_retries()) == (3, 0)
        assert recognizer.recognize(solid("red")).label == "red"
    events = [(record.event, getattr(record, "failed", None)) for record in caplog.records if hasattr(record, "event")]
    assert events == [("server_lost", None), ("server_back", 3)]


def test_a_refusal_is_not_repeated(server: KServeServer, matching_package: Path, protocol: str) -> None:
    with Recognizer(matching_package, provider=server.address(protocol)) as recognizer:
        server.faults += [refuse(400)]
        with pytest.raises(RemoteError, match="refused by the test"):
            recognizer.recognize(solid("red"))
        assert recognizer.take_retries() == 0
        assert recognizer.recognize(solid("blue")).label == "blue"


WRONG = {
    "the id of another request": (change(id="0"), "request '0'"),
    "another package": (change(package_id=np.array([b"otherid"] * 2, object)), "otherid"),
    "two packages": (change(package_id=np.array([b"otherid", b"x"], object)), "swap this line"),
    "another number of answers": (lambda tensors: {name: values[:1] for name, values in tensors.items()}, "expected"),
    "another type": (change(agreement=np.ones(2, np.float64)), "agreement"),
    "another shape": (change(pose=np.ones((2, 4), np.float32)), "pose"),
    "a part that the package lacks": (change(top_index=np.full((2, 5), 6)), "names parts"),
    "a reference that the part lacks": (change(reference=np.full(2, 1)), "names parts"),
    "a reason that is none": (change(reason=np.full(2, 3)), "names parts"),
    "an acceptance against its reason": (change(accepted=np.zeros(2, bool)), "names parts"),
    "an acceptance of no part": (change(top_index=np.full((2, 5), -1)), "names parts"),
}


@pytest.mark.parametrize(("fault", "datum"), WRONG.values(), ids=WRONG)
def test_wrong_answers(server: KServeServer, matching_package: Path, protocol: str, fault: Fault, datum: str) -> None:
    with Recognizer(matching_package, provider=server.address(protocol)) as recognizer:
        server.faults.append(fault)
        with pytest.raises(RemoteError, match=datum):
            recognizer.recognize_batch([solid("red"), solid("blue")])
        assert recognizer.take_retries() == 0
        assert recognizer.recognize(solid("blue")).label == "blue"


def test_outputs_of_one_column(server: KServeServer, matching_package: Path, protocol: str) -> None:
    """Triton gives (n, 1) for (n,)."""
    with Recognizer(matching_package, provider=server.address(protocol)) as recognizer:
        server.faults.append(
            lambda tensors: {name: values.reshape(len(values), -1) for name, values in tensors.items()}
        )
        results = recognizer.recognize_batch([solid("red"), solid("blue")])
    assert [result.label for result in results] == ["red", "blue"]


def test_a_late_answer_is_never_taken(server: KServeServer, matching_package: Path, protocol: str) -> None:
    """The first attempt is answered while the second one waits, with another part."""
    late, again = threading.Event(), threading.Event()

    def hang(_: Tensors) -> Tensors:
        assert again.wait(HANG_S)
        late.set()
        return dict(server.models["1"].run(np.full((1, 36, 36, 3), (255, 0, 0), np.uint8), ()))

    def answer(tensors: Tensors) -> Tensors:
        again.set()
        assert late.wait(HANG_S)
        return tensors

    address = server.address(protocol, timeout_s=60, attempt_s=0.3)
    with Recognizer(matching_package, provider=address) as recognizer:
        server.faults += [hang, answer]
        assert recognizer.recognize(solid("red")).label == "red"
        assert recognizer.take_retries() >= 1
        labels = [recognizer.recognize(solid(name)).label for name in COLOURS]
    assert labels == COLOURS


def test_a_server_that_hangs(server: KServeServer, matching_package: Path, protocol: str) -> None:
    opened = threading.Event()

    def hang(_: Tensors) -> None:
        assert opened.wait(HANG_S)

    with Recognizer(matching_package, provider=server.address(protocol)) as recognizer:
        server.faults += [hang] * 3
        with short_of_time(0.3), pytest.raises(RemoteError, match="timeout_s"):
            recognizer.recognize_batch([solid("red")] * 3)
        opened.set()
        server.faults.clear()
        assert recognizer.recognize(solid("blue")).label == "blue"


def test_a_call_that_has_no_end(server: KServeServer, matching_package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server without an answer, for example: the caller waits no longer than its time."""
    opened = threading.Event()
    with Recognizer(matching_package, provider=server.address()) as recognizer:
        monkeypatch.setattr(pipeline, "_GRACE_S", 0.1)
        monkeypatch.setattr(HttpConnection, "infer", lambda *_: opened.wait(HANG_S))
        with short_of_time(0.1), pytest.raises(RemoteError, match="name server"):
            recognizer.recognize(solid("red"))
        opened.set()


def test_the_end_comes_soon(server: KServeServer, matching_package: Path, protocol: str) -> None:
    """All batches after it share one `timeout_s`. Later batches have one attempt, enough for a server that answers."""
    with Recognizer(matching_package, provider=server.address(protocol)) as recognizer:
        with short_of_time(0):
            recognizer.end_soon()
        server.faults += [refuse(503)] * 3
        for _ in range(3):  # one attempt each
            with pytest.raises(RemoteError, match=r"503|UNAVAILABLE"):
                recognizer.recognize(solid("red"))
        assert recognizer.take_retries() == 0
        assert recognizer.recognize(solid("red")).label == "red"


def test_several_batches_are_in_flight(server: KServeServer, matching_package: Path, protocol: str) -> None:
    opened = threading.Event()

    def hang(_: Tensors) -> None:
        assert opened.wait(HANG_S)

    with Recognizer(matching_package, provider=server.address(protocol, timeout_s=60)) as recognizer:
        server.faults += [hang] * 3
        asked = len(server.asked)
        batches = [recognizer.start_batch([solid(name)]) for name in COLOURS[:3]]
        wait_until(lambda: len(server.asked) == asked + 3)
        opened.set()
        assert [batch.wait()[0].label for batch in batches] == COLOURS[:3]


def test_threads_get_their_own_answers(server: KServeServer, matching_package: Path, protocol: str) -> None:
    with (
        Recognizer(matching_package, provider=server.address(protocol), batch_size=2) as recognizer,
        ThreadPoolExecutor(6) as pool,
    ):

        def work(index: int) -> bool:
            names = [COLOURS[(index + step) % 6] for step in range(5)]
            return [result.label for result in recognizer.recognize_batch([solid(name) for name in names])] == names

        assert all(pool.map(work, range(60)))


def test_a_server_that_closes_idle_connections(server: KServeServer, matching_package: Path) -> None:
    """That is no failure: the next request takes another connection."""
    with Recognizer(matching_package, provider=server.address()) as recognizer:
        server.close_connections()
        assert recognizer.recognize(solid("red")).label == "red"
        assert recognizer.take_retries() == 0


def descriptors() -> int:
    """Return the number of this process's open files and sockets."""
    return len(list(Path("/proc/self/fd").iterdir()))


def test_recognisers_leave_no_descriptors_behind(server: KServeServer, matching_package: Path, protocol: str) -> None:
    """A line that swaps packages for months would run out of them."""

    def use() -> int:
        with Recognizer(matching_package, provider=server.address(protocol), batch_size=1) as recognizer:
            recognizer.recognize_batch([solid("red")] * 8)
        return descriptors()

    used = use()
    for _ in range(8):
        use()
    wait_until(lambda: descriptors() <= used + 4)  # connections of the server close a bit later


ANSWERS = {
    "half an answer": b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{",
    "nothing": b"",
    "no HTTP": b"220 mail.plant ESMTP\r\n",
    "no JSON": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "another JSON": b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"inputs": 7}',
    "no body": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "a redirect": b"HTTP/1.1 302 Found\r\nLocation: http://other/\r\nContent-Length: 0\r\n\r\n",
}


READY = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_a_program_that_is_no_such_server(matching_package: Path, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):  # the end of the test
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        is_health = b"/health/" in connection.recv(4096)
                        connection.sendall(READY if is_health else answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        address = f"kserve://127.0.0.1:{listener.getsockname()[1]}/m?timeout_s=0.3"
        with pytest.raises(RemoteError):
            Recognizer(matching_package, provider=address)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
