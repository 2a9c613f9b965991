"""Accounts: people who may use the page, each with a role and a password, which is stored as an Argon2 hash."""

import sqlite3
import time
import unicodedata
from dataclasses import dataclass, replace
from enum import IntEnum

from partsight.runtime.core import USABLE, PageError, folded, is_usable, normalized
from partsight.runtime.page.access.audit import write_entry
from partsight.runtime.page.access.database import Database
from partsight.runtime.page.access.passwords import PASSWORD_RULE, Passwords, is_password

MAX_NAME, MAX_ACCOUNTS = 64, 500
"""Characters of a name; accounts in a database."""

_COLUMNS = "name, role, created, is_active, revision"


class Role(IntEnum):
    """What a person may do; each role may also do what the ones before it may."""

    OPERATOR = 1
    """Looks, and says what frames show."""

    ENGINEER = 2
    """Commissions, enrols, swaps packages."""

    ADMIN = 3
    """Manages accounts and reads the audit log."""

    @property
    def word(self) -> str:
        """The role's name in options and messages."""
        return self.name.lower()


def parse_role(word: str) -> Role:
    """Return the role of a word.

    Raises:
        PageError: there is no such role.
    """
    roles = {role.word: role for role in Role}
    if word not in roles:
        raise PageError(f"role {word[:MAX_NAME]!r} is unknown; expected {', '.join(roles)}")
    return roles[word]


@dataclass(frozen=True)
class Account:
    """An account.

    Attributes:
        name: Its name, as it was added. Names are compared without regard to case.
        role: What the person may do.
        created: Time when it was added, in seconds since 1970 (UTC).
        is_active: Whether the person may log in. No account is ever removed: the audit log names it.
        revision: Number that each change of role, password or state raises; a session of an earlier one ends.
    """

    name: str
    role: Role
    created: float
    is_active: bool
    revision: int


