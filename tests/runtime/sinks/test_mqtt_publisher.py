"""Against a client that acknowledges at once."""

import itertools
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from partsight.runtime.core.errors import SinkError
from partsight.runtime.sinks.mqtt_publisher import Publisher
from partsight.runtime.sinks.spool import Spool
from tests.waiting import wait_until

WELL = SimpleNamespace(is_failure=False, value=0)


class Client:
    def __init__(self) -> None:
        self.on_connect: Any = None
        self.on_publish: Any = None
        self.on_disconnect: Any = None
        self.published: list[bytes] = []
        self._ids = itertools.count(1)

    def loop_start(self) -> None:
        self.on_connect(self, None, None, WELL, None)

    def publish(self, _topic: str, payload: bytes, **_: int) -> SimpleNamespace:
        self.published.append(payload)
        number = next(self._ids)
        self.on_publish(self, None, number, WELL, None)
        return SimpleNamespace(mid=number)

    def disconnect(self) -> None: ...

    def loop_stop(self) -> None: ...


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("partsight.runtime.sinks.mqtt_publisher.PAUSE_S", 0.02)
    caplog.set_level(logging.WARNING)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "spool.db", 10, 1000) as opened:
        yield opened


def test_spool_that_cannot_be_read_for_a_while(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The broker is not the cause, so the publisher does not reconnect."""
    monkeypatch.setattr("partsight.runtime.sinks.mqtt_publisher.STALL_S", 0.2)
    clock, tries, after = itertools.count(), itertools.count(), spool.after
    monkeypatch.setattr("partsight.runtime.sinks.mqtt_publisher.time", Mock(monotonic=lambda: next(clock) / 100))
    monkeypatch.setattr(spool, "after", lambda *arguments: (next(tries), after(*arguments))[1])
    client, made = Client(), []
    spool.add(b"a")
    other = sqlite3.connect(spool.path, isolation_level=None)
    other.execute("INSERT INTO waiting (payload) VALUES ('damaged')")
    publisher = Publisher(spool, "line3", lambda: (made.append(1), client)[1], needs_subscriber=False)
    wait_until(lambda: next(tries) > 1000)  # each look counts as well
    wait_until(lambda: caplog.records)
    other.execute("DELETE FROM waiting WHERE payload = 'damaged'")
    other.close()
    publisher.close(10)
    assert client.published == [b"a"]
    assert [record.event for record in caplog.records] == ["broker_trouble", "broker_recovered"]  # type: ignore[attr-defined]
    assert len(made) == 1


def test_certificate_that_is_missing_for_a_while(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    client, tries = Client(), itertools.count(1)

    def make() -> Client:
        if next(tries) < 4:
            raise SinkError("cert cannot be used")
        return client

    spool.add(b"a")
    publisher = Publisher(spool, "line3", make, needs_subscriber=False)
    publisher.close(10)
    assert client.published == [b"a"]
    assert len(spool) == 0
    assert [record.event for record in caplog.records] == ["broker_trouble", "broker_recovered"]  # type: ignore[attr-defined]


def test_certificate_that_is_missing_when_the_broker_was_silent(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partsight.runtime.sinks.mqtt_publisher.STALL_S", 0.05)
    silent, client, tries = Client(), Client(), itertools.count(1)
    monkeypatch.setattr(silent, "loop_start", lambda: None)

    def make() -> Client:
        number = next(tries)
        if number in (2, 3):
            raise SinkError("cert cannot be used")
        return silent if number == 1 else client

    spool.add(b"a")
    publisher = Publisher(spool, "line3", make, needs_subscriber=False)
    publisher.close(10)
    assert (silent.published, client.published) == ([], [b"a"])
