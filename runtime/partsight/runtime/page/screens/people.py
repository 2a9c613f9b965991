"""The screen `people`: the accounts, and the audit log."""

from datetime import UTC, datetime
from urllib.parse import urlencode

from starlette.responses import Response, StreamingResponse

from partsight.runtime.core import PageError
from partsight.runtime.page.access.accounts import MAX_NAME, Role, parse_role
from partsight.runtime.page.access.audit import local_time
from partsight.runtime.page.access.passwords import MAX_PASSWORD, MIN_PASSWORD
from partsight.runtime.page.web.call import Call, PageRoute

AUDIT_ROWS = 200
"""Entries of the audit log on one screen."""


def show_people(call: Call) -> Response:
    """Show all accounts, and the newest entries of the audit log, or those that the address asks for."""
    who, action, before = call.query("who"), call.query("action"), call.query("before")
    entries = call.context.audit.entries(AUDIT_ROWS + 1, _entry_id(before), who, action)
    older = ""
    if len(entries) > AUDIT_ROWS:
        asked = {"before": entries[AUDIT_ROWS - 1].id, "who": who, "action": action}
        older = f"/people?{urlencode({name: value for name, value in asked.items() if value})}#audit"
    values = {"accounts": call.context.accounts.all(), "entries": entries[:AUDIT_ROWS], "older": older}
    asked_for = {"who": who, "action": action, "before": before}
    limits = {"local": local_time, "name_length": MAX_NAME, "low": MIN_PASSWORD, "high": MAX_PASSWORD}
    return call.render("people.html", values | asked_for | limits)


def add_account(call: Call) -> Response:
    """Add an account."""
    role, password = parse_role(call.form.get("role", "")), _password(call)
    call.context.accounts.add(call.form.get("name", ""), role, password, by=call.who)
    return call.go_to("/people")


def change_role(call: Call) -> Response:
    """Give an account another role, and end its sessions."""
    role = parse_role(call.form.get("role", ""))
    account = call.context.accounts.change_role(call.form.get("name", ""), role, by=call.who)
    return _changed(call, account.name)


def set_password(call: Call) -> Response:
    """Give an account another password, and end its sessions."""
    account = call.context.accounts.change_password(call.form.get("name", ""), _password(call), by=call.who)
    return _changed(call, account.name)


def set_active(call: Call) -> Response:
    """Let an account log in, or no longer, and end its sessions."""
    state = call.form.get("state", "")
    if state not in ("active", "inactive"):
        raise PageError(f"state {state[:20]!r} is unknown; expected active or inactive")
    account = call.context.accounts.set_active(call.form.get("name", ""), state == "active", by=call.who)
    return _changed(call, account.name)


def export_audit(call: Call) -> Response:
    """Send the whole audit log as CSV, with an entry about this export."""
    call.audit("audit_exported")
    name = f"audit-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(call.context.audit.to_csv(), media_type="text/csv; charset=utf-8", headers=headers)


def _changed(call: Call, name: str) -> Response:
    call.context.sessions.end_all(name)
    return call.go_to("/people")


def _password(call: Call) -> str:
    password = call.form.get("password", "")
    if password != call.form.get("again", ""):
        raise PageError(call.text("login.passwords_differ"))
    return password


def _entry_id(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise PageError(f"before is {text[:20]!r}; expected the id of an entry of the audit log")
    return int(text)


ROUTES: tuple[PageRoute, ...] = (
    PageRoute("/people", show_people, Role.ADMIN),
    PageRoute("/people/add", add_account, Role.ADMIN, "POST"),
    PageRoute("/people/role", change_role, Role.ADMIN, "POST"),
    PageRoute("/people/password", set_password, Role.ADMIN, "POST"),
    PageRoute("/people/state", set_active, Role.ADMIN, "POST"),
    PageRoute("/people/audit.csv", export_audit, Role.ADMIN),
)
