import logging
import time

import pytest

from partsight.runtime.sinks.allow import AllowList, parse_networks


@pytest.mark.parametrize("text", ["10.0.0", "10.0.0.1/24", "plc", "10.0.0.1,"])
def test_lists_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="allow"):
        parse_networks(text)


@pytest.mark.parametrize(
    ("host", "is_admitted"),
    [
        ("10.0.0.5", True),
        ("10.0.0.6", False),
        ("10.0.1.77", True),
        ("::1", True),
        ("fe80::1", False),
        ("unknown", False),
    ],
)
def test_hosts(host: str, is_admitted: bool) -> None:
    assert AllowList("x://y", "10.0.0.5,10.0.1.0/24,::1").admits(host) is is_admitted
    assert AllowList("x://y", "").admits(host)


def test_refusals_are_logged_once_a_minute(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    allow = AllowList("x://y", "10.0.0.5")
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            allow.admits("1.2.3.4")
        now[0] += 61
        allow.refuse("1.2.3.5", "reason")
    found = [(record.event, record.sink, record.address, record.refused) for record in caplog.records]  # type: ignore[attr-defined]
    assert found == [("connection_refused", "x://y", "1.2.3.4", 1), ("connection_refused", "x://y", "1.2.3.5", 6)]
