"""Tokens: only their digests are kept, and only a whole token opens."""

import pickle
from pathlib import Path

import pytest

from partsight.runtime import KeyFileError, RemoteError
from partsight.runtime.cluster.serve.access import is_allowed, read_token_digests
from partsight.runtime.cluster.serve.settings import ServedPackage

TOKENS = ("first-token-0123456789", "second~token+/=._0123")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.touch(mode=0o600)
    path.write_text("\n".join([*TOKENS, "", ""]))
    return path


@pytest.mark.parametrize("token", TOKENS)
def test_each_token_of_the_file_opens(file: Path, token: str) -> None:
    digests = read_token_digests(file)
    assert is_allowed(f"Bearer {token}", digests)
    assert is_allowed(f"bearer  {token} ", digests)


@pytest.mark.parametrize(
    "text", [None, "", "Bearer", "Bearer ", f"Basic {TOKENS[0]}", TOKENS[0], f"Bearer {TOKENS[0]}x", "Bearer \udcff"]
)
def test_nothing_else_does(file: Path, text: str | None) -> None:
    assert not is_allowed(text, read_token_digests(file))
    assert is_allowed(text, ())


def test_settings_hold_no_token(file: Path) -> None:
    settings = ServedPackage(name="line3", path="x", token_digests=read_token_digests(file))
    held = pickle.dumps(settings) + repr(settings).encode()
    assert not any(token.encode() in held for token in TOKENS)


@pytest.mark.parametrize("text", ["", "short", "with blank 0123456789", "tökentökentöken-0123456789", "\xff" * 20])
def test_a_weak_file_is_refused(file: Path, text: str) -> None:
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(KeyFileError):
        read_token_digests(file)


def test_a_file_that_others_can_read_is_refused(file: Path) -> None:
    file.chmod(0o644)
    with pytest.raises(KeyFileError):
        read_token_digests(file)
    with pytest.raises(KeyFileError):
        read_token_digests(file.with_name("missing"))


@pytest.mark.parametrize("name", ["", "a/b", "a b", ".a", "a" * 65, "ä", "a#b"])
def test_a_name_is_a_part_of_a_url(name: str) -> None:
    with pytest.raises(RemoteError):
        ServedPackage(name=name, path="x")
