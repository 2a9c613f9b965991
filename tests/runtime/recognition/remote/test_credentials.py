"""TLS, certificates of clients, and bearer tokens."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from partsight.runtime import ProviderError, Recognizer, RemoteError
from partsight.runtime.recognition.remote import parse_address
from partsight.runtime.recognition.remote.credentials import warn_of_exposure
from tests.kserve_server import KServeServer
from tests.runtime.recognition.remote.certificates import Authority
from tests.runtime.recognition.remote.limits import short_of_time
from tests.tiny import solid

OF_EACH = pytest.mark.parametrize("protocol", ["http", "grpc"])

TOKEN = "s3cret.token"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The plant's authority."""
    return Authority(tmp_path_factory.mktemp("tls"), "plant")


@pytest.fixture(scope="module")
def token_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the server's token."""
    return write_token(tmp_path_factory.mktemp("token") / "token", TOKEN)


@pytest.fixture(scope="module")
def server(authority: Authority, matching_package: Path) -> Iterator[KServeServer]:
    """A server that proves who it is, and asks for a token."""
    pair = authority.sign("server")
    files = {"cert": str(pair.cert), "key": str(pair.key)}
    with KServeServer("m", {"1": matching_package}, token=TOKEN, **files) as server:
        yield server


@pytest.fixture(scope="module")
def strict(authority: Authority, matching_package: Path) -> Iterator[KServeServer]:
    """A server that asks clients who they are."""
    pair, ca = authority.sign("strict"), str(authority.cert)
    files = {"cert": str(pair.cert), "key": str(pair.key), "client_ca": ca}
    with KServeServer("m", {"1": matching_package}, **files) as server:
        yield server


def write_token(path: Path, token: str) -> Path:
    """Write a token that only its owner can read."""
    path.write_text(f"{token}\n")
    path.chmod(0o600)
    return path


@OF_EACH
def test_tls_and_token(
    server: KServeServer, authority: Authority, token_file: Path, matching_package: Path, protocol: str
) -> None:
    options: dict[str, Any] = {"tls": "true", "ca": authority.cert, "token_file": token_file}
    with Recognizer(matching_package, provider=server.address(protocol, **options)) as recognizer:
        assert recognizer.recognize(solid("red")).label == "red"
        assert TOKEN not in f"{recognizer.provider} {recognizer.provider_reason}"


@OF_EACH
def test_a_server_of_another_authority(
    server: KServeServer, tmp_path: Path, token_file: Path, matching_package: Path, protocol: str
) -> None:
    options: dict[str, Any] = {"tls": "true", "timeout_s": 0.5, "token_file": token_file}
    for ca in (Authority(tmp_path, "other").cert, ""):  # without one, those that every machine trusts
        address = server.address(protocol, **options | ({"ca": ca} if ca else {}))
        with pytest.raises(RemoteError, match=r"(?i)certificate"):
            Recognizer(matching_package, provider=address)


@OF_EACH
def test_a_connection_without_tls(server: KServeServer, matching_package: Path, protocol: str) -> None:
    with pytest.raises(RemoteError):
        Recognizer(matching_package, provider=server.address(protocol, timeout_s=0.5))


@OF_EACH
def test_a_certificate_of_the_client(
    strict: KServeServer, authority: Authority, matching_package: Path, protocol: str
) -> None:
    pair = authority.sign("line3")
    options: dict[str, Any] = {"tls": "true", "ca": authority.cert, "timeout_s": 5}
    own = {"cert": pair.cert, "key": pair.key}
    with Recognizer(matching_package, provider=strict.address(protocol, **options | own)) as recognizer:
        assert recognizer.recognize(solid("red")).label == "red"
    with pytest.raises(RemoteError):
        Recognizer(matching_package, provider=strict.address(protocol, **options | {"timeout_s": 0.5}))


def test_a_certificate_and_its_key_in_one_file(
    strict: KServeServer, authority: Authority, tmp_path: Path, matching_package: Path
) -> None:
    pair, both = authority.sign("line4"), tmp_path / "both.pem"
    both.write_bytes(pair.cert.read_bytes() + pair.key.read_bytes())
    both.chmod(0o600)
    for protocol in ("http", "grpc"):
        address = strict.address(protocol, tls="true", ca=authority.cert, cert=both)
        Recognizer(matching_package, provider=address).close()


def test_a_key_with_a_passphrase_asks_nobody(
    strict: KServeServer, authority: Authority, matching_package: Path
) -> None:
    pair = authority.sign("locked", b"open sesame")
    address = strict.address(tls="true", ca=authority.cert, cert=pair.cert, key=pair.key)
    with pytest.raises(ProviderError, match="passphrase"):
        Recognizer(matching_package, provider=address)


@OF_EACH
def test_a_token_that_is_renewed(
    server: KServeServer, authority: Authority, tmp_path: Path, matching_package: Path, protocol: str
) -> None:
    """The next request has the new one; a file that is missing for a moment is no end of the line."""
    file = write_token(tmp_path / "token", "old")
    address = server.address(protocol, tls="true", ca=authority.cert, token_file=file)
    with short_of_time(0.3), pytest.raises(RemoteError, match="token_file"):
        Recognizer(matching_package, provider=address)
    write_token(file, TOKEN)
    with Recognizer(matching_package, provider=address) as recognizer:
        server.token = "renewed"
        try:
            write_token(file, "renewed")
            assert recognizer.recognize(solid("red")).label == "red"
            assert recognizer.take_retries() == 0
            file.unlink()
            with short_of_time(0.3), pytest.raises(RemoteError, match="token_file"):
                recognizer.recognize(solid("red"))
            write_token(file, "renewed")
            assert recognizer.recognize(solid("red")).label == "red"
        finally:
            server.token = TOKEN


@pytest.mark.parametrize(
    ("place", "is_warned"), [("plant", True), ("10.0.0.7", True), ("localhost", False), ("[::1]", False)]
)
def test_a_token_in_the_clear(place: str, is_warned: bool, token_file: Path, caplog: pytest.LogCaptureFixture) -> None:
    warn_of_exposure(parse_address(f"kserve://{place}/m?token_file={token_file}"))
    warn_of_exposure(parse_address(f"kserve://{place}/m?tls=true&token_file={token_file}"))
    warn_of_exposure(parse_address(f"kserve://{place}/m"))
    warned = [record.levelno for record in caplog.records if getattr(record, "event", "") == "token_exposed"]
    assert warned == [logging.WARNING] * is_warned
