"""`partsight keygen`, `sign` and `verify`; signatures in the other verbs."""

import os
import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from partsight.runtime import ModelPackage
from partsight.runtime.core import SIGNATURE_NAME
from partsight.runtime.package import sign_package
from partsight.runtime.signing import PrivateKey, PublicKey
from tests.cli.command import HEAVY, loaded_by, without
from tests.cli.conftest import Ended
from tests.runtime.enrolment.enrolling import picture, write_package
from tests.runtime.package.signed import set_machine

Call = Callable[..., Ended]


@pytest.fixture
def package(tiny_package: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_package, tmp_path / "line3.partsight"))


@pytest.fixture
def key(call: Call, tmp_path: Path) -> Path:
    assert call("keygen", "--out", tmp_path / "factory").code == 0
    return tmp_path / "factory"


def test_from_a_key_to_a_verified_package(call: Call, package: Path, tmp_path: Path) -> None:
    key = tmp_path / "factory"
    made = call("keygen", "--out", key)
    assert (made.code, made.err) == (0, "")
    key_id = PublicKey.read(f"{key}.pub").key_id
    assert re.search(rf"^key id: +{key_id}$", made.out, re.MULTILINE)
    assert "(not encrypted)" in made.out
    assert f"{key}.pub" in made.out
    signed = call("sign", package, "--key", key)
    assert (signed.code, signed.err) == (0, "")
    assert f"signed by: key {key_id}" in signed.out
    verified = call("verify", package, "--key", f"{key}.pub")
    assert (verified.code, verified.err) == (0, "")
    package_id = ModelPackage.read(package).package_id
    assert f"id:        {package_id}\nsigned by: key {key_id}; 8 files" in verified.out


def test_exit_codes_of_verify(call: Call, package: Path, key: Path, tmp_path: Path) -> None:
    unsigned = call("verify", package, "--key", f"{key}.pub")
    assert (unsigned.code, unsigned.out) == (1, "")
    assert str(package) in unsigned.err
    call("keygen", "--out", tmp_path / "other")
    call("sign", package, "--key", tmp_path / "other")
    stranger = call("verify", package, "--key", f"{key}.pub")
    assert (stranger.code, stranger.out) == (1, "")
    assert PublicKey.read(tmp_path / "other.pub").key_id in stranger.err
    assert call("verify", package, "--key", f"{key}.pub", "--key", tmp_path / "other.pub").code == 0
    (package / "report.html").write_text("altered")
    altered = call("verify", package, "--key", tmp_path / "other.pub")
    assert (altered.code, altered.out) == (1, "")
    assert "report.html" in altered.err
    assert len(altered.err.splitlines()) == 1


