"""Users, passwords and encryption, against asyncua's own client."""

import asyncio
import datetime
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from partsight.runtime.core.errors import SinkError
from partsight.runtime.sinks import Sink, check_address, open_sink
from partsight.runtime.sinks.opcua_identity import Identity, Readers
from tests.runtime.sinks.broker import free_port
from tests.runtime.sinks.kinds import event

pytest.importorskip("asyncua")
import asyncua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.waiting import HANG_S

PASSWORD = "Früh am Morgen"
URI = "urn:factory:line3"
RIGHTS = pytest.mark.skipif(os.name == "nt", reason="rights are elsewhere on Windows")


class Files:
    """A certificate and its key, both of the server and of its clients, and a password."""

    def __init__(self, folder: Path) -> None:
        self.cert, self.key, self.password = folder / "cert.pem", folder / "key.pem", folder / "password"
        key = rsa.generate_private_key(65537, 2048)
        write_cert(self.cert, key, x509.UniformResourceIdentifier(URI))
        write_key(self.key, key)
        self.password.touch(0o600)
        self.password.write_text(f"{PASSWORD}\n", encoding="utf-8")

    @property
    def options(self) -> str:
        return f"cert={self.cert}&key={self.key}&username=operator&password_file={self.password}"


def write_key(path: Path, key: Any) -> None:
    path.touch(0o600)
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(key.private_bytes(*form))


def write_cert(path: Path, key: Any, name: x509.GeneralName) -> None:
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "line 3")])
    now = datetime.datetime.now(datetime.UTC)
    made = x509.CertificateBuilder(subject, subject, key.public_key(), 1, now, now + datetime.timedelta(days=1))
    made = made.add_extension(x509.SubjectAlternativeName([name]), critical=False)
    path.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return Files(tmp_path_factory.mktemp("identity"))


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def logged() -> list[logging.LogRecord]:
    return []


@pytest.fixture(scope="module")
def sink(port: int, files: Files, logged: list[logging.LogRecord]) -> Iterator[Sink]:
    """One for all, open to the network: it takes seconds to start."""
    handler = logging.Handler()
    handler.emit = logged.append  # type: ignore[method-assign]
    logging.getLogger("partsight.sinks").addHandler(handler)
    with open_sink(f"opcua://0.0.0.0:{port}?{files.options}") as opened:
        opened.write(event(7))
        yield opened
    logging.getLogger("partsight.sinks").removeHandler(handler)


async def client(port: int, files: Files, mode: Any = None, user: str = "operator", password: str = PASSWORD) -> Any:
    made = asyncua.Client(f"opc.tcp://127.0.0.1:{port}/partsight", timeout=HANG_S)
    made.application_uri = URI
    mode = mode or asyncua.ua.MessageSecurityMode.SignAndEncrypt
    await made.set_security(
        SecurityPolicyBasic256Sha256, str(files.cert), str(files.key), server_certificate=str(files.cert), mode=mode
    )
    if user:
        made.set_user(user)
        made.set_password(password)
    return made


def test_user_reads_and_changes_nothing(sink: Sink, port: int, files: Files) -> None:
    async def run() -> None:
        async with await client(port, files) as reader:
            label = reader.get_node("ns=2;s=partsight.label")
            assert await label.read_value() == "M8x40"
            with pytest.raises(asyncua.ua.UaError):
                await label.write_value("mine")
            assert await label.read_value() == "M8x40"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("user", "password", "error"),
    [
        ("operator", "guess", "BadUserAccessDenied"),
        ("admin", PASSWORD, "BadUserAccessDenied"),
        ("", "", "BadIdentityTokenRejected"),
    ],
)
def test_others_do_not_read(sink: Sink, port: int, files: Files, user: str, password: str, error: str) -> None:
    async def run() -> None:
        other = await client(port, files, user=user, password=password)
        await other.connect_socket()
        await other.send_hello()
        await other.open_secure_channel()
        await other.create_session()
        with pytest.raises(getattr(asyncua.ua.uaerrors, error)):
            await other.activate_session(user or None, password or None)
        with pytest.raises(asyncua.ua.UaError):
            await other.get_node("ns=2;s=partsight.label").read_value()
        other.disconnect_socket()
        await other.close_session()

    asyncio.run(run())


