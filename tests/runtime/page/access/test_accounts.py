"""Accounts: names, roles, passwords, and an admin who stays."""

from collections.abc import Callable

import pytest
from argon2 import PasswordHasher

from partsight.runtime.core import PageError
from partsight.runtime.page.access import accounts as module
from partsight.runtime.page.access.accounts import Account, Accounts, Role, parse_role
from partsight.runtime.page.access.audit import AuditLog
from partsight.runtime.page.access.database import Database

SECRET, OTHER = "a long secret", "another secret"


def audited(database: Database) -> list[tuple[str, str, str, str, str]]:
    found = [
        (entry.who, entry.action, entry.object, entry.before, entry.after) for entry in AuditLog(database).entries()
    ]
    return found[::-1]


def test_an_account(accounts: Accounts) -> None:
    added = accounts.add("Ada", Role.ADMIN, SECRET)
    assert (added.name, added.role, added.is_active) == ("Ada", Role.ADMIN, True)
    assert accounts.all() == [added]
    assert accounts.find("aDA") == added
    assert accounts.find("olga") is None
    assert accounts.check("ada", SECRET) == added
    assert accounts.check("ada", OTHER) is None
    assert accounts.check("olga", SECRET) is None


def test_names_without_regard_to_case(accounts: Accounts) -> None:
    accounts.add("Änne Straße", Role.OPERATOR, SECRET)
    for name in ("änne straße", "ÄNNE STRASSE", "A\u0308nne Straße"):
        assert accounts.find(name) is not None
        with pytest.raises(PageError):
            accounts.add(name, Role.ADMIN, SECRET)


@pytest.mark.parametrize(
    "name", ["x", "a" * 64, "<script>alert(1)</script>", "\u0645\u0631\u062d\u0628\u0627", "o'; --"]
)
def test_possible_names(accounts: Accounts, name: str) -> None:
    assert accounts.find(accounts.add(name, Role.OPERATOR, SECRET).name) is not None


@pytest.mark.parametrize(
    "name", ["", "a" * 65, " ada", "ada ", "a\nb", "a\0", "\u202eada", "a\u200bda", "\ud800", "a\tb"]
)
def test_impossible_names(accounts: Accounts, name: str) -> None:
    with pytest.raises(PageError):
        accounts.add(name, Role.OPERATOR, SECRET)
    assert accounts.find(name) is None
    assert accounts.check(name, SECRET) is None


@pytest.mark.parametrize("password", ["short", "x" * 201, "ada.lovelace"])
def test_impossible_passwords(accounts: Accounts, password: str) -> None:
    with pytest.raises(PageError):
        accounts.add("Ada.Lovelace", Role.OPERATOR, password)
    accounts.add("Ada.Lovelace", Role.OPERATOR, SECRET)
    with pytest.raises(PageError):
        accounts.change_password("ada.lovelace", password)
    assert accounts.check("ada.lovelace", SECRET)


def test_changes(accounts: Accounts) -> None:
    accounts.add("ada", Role.ADMIN, SECRET)
    accounts.add("olga", Role.OPERATOR, SECRET)
    assert accounts.change_role("OLGA", Role.ENGINEER).role is Role.ENGINEER
    assert accounts.change_password("olga", OTHER) == accounts.check("olga", OTHER)
    assert accounts.check("olga", SECRET) is None
    assert not accounts.set_active("olga", False).is_active
    assert accounts.check("olga", OTHER) is None
    assert accounts.set_active("olga", True) == accounts.check("olga", OTHER) == accounts.find("olga")
    assert accounts.revisions() == {"ada": 1, "olga": 5}


def test_a_change_to_the_same_changes_nothing(accounts: Accounts, database: Database) -> None:
    added = accounts.add("ada", Role.ADMIN, SECRET)
    assert accounts.change_role("ada", Role.ADMIN) == accounts.set_active("ada", True) == added
    assert len(audited(database)) == 1


def test_changes_are_audited(accounts: Accounts, database: Database) -> None:
    accounts.add("Ada", Role.ADMIN, SECRET, by="first")
    accounts.add("olga", Role.OPERATOR, SECRET)
    accounts.change_role("OLGA", Role.ENGINEER, by="Ada")
    accounts.change_password("olga", OTHER, by="Ada")
    accounts.set_active("olga", False, by="Ada")
    accounts.set_active("olga", True, by="Ada")
    assert audited(database) == [
        ("first", "account_added", "Ada", "", "admin"),
        ("", "account_added", "olga", "", "operator"),
        ("Ada", "account_role", "olga", "operator", "engineer"),
        ("Ada", "account_password", "olga", "", ""),
        ("Ada", "account_deactivated", "olga", "active", "inactive"),
        ("Ada", "account_activated", "olga", "inactive", "active"),
    ]


def test_a_change_that_cannot_be_audited_is_not_made(accounts: Accounts, database: Database) -> None:
    accounts.add("ada", Role.ADMIN, SECRET)
    with database.transaction() as connection:
        connection.execute("CREATE TRIGGER full BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'full'); END")
    with pytest.raises(PageError):
        accounts.change_password("ada", OTHER)
    with pytest.raises(PageError):
        accounts.add("olga", Role.OPERATOR, SECRET)
    assert accounts.check("ada", SECRET)
    assert accounts.revisions() == {"ada": 1}


LAST_ADMIN: dict[str, Callable[[Accounts, str], Account]] = {
    "demoted": lambda accounts, name: accounts.change_role(name, Role.ENGINEER),
    "deactivated": lambda accounts, name: accounts.set_active(name, False),
}


@pytest.mark.parametrize("change", LAST_ADMIN.values(), ids=LAST_ADMIN)
def test_the_last_active_admin_stays(accounts: Accounts, change: Callable[[Accounts, str], Account]) -> None:
    accounts.add("ada", Role.ADMIN, SECRET)
    accounts.add("emil", Role.ENGINEER, SECRET)
    accounts.add("zoe", Role.ADMIN, SECRET)
    change(accounts, "zoe")
    with pytest.raises(PageError):
        change(accounts, "ada")
    found = accounts.find("ada")
    assert found
    assert (found.role, found.is_active) == (Role.ADMIN, True)
    accounts.change_role("emil", Role.ADMIN)
    change(accounts, "ada")


def test_a_change_of_no_account(accounts: Accounts) -> None:
    with pytest.raises(PageError):
        accounts.change_password("nobody", SECRET)
    for change in LAST_ADMIN.values():
        with pytest.raises(PageError):
            change(accounts, "nobody")


def test_there_is_room_for_so_many(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ACCOUNTS", 2)
    accounts.add("ada", Role.ADMIN, SECRET)
    accounts.add("emil", Role.ENGINEER, SECRET)
    with pytest.raises(PageError):
        accounts.add("olga", Role.OPERATOR, SECRET)


def test_an_outdated_hash_is_made_anew_at_the_logon(accounts: Accounts, database: Database) -> None:
    accounts.add("ada", Role.ADMIN, SECRET)
    old = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1).hash(SECRET)
    with database.transaction() as connection:
        connection.execute("UPDATE account SET password = ?", (old,))
    assert accounts.check("ada", OTHER) is None
    assert database.rows("SELECT password FROM account") == [(old,)]
    assert accounts.check("ada", SECRET)
    assert database.rows("SELECT password FROM account") != [(old,)]
    assert accounts.check("ada", SECRET)
    assert accounts.revisions() == {"ada": 1}


def test_roles() -> None:
    assert [parse_role(role.word) for role in Role] == list(Role)
    for word in ("", "Admin", "root"):
        with pytest.raises(PageError):
            parse_role(word)
