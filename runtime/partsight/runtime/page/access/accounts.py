"""Accounts: people who may use the page, each with a role and a password, which is stored as an Argon2 hash."""

from enum import IntEnum

from partsight.runtime.page.access.database import Database


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


class Accounts:
    """The accounts, in the table `account` of the database."""

    def __init__(self, database: Database) -> None:
        """Take the database."""
        self._database = database
