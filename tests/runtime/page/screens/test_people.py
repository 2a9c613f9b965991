"""The screen of accounts and the audit log, over real HTTP."""

import csv
import io
import re
from html import escape
from urllib.parse import quote

import pytest

from partsight.runtime.page import AuditEntry, Role
from partsight.runtime.page.screens import people
from tests.runtime.page.conftest import Station
from tests.runtime.page.visitor import PASSWORD

SECRET = "another long secret"
RTL = "\u0645\u0631\u062d\u0628\u0627"


def newest(station: Station) -> AuditEntry:
    return station.page.context.audit.entries(1)[0]


def test_an_admin_adds_an_account(station: Station) -> None:
    admin = station.admin()
    fields = {"name": "Olga", "role": "operator", "password": SECRET, "again": SECRET}
    assert admin.post("/people/add", fields).headers["location"] == "/people?added=Olga"
    account = station.page.context.accounts.check("olga", SECRET)
    assert account
    assert (account.name, account.role) == ("Olga", Role.OPERATOR)
    assert "<bdi>Olga</bdi>" in admin.get("/people").text
    assert 'class="note"' in admin.get("/people?added=Olga").text
    assert 'class="note"' not in admin.get("/people?added=Nobody").text
    entry = newest(station)
    assert (entry.who, entry.action, entry.object, entry.after) == ("ada", "account_added", "Olga", "operator")


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "a" * 250},
        {"name": "\u202eada"},
        {"name": "ADA"},
        {"role": "root"},
        {"role": ""},
        {"password": "short", "again": "short"},
        {"again": "other"},
        {"password": "", "again": ""},
    ],
)
def test_an_account_that_is_refused(station: Station, change: dict[str, str]) -> None:
    admin = station.admin()
    before = (station.page.context.accounts.all(), newest(station))
    fields = {"name": "Olga", "role": "operator", "password": SECRET, "again": SECRET} | change
    assert admin.post("/people/add", fields).status == 409
    assert (station.page.context.accounts.all(), newest(station)) == before


@pytest.mark.parametrize(
    "change", [{"name": "ADA"}, {"password": "short", "again": "short"}, {"again": SECRET[::-1]}], ids=str
)
@pytest.mark.parametrize("language", ["en", "de"])
def test_a_form_that_is_refused_keeps_name_and_role(station: Station, change: dict[str, str], language: str) -> None:
    admin = station.admin()
    admin.language = language
    fields = {"name": "Olga <b>", "role": "engineer", "password": SECRET, "again": SECRET} | change
    reply = admin.post("/people/add", fields)
    form = reply.text.split('action="/people/add"')[1].split("</form>")[0]
    assert reply.status == 409
    assert '<details class="add" open>' in reply.text
    assert 'role="alert"' in form
    assert f'value="{escape(fields["name"])}"' in form
    assert '<option value="engineer" selected>' in form
    assert all(secret not in reply.text for secret in (fields["password"], fields["again"]) if secret != "short")


def test_a_password_that_is_refused_is_asked_for_again(station: Station) -> None:
    admin = station.admin()
    station.operator()
    reply = admin.post("/people/password", {"name": "OLGA", "password": SECRET, "again": "other"})
    assert reply.status == 409
    forms = reply.text.split('action="/people/password"')
    assert ['role="alert"' in form.split("</form>")[0] for form in forms[1:]] == [False, True]
    assert reply.text.count("<details open>") == 1
    assert SECRET not in reply.text


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', RTL * 10, "{{ 7 * 7 }}"]
)
def test_a_hostile_name_is_text(station: Station, name: str) -> None:
    admin = station.admin()
    fields = {"name": name, "role": "operator", "password": SECRET, "again": SECRET}
    assert admin.post("/people/add", fields).status == 303
    text = admin.get("/people").text
    assert re.findall(r"<script(?! src=)|<img|alert\(1\)>|>49<", text) == []
    assert admin.post("/people/role", {"name": name, "role": "engineer"}).status == 303
    found = station.page.context.accounts.find(name)
    assert found
    assert found.role is Role.ENGINEER
    assert f"<bdi>{RTL * 10}</bdi>" in text or name != RTL * 10


