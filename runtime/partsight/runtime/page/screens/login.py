"""The screen `login`, and the own account of each person."""

from starlette.responses import Response

from partsight.runtime.page.access.accounts import MAX_NAME, Account, Role
from partsight.runtime.page.access.login_limit import Wait
from partsight.runtime.page.access.passwords import MAX_PASSWORD, MIN_PASSWORD, is_password
from partsight.runtime.page.web.call import Call, PageRoute


def show_login(call: Call) -> Response:
    """Ask for name and password."""
    target = local_path(call.query("next"))
    return call.go_to(target) if call.session else _login(call, target)


def log_in(call: Call) -> Response:
    """Begin a session if name and password are right."""
    name, target = call.form.get("name", ""), local_path(call.form.get("next", ""))
    found = _check(call, name, call.form.get("password", ""))
    if isinstance(found, Wait):
        if found.is_news:
            call.context.audit.add(_shown(name), "logon_limited", _address(call))
        error = call.text("login.wait", seconds=found.seconds)
        return _login(call, target, _shown(name), error, found)
    if found is None:
        call.context.audit.add(_shown(name), "logon_failed", _address(call))
        return _login(call, target, _shown(name), call.text("login.wrong"))
    call.context.audit.add(found.name, "logon", _address(call))
    response = call.go_to(target)
    _begin_session(call, found, response)
    return response


def log_out(call: Call) -> Response:
    """End the session."""
    call.context.sessions.end(call.token)  # first: it must work with a full disk too
    call.audit("logout", _address(call))
    response = call.go_to("/login")
    response.delete_cookie(call.cookie, httponly=True, samesite="strict")
    return response


def show_account(call: Call) -> Response:
    """Show a person's own account."""
    return _account(call, is_changed=bool(call.query("changed")))


def change_password(call: Call) -> Response:
    """Change a person's own password, and end the account's other sessions."""
    new = call.form.get("new", "")
    if new != call.form.get("again", ""):
        return _account(call, call.text("login.passwords_differ"), 409)
    if not is_password(new, call.who):
        return _account(call, call.text("login.password_rule", low=MIN_PASSWORD, high=MAX_PASSWORD), 409)
    found = _check(call, call.who, call.form.get("old", ""))
    if isinstance(found, Wait):
        return _account(call, call.text("login.wait", seconds=found.seconds), 429, found)
    if found is None:
        call.audit("account_password_refused", call.who)
        return _account(call, call.text("login.old_wrong"), 409)
    account = call.context.accounts.change_password(found.name, new, by=call.who)
    call.context.sessions.end_all(account.name)
    response = call.go_to("/account?changed=1")
    _begin_session(call, account, response)
    return response


def local_path(text: str) -> str:
    """Return a path of this page with its query; `/` if the text is none: it may lead to another site."""
    is_path = text.startswith("/") and not text.startswith("//") and len(text) <= 1000
    return text if is_path and text.isprintable() and not set(text) & {"\\", " "} else "/"


def _check(call: Call, name: str, password: str) -> Account | Wait | None:
    """Return the account of a name with this password, None if it is wrong, or how long the try must wait."""
    limit, address, account = call.context.login_limit, _address(call), None
    wait = limit.begin(name, address)
    if wait is not None:
        return wait
    try:
        account = call.context.accounts.check(name, password)
    finally:
        limit.end(name, address, is_right=account is not None)
    return account


def _begin_session(call: Call, account: Account, response: Response) -> None:
    """Begin a session with a token that nobody has seen before, and end the one of this browser."""
    call.context.sessions.end(call.token)
    token, is_https = call.context.sessions.begin(account), call.request.url.scheme == "https"
    response.set_cookie(call.cookie, token, httponly=True, samesite="strict", secure=is_https)


def _login(call: Call, target: str, name: str = "", error: str = "", wait: Wait | None = None) -> Response:
    values = {"target": target, "name": name, "error": error, "is_empty": not call.context.accounts.revisions()}
    status = 429 if wait else 401 if error else 200
    return _limited(call.render("login.html", values, status), wait)


def _account(
    call: Call, error: str = "", status: int = 200, wait: Wait | None = None, *, is_changed: bool = False
) -> Response:
    logons = call.context.audit.entries(2, who=call.who, action="logon")
    values = {"error": error, "is_changed": is_changed, "last": logons[1] if len(logons) > 1 else None}
    limits = {"low": MIN_PASSWORD, "high": MAX_PASSWORD, "local": call.messages.time}
    return _limited(call.render("account.html", values | limits, status), wait)


def _limited(response: Response, wait: Wait | None) -> Response:
    if wait:
        response.headers["Retry-After"] = str(wait.seconds)
    return response


def _address(call: Call) -> str:
    return call.request.client.host if call.request.client else ""


def _shown(name: str) -> str:
    """Return a name that somebody typed, for people who read it: bounded, without control characters."""
    return "".join(letter if letter.isprintable() else "?" for letter in name[:MAX_NAME])


ROUTES: tuple[PageRoute, ...] = (
    PageRoute("/login", show_login, None),
    PageRoute("/login", log_in, None, "POST"),
    PageRoute("/logout", log_out, Role.OPERATOR, "POST"),
    PageRoute("/account", show_account, Role.OPERATOR),
    PageRoute("/account/password", change_password, Role.OPERATOR, "POST"),
)
