import base64
import os
import re
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, x25519

from partsight.runtime.core.errors import DependencyError, KeyFileError, OutputError
from partsight.runtime.core.secret_files import read_passphrase
from partsight.runtime.core.storage import sha256_bytes
from partsight.runtime.signing.keys import PrivateKey, PublicKey, generate_key, need_crypto

POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows keeps rights elsewhere")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    generate_key(tmp_path / "key")
    return tmp_path / "key"


@pytest.fixture
def no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_what_one_signs_the_other_knows(key: Path, tmp_path: Path) -> None:
    private, public = PrivateKey.read(key), PublicKey.read(f"{key}.pub")
    assert private.public == public
    assert len(public.raw) == 32
    assert public.key_id == sha256_bytes(public.raw)[:16]
    signature = private.sign(b"message")
    assert public.has_signed(b"message", signature)
    assert not public.has_signed(b"messages", signature)
    assert not public.has_signed(b"message", signature[:-1])
    assert not public.has_signed(b"message", bytes(64))
    assert not generate_key(tmp_path / "other").has_signed(b"message", signature)


def test_a_key_does_not_show_itself(key: Path) -> None:
    assert "_key" not in repr(PrivateKey.read(key))


@POSIX
def test_rights(tmp_path: Path, no_umask: None) -> None:
    generate_key(tmp_path / "key")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "key.pub").stat().st_mode) == 0o644


@POSIX
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o601, 0o777])
def test_a_private_key_that_others_may_read_is_refused(key: Path, mode: int) -> None:
    key.chmod(mode)
    with pytest.raises(KeyFileError, match=f"mode {mode:o}.*chmod 600 {key}"):
        PrivateKey.read(key)


@pytest.mark.parametrize("name", ["key", "key.pub"])
@pytest.mark.parametrize("what", ["file", "dangling link"])
def test_no_key_is_overwritten(tmp_path: Path, name: str, what: str) -> None:
    if what == "file":
        (tmp_path / name).write_text("precious")
    else:
        (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match=f"{name}: "):
        generate_key(tmp_path / "key")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="key: "):
        generate_key(tmp_path / "nothing" / "key")


def test_a_disk_that_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match="No space left"):
        generate_key(tmp_path / "key")
    assert list(tmp_path.iterdir()) == []


@POSIX
@pytest.mark.parametrize("killed_at", ["rename", "unlink"])
def test_a_killed_process_leaves_a_pair_or_what_the_next_one_removes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: str
) -> None:
    """It may be killed where the public key has appeared and the private one has not, or right after both."""
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(Path, killed_at, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        generate_key(tmp_path / "key")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert (tmp_path / "key.pub").stat().st_nlink == 2
    if killed_at == "unlink":
        assert PrivateKey.read(tmp_path / "key").public == PublicKey.read(tmp_path / "key.pub")
        (tmp_path / "key").unlink()
    public = generate_key(tmp_path / "key")
    assert PublicKey.read(tmp_path / "key.pub") == PrivateKey.read(tmp_path / "key").public == public
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key", "key.pub"]


def test_another_public_key_stays_next_to_the_file_of_a_killed_process(key: Path) -> None:
    before = Path(f"{key}.pub").read_bytes()
    key.rename(key.with_name("safe"))
    key.with_name(".key.pub.99999999-1.partial").write_bytes(before)  # the same bytes, and not the same file
    with pytest.raises(OutputError, match=r"key\.pub: "):
        generate_key(key)
    assert Path(f"{key}.pub").read_bytes() == before


def test_a_disk_whose_files_have_one_name_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Path, _: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", fail)
    public = generate_key(tmp_path / "key")
    assert PrivateKey.read(tmp_path / "key").public == public
    with pytest.raises(OutputError, match=r"key\.pub: "):
        generate_key(tmp_path / "key")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key", "key.pub"]


def test_an_encrypted_key(tmp_path: Path) -> None:
    public = generate_key(tmp_path / "key", b"secret")
    assert b"ENCRYPTED" in (tmp_path / "key").read_bytes()
    assert PrivateKey.read(tmp_path / "key", b"secret").public == public
    with pytest.raises(KeyFileError, match=r"key: .*--passphrase-file .*PARTSIGHT_"):
        PrivateKey.read(tmp_path / "key")
    with pytest.raises(KeyFileError, match=r"key: .*passphrase"):
        PrivateKey.read(tmp_path / "key", b"Secret")


def test_a_passphrase_that_is_not_needed(key: Path) -> None:
    PrivateKey.read(key, b"left over in the environment")


def spki(key: object) -> bytes:
    pem, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_key().public_bytes(pem, form)  # type: ignore[attr-defined,no-any-return]


def pkcs8(key: object) -> bytes:
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(pem, form, serialization.NoEncryption())  # type: ignore[attr-defined,no-any-return]


OTHERS: list[Callable[[], object]] = [
    x25519.X25519PrivateKey.generate,
    ed448.Ed448PrivateKey.generate,
    lambda: ec.generate_private_key(ec.SECP256R1()),
]


@pytest.mark.parametrize("make", OTHERS)
def test_keys_of_another_kind(tmp_path: Path, make: Callable[[], object]) -> None:
    other = make()
    (tmp_path / "key").write_bytes(pkcs8(other))
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "key.pub").write_bytes(spki(other))
    with pytest.raises(KeyFileError, match=r"key: .*PrivateKey.*Ed25519"):
        PrivateKey.read(tmp_path / "key")
    with pytest.raises(KeyFileError, match=r"key\.pub: .*PublicKey.*Ed25519"):
        PublicKey.read(tmp_path / "key.pub")


