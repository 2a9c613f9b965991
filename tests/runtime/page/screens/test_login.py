"""Login, logout, and the own account of each person, over real HTTP."""

import contextlib
from collections.abc import Callable
from urllib.parse import quote

import pytest

from partsight.runtime.page import Accounts, Database, Role
from partsight.runtime.page.access import account_watch
from partsight.runtime.page.access.login_limit import FREE_OF_NAME, MAX_AT_ONCE
from partsight.runtime.page.screens.login import local_path
from partsight.runtime.page.web.call import session_cookie
from tests.runtime.page.conftest import Station
from tests.runtime.page.visitor import PASSWORD, Reply, Visitor
from tests.waiting import wait_until

NEW = "a new long secret"


def log_in(visitor: Visitor, name: str, password: str = PASSWORD, **fields: str) -> Reply:
    return visitor.post("/login", {"name": name, "password": password, **fields})


def actions(station: Station) -> list[tuple[str, str]]:
    return [(entry.who, entry.action) for entry in station.page.context.audit.entries()][::-1]


@pytest.fixture
def olga(station: Station) -> str:
    return station.page.context.accounts.add("Olga", Role.OPERATOR, PASSWORD).name


def test_from_login_to_logout(station: Station, olga: str) -> None:
    visitor = station.stranger()
    assert visitor.get("/account").headers["location"] == "/login?next=%2Faccount"
    assert visitor.get("/login").status == 200
    reply = log_in(visitor, "OLGA", next="/account")
    assert (reply.status, reply.headers["location"]) == (303, "/account")
    assert olga in visitor.get("/account").text
    token = visitor.token
    assert visitor.post("/logout").headers["location"] == "/login"
    assert visitor.token in ("", '""')
    visitor.token = token
    assert visitor.get("/account").status == 303
    assert actions(station)[1:] == [(olga, "logon"), (olga, "logout")]


def test_the_cookie(station: Station, olga: str) -> None:
    cookie = log_in(station.stranger(), olga).headers["set-cookie"].lower().split("; ")
    assert cookie[0].startswith(f"{session_cookie(station.stranger().address.port or 0)}=")
    assert set(cookie[1:]) == {"httponly", "path=/", "samesite=strict"}


@pytest.mark.parametrize(("name", "password"), [("Olga", "wrong"), ("nobody", PASSWORD), ("", ""), ("Olga", "")])
def test_a_wrong_password(station: Station, olga: str, name: str, password: str) -> None:
    visitor = station.stranger()
    reply = log_in(visitor, name, password)
    assert reply.status == 401
    assert "set-cookie" not in reply.headers
    assert visitor.token == ""
    assert actions(station)[1:] == [(name, "logon_failed")]
    assert station.page.context.audit.entries()[0].object == "127.0.0.1"


def test_wrong_name_and_wrong_password_look_alike(station: Station, olga: str) -> None:
    wrong = log_in(station.stranger(), "Olga", "wrong").text
    assert wrong == log_in(station.stranger(), "Egon", "wrong").text.replace("Egon", "Olga")


def test_an_inactive_account(station: Station, olga: str) -> None:
    station.page.context.accounts.set_active(olga, False)
    assert log_in(station.stranger(), olga).status == 401


def test_each_logon_has_a_new_token(station: Station, olga: str) -> None:
    """A token that somebody put into the browser before is worth nothing after the logon."""
    visitor = station.stranger()
    visitor.token = "planted"
    log_in(visitor, olga)
    first = visitor.token
    assert first != "planted"
    assert station.page.context.sessions.find("planted") is None
    log_in(visitor, olga)
    assert visitor.token != first
    assert station.page.context.sessions.find(first) is None
    assert station.page.context.sessions.find(visitor.token)


def test_guesses_are_limited(station: Station, olga: str) -> None:
    visitor = station.stranger()
    for _ in range(FREE_OF_NAME):
        assert log_in(visitor, olga, "wrong").status == 401
    for _ in range(3):
        reply = log_in(visitor, olga)  # right, but too early
        assert reply.status == 429
        assert 1 <= int(reply.headers["retry-after"]) <= 5
        assert visitor.token == ""
    assert actions(station)[-2:] == [(olga, "logon_failed"), (olga, "logon_limited")]


def test_a_person_who_is_logged_in_needs_no_login(station: Station) -> None:
    reply = station.operator().get("/login?next=/account")
    assert (reply.status, reply.headers["location"]) == (303, "/account")


def test_without_accounts_the_login_names_the_command(station: Station) -> None:
    command = "partsight account add NAME --role admin --data FOLDER"
    assert command in station.stranger().get("/login").text
    station.page.context.accounts.add("ada", Role.ADMIN, PASSWORD)
    assert command not in station.stranger().get("/login").text


HOSTILE = [
    "//evil.example/",
    "/\\evil.example",
    "\\\\evil.example",
    "http://evil.example",
    "javascript:alert(1)",
    "/\t/evil.example",
    "/\r\nSet-Cookie: a=b",
    " /",
    "evil",
    "/" + "a" * 1000,
]


