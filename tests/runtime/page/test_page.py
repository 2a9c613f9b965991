"""The page as a whole: how it starts, what it refuses, and that nothing of it stays."""

import gc
import http.client
import logging
import socket
import ssl
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from partsight.runtime import Recognizer
from partsight.runtime.core import PageError
from partsight.runtime.line import Line
from partsight.runtime.page import Page, PageSettings
from partsight.runtime.page.health.history import HealthHistory
from partsight.runtime.page.live.recent_results import RecentResults
from partsight.runtime.page.live.shift import ShiftCounters
from tests.runtime.page.conftest import Belt
from tests.runtime.sinks.test_opcua_identity import write_cert
from tests.tiny import ONE_THREAD


@pytest.fixture
def line(matching_package: Path) -> Iterator[Line]:
    line = Line(Recognizer(matching_package, engine=ONE_THREAD), {"left": lambda: Belt("left")})
    yield line
    line.close()


def listening() -> int:
    """Return how many objects that listen to a line are still alive."""
    gc.collect()
    return sum(isinstance(found, RecentResults | ShiftCounters | HealthHistory) for found in gc.get_objects())


def settings(tmp_path: Path, **others: object) -> PageSettings:
    return PageSettings(**{"port": 0, "data": str(tmp_path / "data")} | others)  # type: ignore[arg-type]


def test_a_port_that_is_taken(line: Line, matching_package: Path, tmp_path: Path) -> None:
    handlers = list(logging.getLogger("partsight").handlers)
    before = listening()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PageError, match=str(port)):
            Page(line, settings(tmp_path, port=port), matching_package)
    assert logging.getLogger("partsight").handlers == handlers
    assert listening() == before


def test_nothing_stays_of_a_page(line: Line, matching_package: Path, tmp_path: Path) -> None:
    before = listening()
    page = Page(line, settings(tmp_path), matching_package)
    assert listening() == before + 3
    page.start()
    page.close()
    page.close()
    with pytest.raises(PageError):
        page.start()
    del page
    assert listening() == before  # though the line, which knew them, is still there


@pytest.mark.skipif(sys.platform == "win32", reason="rights of files are others there")
def test_only_this_user_may_read_the_data(line: Line, matching_package: Path, tmp_path: Path) -> None:
    with Page(line, settings(tmp_path), matching_package):
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "data" / "page.sqlite").stat().st_mode) == 0o600


def test_no_password_crosses_a_network_readably(line: Line, matching_package: Path, tmp_path: Path) -> None:
    with pytest.raises(PageError, match=r"0\.0\.0\.0"):
        Page(line, settings(tmp_path, host="0.0.0.0"), matching_package)


def test_a_person_may_allow_it(
    line: Line, matching_package: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Page(line, settings(tmp_path, host="0.0.0.0", insecure=True), matching_package) as page:
        assert page.url.startswith("http://0.0.0.0:")
    assert "server_exposed" in [getattr(record, "event", "") for record in caplog.records]


def test_https(line: Line, matching_package: Path, tmp_path: Path) -> None:
    cert, key_file, key = tmp_path / "cert.pem", tmp_path / "key.pem", ec.generate_private_key(ec.SECP256R1())
    write_cert(cert, key, x509.DNSName("localhost"))
    form = serialization.PrivateFormat.PKCS8
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    with Page(line, settings(tmp_path, cert=str(cert), key=str(key_file)), matching_package) as page:
        port = int(page.url.rpartition(":")[2].strip("/"))
        context = ssl.create_default_context(cafile=cert)
        connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=240)
        connection.request("GET", "/static/icon.svg")
        assert connection.getresponse().status == 200
        connection.close()


def test_a_certificate_that_is_none(line: Line, matching_package: Path, tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("none")
    with pytest.raises(PageError):
        Page(
            line, settings(tmp_path, cert=str(tmp_path / "cert.pem"), key=str(tmp_path / "cert.pem")), matching_package
        )