def test_keys_of_another_program(tmp_path: Path) -> None:
    other = ed25519.Ed25519PrivateKey.generate()
    (tmp_path / "key").write_bytes(pkcs8(other))
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "key.pub").write_bytes(spki(other))
    assert PrivateKey.read(tmp_path / "key").public == PublicKey.read(tmp_path / "key.pub")


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"\xff" * 100, b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"]
)
def test_what_is_no_key(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "key").write_bytes(data)
    (tmp_path / "key").chmod(0o600)
    for kind in (PublicKey, PrivateKey):
        with pytest.raises(KeyFileError, match=r"key: .*PEM.*partsight keygen"):
            kind.read(tmp_path / "key")


@pytest.mark.parametrize("name", ["key", "key.pub"])
def test_a_key_of_a_kind_that_nobody_knows(key: Path, name: str) -> None:
    """A flipped bit in the number of its kind, as a damaged disk leaves it."""
    path = key.with_name(name)
    head, body, end = path.read_text().strip().splitlines()
    data = base64.b64decode(body).replace(b"\x06\x03\x2b\x65\x70", b"\x06\x03\x00\x65\x70")
    path.write_text(f"{head}\n{base64.b64encode(data).decode()}\n{end}\n")
    kind = PublicKey if name.endswith(".pub") else PrivateKey
    with pytest.raises(KeyFileError, match=f"{name}: .*PEM"):
        kind.read(path)


def test_the_wrong_one_of_the_two(key: Path) -> None:
    with pytest.raises(KeyFileError, match=r"key: .*key\.pub"):
        PublicKey.read(key)
    Path(f"{key}.pub").chmod(0o600)
    with pytest.raises(KeyFileError, match="PEM"):
        PrivateKey.read(f"{key}.pub")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(KeyFileError, match=re.escape(f"{path}: ")):
            PublicKey.read(path)
    (tmp_path / "large").write_bytes(b"x" * 20_000)
    with pytest.raises(KeyFileError, match=r"large: .*16384"):
        PublicKey.read(tmp_path / "large")


def test_passphrases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PARTSIGHT_KEY_PASSPHRASE", raising=False)
    assert read_passphrase(None) is None
    monkeypatch.setenv("PARTSIGHT_KEY_PASSPHRASE", "of the environment ö")
    assert read_passphrase(None) == "of the environment ö".encode()
    file = tmp_path / "passphrase"
    file.write_bytes(b"of the file\r\nmore\n")
    file.chmod(0o600)
    assert read_passphrase(file) == b"of the file"
    for data in (b"", b"\nsecond line", b"x" * 1024):
        file.write_bytes(data)
        with pytest.raises(KeyFileError, match=rf"passphrase: .*{len(data.splitlines()[0]) if data else 0} .*1 .*1023"):
            read_passphrase(file)


@POSIX
def test_a_passphrase_that_others_may_read(tmp_path: Path) -> None:
    (tmp_path / "passphrase").write_text("secret")
    (tmp_path / "passphrase").chmod(0o644)
    with pytest.raises(KeyFileError, match=r"mode 644.*chmod 600"):
        read_passphrase(tmp_path / "passphrase")


def test_without_the_library() -> None:
    with pytest.raises(DependencyError, match=r"cryptography.*pip install 'partsight\[sign\]'"):
        need_crypto("cryptography.no_such_module")