@pytest.mark.parametrize(
    ("path", "fields", "entry"),
    [
        ("/people/role", {"role": "engineer"}, ("account_role", "operator", "engineer")),
        ("/people/password", {"password": SECRET, "again": SECRET}, ("account_password", "", "")),
        ("/people/state", {"state": "inactive"}, ("account_deactivated", "active", "inactive")),
    ],
)
def test_a_change_is_audited_and_ends_sessions(
    station: Station, path: str, fields: dict[str, str], entry: tuple[str, str, str]
) -> None:
    admin, operator = station.admin(), station.operator()
    assert operator.get("/account").status == 200
    assert admin.post(path, {"name": "OLGA", **fields}).status == 303
    assert operator.get("/account").status == 303
    assert admin.get("/people").status == 200
    found = newest(station)
    assert (found.action, found.before, found.after) == entry
    assert (found.who, found.object) == ("ada", "olga")


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/people/role", {"name": "ada", "role": "engineer"}),
        ("/people/state", {"name": "ada", "state": "inactive"}),
        ("/people/state", {"name": "olga", "state": "gone"}),
        ("/people/state", {"name": "olga"}),
        ("/people/state", {"name": "nobody", "state": "active"}),
        ("/people/role", {"name": "olga", "role": "root"}),
        ("/people/role", {"role": "engineer"}),
        ("/people/password", {"name": "olga", "password": SECRET, "again": SECRET + "x"}),
        ("/people/password", {"name": "olga", "password": "short", "again": "short"}),
        ("/people/password", {}),
    ],
)
def test_a_change_that_is_refused(station: Station, path: str, fields: dict[str, str]) -> None:
    admin, operator = station.admin(), station.operator()
    before = (station.page.context.accounts.revisions(), newest(station))
    assert admin.post(path, fields).status == 409
    assert (station.page.context.accounts.revisions(), newest(station)) == before
    assert operator.get("/account").status == 200
    assert station.page.context.accounts.check("olga", PASSWORD)


def test_an_account_is_activated_again(station: Station) -> None:
    admin = station.admin()
    station.operator()
    for state, is_active in (("inactive", False), ("active", True)):
        assert admin.post("/people/state", {"name": "olga", "state": state}).status == 303
        assert bool(station.page.context.accounts.check("olga", PASSWORD)) is is_active


def ids_in(text: str) -> list[int]:
    return [int(found) for found in re.findall(r"<tr><td>(\d+)</td><td><time>", text)]


def test_the_audit_log_in_pages(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "AUDIT_ROWS", 3)
    admin = station.admin()
    for number in range(6):
        station.page.context.audit.add("x&y" if number % 2 else "ada", "swap", str(number))
    path, seen = "/people", []
    while path:
        text = admin.get(path).text
        seen.append(ids_in(text))
        older = re.search(r'href="(/people\?before=[^"]*)#audit"', text)
        path = older[1].replace("&amp;", "&") if older else ""
    assert seen == [[7, 6, 5], [4, 3, 2], [1]]
    assert ids_in(admin.get("/people?who=x%26y").text) == [7, 5, 3]
    assert ids_in(admin.get("/people?who=x%26y&before=7").text) == [5, 3]
    assert ids_in(admin.get("/people?action=account_added").text) == [1]
    assert ids_in(admin.get("/people?action=nothing").text) == []
    assert ids_in(admin.get("/people?who=X").text) == [7, 5, 3]  # a part of the name
    options = re.search(r'<select id="action".*?</select>', admin.get("/people?action=swap&who=nobody").text)
    assert options
    assert re.findall(r"<option([^>]*)>(\w+)<", options[0])[1:] == [("", "account_added"), (" selected", "swap")]
    monkeypatch.setattr(people, "AUDIT_ROWS", 2)
    assert "who=x%26y" in admin.get("/people?who=x%26y").text


@pytest.mark.parametrize("before", ["-1", "x", "1e3", "9" * 30, "\u0661"])
def test_an_entry_that_cannot_be(station: Station, before: str) -> None:

    assert station.admin().get(f"/people?before={quote(before)}").status == 409


def test_the_export(station: Station) -> None:
    admin = station.admin()
    station.page.context.audit.add("=1+1", "x", "Gr\u00f6\u00dfe")
    reply = admin.get("/people/audit.csv")
    assert reply.headers["content-type"] == "text/csv; charset=utf-8"
    assert re.fullmatch(r'attachment; filename="audit-\d{8}T\d{6}Z\.csv"', reply.headers["content-disposition"])
    rows = list(csv.DictReader(io.StringIO(reply.text, newline="")))
    assert [(row["who"], row["action"], row["object"]) for row in rows] == [
        ("", "account_added", "ada"),
        ("'=1+1", "x", "Gr\u00f6\u00dfe"),
        ("ada", "audit_exported", ""),
    ]


@pytest.mark.parametrize("language", ["en", "de"])
def test_every_text_exists(station: Station, language: str) -> None:
    admin = station.admin()
    admin.language = language
    for path in ("/people", "/account", "/login"):
        assert f'<html lang="{language}">' in admin.get(path).text or path == "/login"