class Accounts:
    """The accounts, in the table `account` of the database. Each change is audited, both or none is kept.

    `by` of a change is the name of the account that makes it, for the audit log; empty for a program.
    """

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self._database, self._passwords = database, Passwords()

    def all(self) -> list[Account]:
        """Return all accounts by name; raises PageError if the database cannot be read."""
        return [_account(row) for row in self._database.rows(f"SELECT {_COLUMNS} FROM account ORDER BY key")]

    def find(self, name: str) -> Account | None:
        """Return the account of a name; raises PageError if the database cannot be read."""
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM account WHERE key = ?", _key(name))
        return _account(rows[0]) if rows else None

    def check(self, name: str, password: str) -> Account | None:
        """Return the account of a person who may log in; None if name or password is wrong, or it is not active.

        It takes as long for a name without an account.

        Raises:
            PageError: the database cannot be read.
        """
        rows = self._database.rows(f"SELECT {_COLUMNS}, password FROM account WHERE key = ?", _key(name))
        stored = str(rows[0][-1]) if rows else None
        if not self._passwords.matches(password, stored) or stored is None:
            return None
        account = _account(rows[0][:-1])
        if account.is_active and self._passwords.is_outdated(stored):
            self._rehash(account, password, stored)
        return account if account.is_active else None

    def add(self, name: str, role: Role, password: str, by: str = "") -> Account:
        """Add an account.

        Raises:
            PageError: name or password is not possible, there is such an account, or the database cannot be written.
        """
        name = normalized(name)
        if not (is_usable(name) and len(name) <= MAX_NAME):
            raise PageError(f"name {name[:MAX_NAME]!r} is not possible; expected 1 to {MAX_NAME} characters: {USABLE}")
        stored = self._hashed(name, password)
        account = Account(name, role, time.time(), is_active=True, revision=1)
        with self._database.transaction() as connection:
            if _find(connection, name) is not None:
                raise PageError(f"there is an account {name!r} already; take another name, or activate that account")
            (count,) = connection.execute("SELECT COUNT(*) FROM account").fetchone()
            if count >= MAX_ACCOUNTS:
                raise PageError(f"there are {count} accounts, and there can be no more; use one that nobody needs")
            connection.execute(
                "INSERT INTO account (key, name, role, password, created) VALUES (?, ?, ?, ?, ?)",
                (_key(name), name, role.word, stored, account.created),
            )
            write_entry(connection, by, "account_added", name, after=role.word)
        return account

    def change_password(self, name: str, password: str, by: str = "") -> Account:
        """Give an account another password.

        Raises:
            PageError: there is no such account, the password is not possible, or the database cannot be written.
        """
        stored = self._hashed(name, password)
        with self._database.transaction() as connection:
            account = _known(connection, name)
            write_entry(connection, by, "account_password", account.name)
            return _update(connection, account, "password = ?", stored)

    def change_role(self, name: str, role: Role, by: str = "") -> Account:
        """Give an account another role.

        Raises:
            PageError: there is no such account, it is the last active admin, or the database cannot be written.
        """
        with self._database.transaction() as connection:
            account = _known(connection, name)
            if account.role is role:
                return account
            _keep_an_admin(connection, account)
            write_entry(connection, by, "account_role", account.name, account.role.word, role.word)
            return _update(connection, replace(account, role=role), "role = ?", role.word)

    def set_active(self, name: str, is_active: bool, by: str = "") -> Account:
        """Let an account log in, or no longer.

        Raises:
            PageError: there is no such account, it is the last active admin, or the database cannot be written.
        """
        with self._database.transaction() as connection:
            account = _known(connection, name)
            if account.is_active is is_active:
                return account
            _keep_an_admin(connection, account)
            words = ("inactive", "active") if is_active else ("active", "inactive")
            write_entry(
                connection, by, "account_activated" if is_active else "account_deactivated", account.name, *words
            )
            return _update(connection, replace(account, is_active=is_active), "is_active = ?", int(is_active))

    def revisions(self) -> dict[str, int]:
        """Return the revision of each account by name; raises PageError if the database cannot be read."""
        return dict(self._database.rows("SELECT name, revision FROM account"))

    def _hashed(self, name: str, password: str) -> str:
        if not is_password(password, name):
            raise PageError(f"this password has {len(password)} characters; expected {PASSWORD_RULE}")
        return self._passwords.hash(password)

    def _rehash(self, account: Account, password: str, stored: str) -> None:
        new = self._passwords.hash(password)
        with self._database.transaction() as connection:  # unless the password has changed meanwhile
            connection.execute(
                "UPDATE account SET password = ? WHERE key = ? AND password = ?", (new, _key(account.name), stored)
            )


def _account(row: tuple[str, str, float, int, int]) -> Account:
    name, role, created, is_active, revision = row
    return Account(name, parse_role(role), created, bool(is_active), revision)


def _key(name: str) -> str:
    """Return what tells accounts apart: names that look alike, such as in full-width letters, are the same."""
    return folded(unicodedata.normalize("NFKC", name[: 4 * MAX_NAME])).encode(errors="replace").decode()


def _find(connection: sqlite3.Connection, name: str) -> Account | None:
    row = connection.execute(f"SELECT {_COLUMNS} FROM account WHERE key = ?", (_key(name),)).fetchone()
    return _account(row) if row else None


def _known(connection: sqlite3.Connection, name: str) -> Account:
    account = _find(connection, name)
    if account is None:
        raise PageError(f"there is no account {name[:MAX_NAME]!r}; look for it in the list of accounts")
    return account


def _keep_an_admin(connection: sqlite3.Connection, account: Account) -> None:
    """Refuse a change that leaves no active admin."""
    others = "SELECT 1 FROM account WHERE role = ? AND is_active AND key != ? LIMIT 1"
    is_admin = account.role is Role.ADMIN and account.is_active
    if is_admin and connection.execute(others, (Role.ADMIN.word, _key(account.name))).fetchone() is None:
        raise PageError(f"{account.name!r} is the last active admin; make another one first")


def _update(connection: sqlite3.Connection, account: Account, change: str, value: str | int) -> Account:
    connection.execute(
        f"UPDATE account SET {change}, revision = revision + 1 WHERE key = ?", (value, _key(account.name))
    )
    return replace(account, revision=account.revision + 1)
