"""Passwords and their hashes."""

import unicodedata

import pytest
from argon2 import PasswordHasher

from partsight.runtime.page.access.passwords import Passwords, is_password


@pytest.mark.parametrize(
    ("password", "is_one"),
    [
        ("ten letter", True),
        ("nine lett", False),
        ("x" * 200, True),
        ("x" * 201, False),
        ("ada.lovelace", False),
        ("ADA.Lovelace", False),
        ("", False),
        ("\u87ba\u4e1d" * 5, True),
    ],
)
def test_rule(password: str, is_one: bool) -> None:
    assert is_password(password, "Ada.Lovelace") is is_one


def test_a_hash_has_a_salt_and_shows_nothing() -> None:
    passwords = Passwords()
    first, second = passwords.hash("a long secret"), passwords.hash("a long secret")
    assert first != second
    assert first.startswith("$argon2id$")
    assert "secret" not in first
    assert passwords.matches("a long secret", first)
    assert passwords.matches("a long secret", second)
    assert not passwords.matches("A long secret", first)


@pytest.mark.parametrize("password", ["", "x" * 70_000, "\0", "\ud800", "passw\u00f6rter"])
def test_hostile_passwords(password: str) -> None:
    passwords = Passwords()
    assert not passwords.matches(password, passwords.hash("a long secret"))
    assert not passwords.matches(password, None)
    assert passwords.matches(password, passwords.hash(password))


def test_accents_of_another_system() -> None:
    passwords = Passwords()
    stored = passwords.hash(unicodedata.normalize("NFC", "Größe der Schraube"))
    assert passwords.matches(unicodedata.normalize("NFD", "Größe der Schraube"), stored)


def test_a_damaged_hash_matches_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert not Passwords().matches("a long secret", "damaged")
    assert [record.event for record in caplog.records] == ["page_account_damaged"]  # type: ignore[attr-defined]


def test_an_outdated_hash() -> None:
    passwords = Passwords()
    assert not passwords.is_outdated(passwords.hash("a long secret"))
    assert passwords.is_outdated(PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash("a long secret"))


def test_a_name_without_an_account_takes_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    verify = PasswordHasher.verify

    def counted(self: PasswordHasher, stored: str, password: bytes) -> bool:
        done.append(stored)
        return verify(self, stored, password)

    monkeypatch.setattr(PasswordHasher, "verify", counted)
    passwords = Passwords()
    passwords.matches("no account has this one", None)
    passwords.matches("x", passwords.hash("a long secret"))
    assert len({stored.rpartition("$")[0].rpartition("$")[0] for stored in done}) == 1  # the same cost
    assert len(done) == 2
    assert not passwords.matches("no account has this one", None)
