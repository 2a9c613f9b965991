"""Addresses of models on servers, and the files that they name."""

from pathlib import Path

import pytest

from partsight.runtime import ProviderError, Recognizer
from partsight.runtime.inference import ModelSettings, find_provider
from partsight.runtime.recognition import check_provider
from partsight.runtime.recognition.remote import parse_address

WHOLE = "kserve://[::1]:900/M%208/7?protocol=grpc&tls=true&ca=a&cert=b&key=c&token_file=d&timeout_s=3&attempt_s=2.5"


def test_all_parts() -> None:
    address = parse_address(WHOLE)
    options = address.options
    assert (address.host, address.port, address.model, address.version) == ("::1", 900, "M 8", "7")
    assert (options.protocol, options.tls, options.ca, options.cert, options.key) == ("grpc", True, "a", "b", "c")
    assert (options.token_file, options.timeout_s, address.attempt_s) == ("d", 3.0, 2.5)
    assert (address.text, str(address)) == (WHOLE, "kserve://[::1]:900/M%208/7")


def test_defaults() -> None:
    by_http, by_grpc = parse_address("kserve://plant/line3"), parse_address("kserve://plant/line3?protocol=grpc")
    assert (by_http.port, by_grpc.port) == (8000, 8001)
    assert (by_http.version, by_http.options.tls, by_http.attempt_s) == ("", False, by_http.options.timeout_s / 2)


def test_an_attempt_is_never_longer_than_all() -> None:
    assert parse_address("kserve://h/m?timeout_s=1&attempt_s=9").attempt_s == 1


WRONG = {
    "no model": ("kserve://host:8000", "HOST:PORT/MODEL"),
    "no host": ("kserve:///m", "HOST:PORT/MODEL"),
    "no slashes": ("kserve:host/m", "HOST:PORT/MODEL"),
    "two versions": ("kserve://host/m/1/2", "HOST:PORT/MODEL"),
    "port 0": ("kserve://host:0/m", "port 0"),
    "port of a text": ("kserve://host:many/m", "many"),
    "a port too large": ("kserve://host:65536/m", "65535"),
    "a password": ("kserve://me:secret@host/m", "token_file"),
    "an unknown option": ("kserve://host/m?retries=3", "retries"),
    "an option twice": ("kserve://host/m?tls=true&tls=false", "twice"),
    "a malformed option": ("kserve://host/m?tls", "malformed"),
    "no truth value": ("kserve://host/m?tls=perhaps", "option tls is 'perhaps'"),
    "no protocol": ("kserve://host/m?protocol=ftp", "option protocol is 'ftp'"),
    "no time": ("kserve://host/m?timeout_s=0", "option timeout_s is '0'"),
    "a time that is none": ("kserve://host/m?timeout_s=nan", "timeout_s"),
    "too long a time": ("kserve://host/m?attempt_s=inf", "attempt_s"),
    "a certificate without TLS": ("kserve://host/m?ca=ca.pem", "tls=true"),
    "a key without a certificate": ("kserve://host/m?tls=true&key=k.pem", "key needs cert"),
    "a long text": ("kserve://host/" + 5000 * "m", "characters"),
}


@pytest.mark.parametrize(("text", "datum"), WRONG.values(), ids=WRONG)
def test_wrong_addresses(text: str, datum: str, matching_package: Path) -> None:
    with pytest.raises(ProviderError, match=datum) as raised:
        Recognizer(matching_package, provider=text)
    assert "secret" not in str(raised.value)


def test_a_call_for_this_machine_refuses_a_server() -> None:
    with pytest.raises(ProviderError, match="is a server"):
        find_provider("kserve://host/m")
    with pytest.raises(ProviderError, match="kserve://HOST"):
        find_provider("kserver")


def private(path: Path, text: str, mode: int = 0o600) -> Path:
    """Write a file with rights."""
    path.write_text(text, "utf-8")
    path.chmod(mode)
    return path


@pytest.mark.parametrize(
    ("text", "mode", "datum"),
    [
        ("token\n", 0o644, "other users"),
        ("\n", 0o600, "first line"),
        ("two words", 0o600, "first line"),
        ("tökén", 0o600, "first line"),
    ],
)
def test_files_of_tokens_that_are_refused(tmp_path: Path, text: str, mode: int, datum: str) -> None:
    file = private(tmp_path / "token", text, mode)
    with pytest.raises(ProviderError, match=datum) as raised:
        check_provider(f"kserve://host/m?token_file={file}", ModelSettings(), 5)
    assert "token_file" in str(raised.value) or str(file) in str(raised.value)


@pytest.mark.parametrize("option", ["token_file", "ca", "cert"])
def test_a_file_that_is_not_there(tmp_path: Path, option: str) -> None:
    with pytest.raises(ProviderError):
        check_provider(f"kserve://host/m?tls=true&{option}={tmp_path / 'nothing'}", ModelSettings(), 5)


def test_a_key_that_others_can_read(tmp_path: Path) -> None:
    file = private(tmp_path / "both.pem", "-----BEGIN", 0o644)
    with pytest.raises(ProviderError, match=r"private key.*other users"):
        check_provider(f"kserve://host/m?tls=true&cert={file}", ModelSettings(), 5)


def test_a_sound_address_needs_no_server_to_be_checked(tmp_path: Path) -> None:
    token = private(tmp_path / "token", "abc\n")
    check_provider(f"kserve://no.such.host/m?token_file={token}", ModelSettings(), 5)
    check_provider("cpu", ModelSettings(), 9)
    check_provider("auto", ModelSettings(), 9)
    with pytest.raises(ProviderError, match="bf16"):
        check_provider("cpu", ModelSettings("bf16"), 5)
