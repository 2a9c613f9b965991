"""The screen `people`: the accounts, and the audit log."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from starlette.responses import Response, StreamingResponse

from partsight.runtime.core import PageError
from partsight.runtime.page.access.accounts import MAX_NAME, Role, parse_role
from partsight.runtime.page.access.passwords import MAX_PASSWORD, MIN_PASSWORD, is_password
from partsight.runtime.page.web.call import Call, PageRoute
from partsight.runtime.page.why.reason_words import isolated

AUDIT_ROWS = 200
"""Entries of the audit log on one screen."""


@dataclass(frozen=True)
class _Refusal:
    """A form that is shown again with the reason: `/people/add`, or the password of an account. It has no password."""

    reason: str
    is_new: bool
    name: str
    role: str


def show_people(call: Call) -> Response:
    """Show all accounts, and the newest entries of the audit log, or those that the address asks for."""
    return _people(call)


def _people(call: Call, refusal: _Refusal | None = None) -> Response:
    accounts, added = call.context.accounts.all(), call.query("added")
    values = {
        "accounts": accounts,
        "added": added if any(account.name == added for account in accounts) else "",
        "refusal": refusal,
        "isolated": isolated,
        **_audit(call),
        "local": call.messages.time,
        "name_length": MAX_NAME,
        "low": MIN_PASSWORD,
        "high": MAX_PASSWORD,
    }
    return call.render("people.html", values, 409 if refusal else 200)


def _audit(call: Call) -> Mapping[str, object]:
    """Return the entries of the audit log that the address asks for."""
    who, action, before = call.query("who"), call.query("action"), call.query("before")
    audit = call.context.audit
    entries = audit.entries(AUDIT_ROWS + 1, _entry_id(before), who, action, is_part=True)
    older = ""
    if len(entries) > AUDIT_ROWS:
        asked = {"before": entries[AUDIT_ROWS - 1].id, "who": who, "action": action}
        older = f"/people?{urlencode({name: value for name, value in asked.items() if value})}#audit"
    actions = sorted({*audit.actions(), *filter(None, [action])})
    shown = {"entries": entries[:AUDIT_ROWS], "older": older, "actions": actions}
    return shown | {"who": who, "action": action, "before": before}


def add_account(call: Call) -> Response:
    """Add an account; a form that is refused is shown again."""
    name, role = call.form.get("name", ""), call.form.get("role", "")
    try:
        password = _password(call, name)
        if call.context.accounts.find(name) is not None:
            raise PageError(call.text("people.name_taken", name=isolated(name)))
        account = call.context.accounts.add(name, parse_role(role), password, by=call.who)
    except PageError as error:
        return _people(call, _Refusal(str(error), is_new=True, name=name, role=role))
    return call.go_to(f"/people?{urlencode({'added': account.name})}")


def change_role(call: Call) -> Response:
    """Give an account another role, and end its sessions."""
    role = parse_role(call.form.get("role", ""))
    account = call.context.accounts.change_role(call.form.get("name", ""), role, by=call.who)
    return _changed(call, account.name)


def set_password(call: Call) -> Response:
    """Give an account another password, and end its sessions; a form that is refused is shown again."""
    account = call.context.accounts.find(call.form.get("name", ""))
    if account is None:
        raise PageError(call.text("people.no_account"))
    try:
        call.context.accounts.change_password(account.name, _password(call, account.name), by=call.who)
    except PageError as error:
        return _people(call, _Refusal(str(error), is_new=False, name=account.name, role=""))
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


def _password(call: Call, name: str) -> str:
    """Return the password that a form gives to an account; raises PageError if it cannot be."""
    password = call.form.get("password", "")
    if password != call.form.get("again", ""):
        raise PageError(call.text("login.passwords_differ"))
    if not is_password(password, name):
        raise PageError(call.text("login.password_rule", low=MIN_PASSWORD, high=MAX_PASSWORD))
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