@pytest.mark.parametrize("target", HOSTILE)
def test_a_hostile_target(station: Station, olga: str, target: str) -> None:
    assert local_path(target) == "/"
    assert quote(target) not in station.stranger().get(f"/login?next={quote(target)}").text
    reply = log_in(station.stranger(), olga, next=target)
    assert (reply.status, reply.headers["location"]) == (303, "/")


@pytest.mark.parametrize("target", ["/", "/why/left-1.jpg?x=1&y=2", "/why/Gr\u00f6\u00dfe", "/refused?q=%2F%2F"])
def test_a_target_of_this_page(target: str) -> None:
    assert local_path(target) == target


def test_a_hostile_name_is_text(station: Station, olga: str) -> None:
    name = "<script>\0\u202e" + "x" * 250
    reply = log_in(station.stranger(), name, "wrong")
    assert "<script>" not in reply.text.replace('<script src="', "")
    who = station.page.context.audit.entries()[0].who
    assert who.startswith("<script>??x")
    assert len(who) == 64


def test_own_account(station: Station, olga: str) -> None:
    visitor = station.stranger()
    log_in(visitor, olga)
    first = visitor.get("/account").text
    log_in(visitor, olga)
    assert "<time>" not in first
    assert "<time>" in visitor.get("/account").text


def test_change_of_the_own_password(station: Station, olga: str) -> None:
    visitor, other = station.stranger(), station.stranger()
    log_in(visitor, olga)
    log_in(other, olga)
    token, csrf = visitor.token, visitor.csrf
    reply = visitor.post("/account/password", {"old": PASSWORD, "new": NEW, "again": NEW})
    assert reply.status == 303
    assert visitor.token != token
    assert visitor.csrf != csrf
    assert visitor.get(reply.headers["location"]).status == 200
    assert other.get("/account").status == 303
    assert log_in(station.stranger(), olga).status == 401
    assert log_in(station.stranger(), olga, NEW).status == 303
    entry = next(entry for entry in station.page.context.audit.entries() if entry.action == "account_password")
    assert (entry.who, entry.object) == (olga, olga)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"old": "wrong", "new": NEW, "again": NEW}, 409),
        ({"old": PASSWORD, "new": NEW, "again": "other long secret"}, 409),
        ({"old": PASSWORD, "new": "short", "again": "short"}, 409),
        ({"old": PASSWORD}, 409),
        ({}, 409),
    ],
)
def test_a_change_that_is_refused(station: Station, olga: str, fields: dict[str, str], status: int) -> None:
    visitor = station.stranger()
    log_in(visitor, olga)
    assert visitor.post("/account/password", fields).status == status
    assert visitor.get("/account").status == 200
    assert log_in(station.stranger(), olga).status == 303


def test_guesses_of_the_old_password_are_limited(station: Station, olga: str) -> None:
    visitor = station.stranger()
    log_in(visitor, olga)
    fields = {"old": "wrong", "new": NEW, "again": NEW}
    for _ in range(FREE_OF_NAME):
        assert visitor.post("/account/password", fields).status == 409
    reply = visitor.post("/account/password", fields | {"old": PASSWORD})
    assert reply.status == 429
    assert "retry-after" in reply.headers


def test_an_error_in_a_check_frees_its_place(
    station: Station, olga: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(station.page.context.accounts, "check", fail)
        for number in range(MAX_AT_ONCE + 1):
            assert log_in(station.stranger(), str(number)).status == 500
    assert log_in(station.stranger(), olga).status == 303


CHANGES: dict[str, Callable[[Station], object]] = {
    "role": lambda station: station.page.context.accounts.change_role("olga", Role.ENGINEER),
    "state": lambda station: station.page.context.accounts.set_active("olga", False),
    "password": lambda station: station.page.context.accounts.change_password("olga", NEW),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_between_check_and_session(
    station: Station, olga: str, monkeypatch: pytest.MonkeyPatch, change: Callable[[Station], object]
) -> None:
    """The watch ends the session of an account that changed while its password was checked."""
    accounts = station.page.context.accounts
    check = accounts.check

    def checked(name: str, password: str) -> object:
        account = check(name, password)
        change(station)
        return account

    monkeypatch.setattr(accounts, "check", checked)
    visitor = station.stranger()
    log_in(visitor, olga)
    station.page.context.sessions.end_changed(accounts.revisions)
    assert visitor.get("/account").status == 303


@pytest.fixture
def quick_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account_watch, "CHECK_S", 0.01)


def test_another_program_ends_a_session(quick_watch: None, station: Station) -> None:
    """As `partsight account password` does while the line runs."""
    visitor, admin = station.operator(), station.admin()
    assert visitor.get("/account").status == 200
    with contextlib.closing(Database(station.data)) as database:
        Accounts(database).change_password("olga", NEW)
    wait_until(lambda: visitor.get("/account").status == 303)
    assert admin.get("/account").status == 200
