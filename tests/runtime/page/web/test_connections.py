"""Connections: too many of them and silent ones cost neither the line nor other browsers their place."""

import contextlib
import http.client
import socket
from collections.abc import Iterator

import pytest

from partsight.runtime.page.web import connections
from tests.runtime.page.conftest import Station
from tests.waiting import HANG_S, wait_until


@contextlib.contextmanager
def silent(station: Station, count: int, data: bytes = b"") -> Iterator[list[socket.socket]]:
    """Yield connections that send no whole request."""
    address = station.stranger().address
    with contextlib.ExitStack() as stack:
        made = [
            stack.enter_context(socket.create_connection((address.hostname or "", address.port or 0), HANG_S))
            for _ in range(count)
        ]
        for connection in made:
            with contextlib.suppress(OSError):
                connection.sendall(data)
        yield made


def is_ended(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def test_it_hangs_up_on_one_more(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 5)
    with silent(station, 8) as made:
        assert all(is_ended(connection) for connection in made[5:])
        for connection in made[:5]:
            connection.close()
        wait_until(lambda: can_ask(station))
    assert station.show("red")[0].record.label == "red"


@pytest.mark.parametrize("data", [b"", b"GET / HTTP/1.1\r\nHo", b"GET /static/page.css HTTP/1.1\r\nHost: x\r\n\r\nGET"])
def test_it_ends_a_silent_connection(station: Station, monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.05)
    with silent(station, 1, data) as (connection,):
        wait_until(lambda: is_ended(connection))
    assert can_ask(station)


def test_a_connection_may_wait_between_two_requests(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = b"GET /static/icon.svg HTTP/1.1\r\nHost: x\r\n\r\n"
    with silent(station, 1, ask) as (connection,):
        monkeypatch.setattr(connections, "HEAD_S", 0.05)
        assert answer(connection).startswith(b"HTTP/1.1 200")
        with silent(station, 1) as (other,):
            assert is_ended(other)  # longer than HEAD_S
        connection.sendall(ask)
        assert answer(connection).startswith(b"HTTP/1.1 200")


def answer(connection: socket.socket) -> bytes:
    """The whole answer: its head and its body may come apart."""
    data = b""
    while not data.endswith(b"</svg>\n"):
        received = connection.recv(100_000)
        assert received, data
        data += received
    return data


def can_ask(station: Station) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException):
        return station.stranger().get("/static/icon.svg").status == 200
    return False
