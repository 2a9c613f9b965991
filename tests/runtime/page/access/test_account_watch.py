"""Accounts that another program changes."""

from collections.abc import Callable, Iterator

import pytest

from partsight.runtime.page.access import account_watch
from partsight.runtime.page.access.account_watch import AccountWatch
from partsight.runtime.page.access.accounts import Account, Accounts, Role
from partsight.runtime.page.access.database import Database
from partsight.runtime.page.access.sessions import Sessions
from tests.waiting import wait_until

SECRET = "a long secret"


@pytest.fixture
def other(database: Database) -> Iterator[Accounts]:
    """The accounts as another program has them."""
    second = Database(database.folder)
    yield Accounts(second)
    second.close()


def test_sessions_of_changed_accounts_end(accounts: Accounts, other: Accounts) -> None:
    sessions = Sessions(60.0)
    watch = AccountWatch(accounts, sessions)
    admin = sessions.begin(accounts.add("ada", Role.ADMIN, SECRET))
    changes: tuple[Callable[[], Account], ...] = (
        lambda: other.change_role("olga", Role.ENGINEER),
        lambda: other.change_password("olga", "another secret"),
        lambda: other.set_active("olga", False),
    )
    account = accounts.add("olga", Role.OPERATOR, SECRET)
    for change in changes:
        token = sessions.begin(account)
        watch.check()
        assert sessions.find(token)
        account = change()
        watch.check()
        assert sessions.find(token) is None
    assert sessions.find(admin)


def test_it_checks_by_itself(accounts: Accounts, other: Accounts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_watch, "CHECK_S", 0.01)
    sessions = Sessions(60.0)
    watch = AccountWatch(accounts, sessions)
    watch.start()
    try:
        token = sessions.begin(accounts.add("olga", Role.OPERATOR, SECRET))
        other.set_active("olga", False)
        wait_until(lambda: sessions.find(token) is None)
    finally:
        watch.close()
    watch.close()


def test_a_disk_that_fails(accounts: Accounts, database: Database, caplog: pytest.LogCaptureFixture) -> None:
    sessions = Sessions(60.0)
    watch = AccountWatch(accounts, sessions)
    token = sessions.begin(accounts.add("olga", Role.OPERATOR, SECRET))
    database.close()
    watch.check()
    watch.check()
    assert sessions.find(token)
    assert [record.event for record in caplog.records] == ["page_accounts_unreadable"]  # type: ignore[attr-defined]