def test_without_encryption_there_is_discovery_alone(sink: Sink, port: int, files: Files) -> None:
    async def run() -> None:
        plain = asyncua.Client(f"opc.tcp://127.0.0.1:{port}/partsight")
        (endpoint,) = await plain.connect_and_get_server_endpoints()
        assert endpoint.SecurityMode == asyncua.ua.MessageSecurityMode.SignAndEncrypt
        assert endpoint.Server.ApplicationUri == URI
        plain.set_user("operator")
        plain.set_password(PASSWORD)
        with pytest.raises(asyncua.ua.uaerrors.BadSecurityModeRejected):
            await plain.connect()
        signed = await client(port, files, asyncua.ua.MessageSecurityMode.Sign)
        with pytest.raises((ConnectionError, asyncio.CancelledError)):
            await signed.connect()

    asyncio.run(run())


def test_the_log_holds_no_password(sink: Sink, port: int, logged: list[logging.LogRecord]) -> None:
    (exposed,) = [record.getMessage() for record in logged if getattr(record, "event", "") == "server_exposed"]
    assert {"operator", f"opcua://0.0.0.0:{port}"} <= set(exposed.split())
    (ends,) = [record for record in logged if getattr(record, "event", "") == "certificate_ends"]  # in a day
    assert ends.sink == f"opcua://0.0.0.0:{port}"  # type: ignore[attr-defined]
    assert PASSWORD not in "".join(str(vars(record)) for record in logged)


def test_no_password_without_encryption(files: Files) -> None:
    with pytest.raises(SinkError, match="cert and key"):
        open_sink(f"opcua://0.0.0.0:1?username=operator&password_file={files.password}")


@pytest.mark.parametrize(
    ("options", "datum"),
    [
        ("cert=CERT&key=CERT", "cert or key"),
        ("cert=KEY&key=KEY", "cert or key"),
        ("cert=CERT&key=FOLDER/none", "none"),
        ("cert=CERT&key=FOLDER/other", "cert and key"),
        ("cert=FOLDER/nameless&key=FOLDER/other", "subjectAltName"),
        ("cert=CERT&key=FOLDER/curve", "RSA .* 2048 to 4096"),
        pytest.param("cert=CERT&key=FOLDER/open", "open", marks=RIGHTS),
        pytest.param("username=operator&password_file=FOLDER/open", "open", marks=RIGHTS),
        ("username=operator&password_file=FOLDER/empty", "empty.*operator"),
        ("username=operator&password_env=PARTSIGHT_NONE", "PARTSIGHT_NONE"),
        ("password_file=PASSWORD", "username"),
    ],
)
def test_identity_that_is_none(files: Files, tmp_path: Path, options: str, datum: str) -> None:
    other = rsa.generate_private_key(65537, 2048)
    write_key(tmp_path / "other", other)
    write_cert(tmp_path / "nameless", other, x509.DNSName("line3"))
    write_key(tmp_path / "curve", ec.generate_private_key(ec.SECP256R1()))
    (tmp_path / "open").write_text("x")
    (tmp_path / "open").chmod(0o644)
    (tmp_path / "empty").touch(0o600)
    places = {"CERT": files.cert, "KEY": files.key, "PASSWORD": files.password, "FOLDER": tmp_path}
    for name, place in places.items():
        options = options.replace(name, str(place))
    with pytest.raises(SinkError, match=datum):
        open_sink(f"opcua:?{options}")


@pytest.mark.parametrize(
    ("options", "datum"), [("cert=c.pem", "cert and key"), ("allow=line3", "allow: .*line3"), ("idle_s=0", "idle_s")]
)
def test_options_are_checked_without_opening(options: str, datum: str) -> None:
    with pytest.raises(SinkError, match=datum):
        check_address(f"opcua:?{options}")


def test_users() -> None:
    readers = Readers(Identity(username="operator", password=PASSWORD))
    found = readers.get_user(None, username="operator", password=PASSWORD, certificate=None)
    assert found is not None
    assert found.role is asyncua.crypto.permission_rules.UserRole.User
    for username, password in (("operator", ""), ("", PASSWORD), ("operator", None), (None, None), ("o", "\udcff")):
        assert readers.get_user(None, username=username, password=password) is None
    assert Readers(Identity()).get_user(None, username=None, password=None, certificate=b"x") is not None