def test_verify_by_the_keys_of_the_machine(
    call: Call, package: Path, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = call("verify", package)
    assert (ended.code, ended.out) == (2, "")
    assert "--key KEY.pub" in ended.err
    set_machine(monkeypatch, tmp_path / "machine", Path(f"{key}.pub"))
    assert call("verify", package).code == 1
    call("sign", package, "--key", key)
    assert call("verify", package).code == 0


def test_an_encrypted_key(call: Call, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("not for everybody\n")
    passphrase.chmod(0o600)
    made = call("keygen", "--out", tmp_path / "key", "--passphrase-file", passphrase)
    assert (made.code, "(encrypted)" in made.out) == (0, True)
    ended = call("sign", package, "--key", tmp_path / "key")
    assert (ended.code, ended.out) == (1, "")
    assert str(tmp_path / "key") in ended.err
    assert call("sign", package, "--key", tmp_path / "key", "--passphrase-file", passphrase).code == 0
    monkeypatch.setenv("PARTSIGHT_KEY_PASSPHRASE", "not for everybody")
    assert call("sign", package, "--key", tmp_path / "key").code == 0
    assert call("keygen", "--out", tmp_path / "second").code == 0
    monkeypatch.delenv("PARTSIGHT_KEY_PASSPHRASE")
    assert str(tmp_path / "second") in call("sign", package, "--key", tmp_path / "second").err


def test_no_key_is_overwritten(call: Call, key: Path) -> None:
    before = key.read_bytes()
    ended = call("keygen", "--out", key)
    assert (ended.code, ended.out) == (1, "")
    assert "factory.pub: " in ended.err
    assert key.read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes")
def test_rights_of_the_key(call: Call, package: Path, key: Path) -> None:
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    key.chmod(0o644)
    ended = call("sign", package, "--key", key)
    assert (ended.code, f"chmod 600 {key}" in ended.err) == (1, True)
    assert not (package / SIGNATURE_NAME).exists()


def test_without_the_library(package: Path, tmp_path: Path) -> None:
    for arguments in (("keygen", "--out", tmp_path / "key"), ("verify", package, "--key", tmp_path / "key.pub")):
        (tmp_path / "key.pub").write_text("a key")
        done = without("cryptography", *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert "pip install 'partsight[sign]'" in done.stderr
        assert "Traceback" not in done.stderr


def test_nothing_heavy_is_loaded(package: Path, key: Path) -> None:
    loaded = loaded_by("sign", package, "--key", key)
    assert "partsight.runtime.package.sign" in loaded
    assert loaded.isdisjoint({*HEAVY, "onnxruntime"})


def test_inspect_shows_who_signed(
    call: Call, package: Path, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shown() -> str:
        ended = call("inspect", package)
        assert (ended.code, ended.err) == (0, "")
        found = re.search(r"^signature +(.+)$", ended.out, re.MULTILINE)
        assert found
        return found[1]

    key_id = PublicKey.read(f"{key}.pub").key_id
    assert shown() == "none"
    sign_package(package, PrivateKey.read(key))
    assert shown().startswith(f"by key {key_id}; ")
    assert "`partsight verify`" in shown()
    set_machine(monkeypatch, tmp_path / "machine", Path(f"{key}.pub"))
    assert shown() == f"by key {key_id}; this machine trusts {key_id}"
    (package / SIGNATURE_NAME).unlink()
    assert shown().startswith("none; REFUSED")
    assert str(package) in shown()


def test_inspect_of_a_damaged_signature(call: Call, package: Path) -> None:
    (package / SIGNATURE_NAME).write_text("{}")
    ended = call("inspect", package)
    assert ended.code == 1
    assert "signature.json" in ended.err


def test_run_on_a_machine_with_trusted_keys(
    call: Call, package: Path, key: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_machine(monkeypatch, tmp_path / "machine", Path(f"{key}.pub"))
    ended = call("run", package, photos / "1_red.png")
    assert (ended.code, ended.out) == (1, "")
    assert f"{package}: " in ended.err
    sign_package(package, PrivateKey.read(key))
    ended = call("run", package, photos / "1_red.png")
    assert (ended.code, '"red"' in ended.out) == (0, True)


@pytest.mark.parametrize("source", ["option", "file"])
def test_run_with_trusted_keys(call: Call, package: Path, key: Path, photos: Path, tmp_path: Path, source: str) -> None:
    file = tmp_path / "line.toml"
    file.write_text(f"trusted_keys = ['{key}.pub']\n")
    trusted = ("--trusted-key", f"{key}.pub") if source == "option" else ("--config", file)
    for checking in ((), ("--check",)):
        ended = call("run", package, photos / "1_red.png", *trusted, *checking)
        assert (ended.code, ended.out, str(package) in ended.err) == (1, "", True)
    sign_package(package, PrivateKey.read(key))
    key_id = PublicKey.read(f"{key}.pub").key_id
    ended = call("run", package, photos / "1_red.png", *trusted)
    assert (ended.code, f'"signed_by":"{key_id}"' in ended.out) == (0, True)
    assert f"signed by key {key_id}" in call("run", package, photos / "1_red.png", *trusted, "--check").out


def test_enroll_warns_that_the_new_package_is_not_signed(call: Call, key: Path, tmp_path: Path) -> None:
    package, image = write_package(tmp_path / "old.partsight"), picture(tmp_path / "orange.png", (0, 128, 255))
    unsigned = call("enroll", package, "--label", "orange", image, "--out", tmp_path / "1.partsight")
    assert (unsigned.code, "signature:" in unsigned.out) == (0, False)
    sign_package(package, PrivateKey.read(key))
    signed = call("enroll", package, "--label", "orange", image, "--out", tmp_path / "2.partsight")
    assert (signed.code, "partsight sign" in signed.out) == (0, True)
    assert not (tmp_path / "2.partsight" / SIGNATURE_NAME).exists()


@pytest.mark.skipif(os.name == "nt", reason="rights of files")
def test_signing_with_the_public_key(call: Call, tiny_package: Path, tmp_path: Path) -> None:
    key = tmp_path / "factory"
    assert call("keygen", "--out", key).code == 0
    ended = call("sign", tiny_package, "--key", f"{key}.pub")
    assert ended.code == 1
    assert f"{key}.pub" in ended.err
    assert f"{key}\n" in ended.err
