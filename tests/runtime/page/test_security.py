"""What every route refuses: each test goes over all routes, so a new screen cannot forget it."""

import contextlib
import http.client
import re
from urllib.parse import urlsplit

import pytest

from partsight.runtime.page import Role
from partsight.runtime.page.screens.routes import ROUTES
from partsight.runtime.page.web import app
from partsight.runtime.page.web.app import HEADERS, MAX_BODY_BYTES
from partsight.runtime.page.web.call import PageRoute
from tests.runtime.page.conftest import Station
from tests.runtime.page.visitor import Reply, Visitor

OPEN = {("GET", "/static/{name}"), ("GET", "/language/{code}"), ("GET", "/login"), ("POST", "/login")}
"""All that may be asked without a login."""

GUARDED = [(route, route.role) for route in ROUTES if route.role is not None]
POSTS = [route for route in ROUTES if route.method == "POST"]
PEOPLE = {Role.OPERATOR: "olga", Role.ENGINEER: "emil", Role.ADMIN: "ada"}


def path_of(route: PageRoute) -> str:
    return re.sub(r"\{[^}]*\}", "x", route.path)


def name_of(route: PageRoute) -> str:
    return f"{route.method} {path_of(route)}"


def ask(visitor: Visitor, route: PageRoute, csrf: str | None = None, **headers: str) -> Reply:
    if route.method == "POST":
        return visitor.post(path_of(route), {}, csrf, **headers)
    return visitor.get(path_of(route), **headers)


def check_headers(reply: Reply, about: object) -> None:
    headers = {name.lower(): value for name, value in reply.headers.items()}
    for name, value in HEADERS.items():
        assert headers.get(name.lower()) == value or name == "Cache-Control", (about, name)
    assert "cache-control" in headers, about
    assert not headers.keys() & {"server", "access-control-allow-origin"}, about


def actions(station: Station) -> list[str]:
    return [entry.action for entry in station.page.context.audit.entries(10_000)][::-1]


def test_these_routes_need_no_login() -> None:
    assert {(route.method, route.path) for route in ROUTES if route.role is None} == OPEN


def test_no_address_has_two_routes() -> None:
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)


@pytest.mark.parametrize("token", ["", "x" * 43, "\u00e9"])
def test_without_a_session(station: Station, token: str) -> None:
    for route, _ in GUARDED:
        stranger = station.stranger()
        stranger.token = token
        reply = ask(stranger, route)
        assert reply.status == 303, name_of(route)
        assert re.fullmatch(r"/login(\?next=%2F[\w%.-]*)?", reply.headers["location"]), name_of(route)
        check_headers(reply, name_of(route))
        for headers in ({"HX-Request": "true"}, {"Accept": "text/event-stream"}):
            part = ask(stranger, route, **headers)
            assert (part.status, part.body) == (401, b"401\n"), name_of(route)
    assert actions(station) == []


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.ENGINEER])
def test_with_a_lower_role(station: Station, role: Role) -> None:
    visitor = Visitor(station.page, PEOPLE[role], role)
    above = [route for route, least in GUARDED if role < least]
    assert above
    for route in above:
        reply = ask(visitor, route)
        assert reply.status == 403, name_of(route)
        check_headers(reply, name_of(route))
        entry = station.page.context.audit.entries(1)[0]
        assert (entry.who, entry.action, entry.object) == (PEOPLE[role], "refused", name_of(route))
    assert actions(station) == ["account_added"] + ["refused"] * len(above)


def test_a_form_without_its_token(station: Station) -> None:
    """And nothing changes: of the actions only the refusals are in the audit log."""
    visitor, other = station.admin(), station.admin()
    guarded = [route for route in POSTS if route.role is not None]
    tokens = ("", "x", other.csrf, visitor.token, "\u00e9")
    for route in guarded:
        for csrf in tokens:
            reply = ask(visitor, route, csrf)
            assert reply.status == 403, name_of(route)
            check_headers(reply, name_of(route))
        assert visitor.post(path_of(route), {}, "", X_CSRF_Token=other.csrf).status == 403, name_of(route)
    assert actions(station) == ["account_added"] + ["refused"] * (len(tokens) + 1) * len(guarded)
    assert visitor.get("/account").status == 200


def test_a_form_of_another_site(station: Station) -> None:
    visitor = station.admin()
    host = f"{visitor.address.hostname}:{visitor.address.port}"
    for route in POSTS:
        for origin in ("http://evil.example", "null", "", f"http://{host}.evil.example", f"http://evil@{host}", "x"):
            reply = ask(visitor, route, Origin=origin)
            assert reply.status == 403, (name_of(route), origin)
            check_headers(reply, name_of(route))
    assert actions(station) == ["account_added"]
    assert visitor.post("/logout", Origin=f"http://{host}").status == 303


def test_a_form_that_is_too_large(station: Station) -> None:
    visitor = station.admin()
    for route in POSTS:
        reply = visitor.post(path_of(route), {"x": "y" * MAX_BODY_BYTES})
        assert reply.status == 413, name_of(route)
        check_headers(reply, name_of(route))
        many = visitor.post(path_of(route), {f"x{number}": "" for number in range(1001)})
        assert many.status == 400, name_of(route)
        latin = visitor.send("POST", path_of(route), b"name=\xff", {})
        assert latin.status == 400, name_of(route)
    assert actions(station) == ["account_added"]


def test_a_wrong_method(station: Station) -> None:
    visitor = station.admin()
    for path in {route.path for route in ROUTES}:
        known = {route.method for route in ROUTES if route.path == path}
        for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"} - known:
            reply = visitor.send(method, re.sub(r"\{[^}]*\}", "x", path), None, {})
            assert reply.status == 405, (method, path)
            assert known.issuperset(reply.headers["allow"].split(", ")), (method, path)
            check_headers(reply, (method, path))
    assert actions(station) == ["account_added"]


def test_headers_and_cookies_of_an_answer(station: Station) -> None:
    for route in ROUTES:
        if route.is_stream and route.path == "/events":  # does not end
            continue
        reply = ask(station.admin(), route)
        assert reply.status < 500, name_of(route)
        check_headers(reply, name_of(route))
        for cookie in (value for name, value in reply.headers.items() if name.lower() == "set-cookie"):
            assert {"httponly", "samesite=strict", "path=/"} <= set(cookie.lower().split("; ")), name_of(route)


@pytest.mark.parametrize("path", ["/nothing", "/static/", "/static/..%2fapp.py", "/static/%2e%2e/app.py", "//", "/%00"])
def test_an_unknown_address(station: Station, path: str) -> None:
    reply = station.admin().get(path)
    assert reply.status == 404
    assert "import" not in reply.text
    check_headers(reply, path)


def test_an_address_with_a_slash_too_many(station: Station) -> None:
    """No redirect: it would name the host that the request names."""
    reply = station.stranger().get("/account/", Host="evil.example")
    assert reply.status == 404
    assert "location" not in reply.headers
    check_headers(reply, "slash")


def test_a_line_break_in_an_address_makes_no_header(station: Station) -> None:
    reply = station.stranger().get("/account?x=%0d%0aSet-Cookie:%20a=b")
    assert reply.status == 303
    assert "set-cookie" not in {name.lower() for name in reply.headers}


def test_head_is_no_way_around(station: Station) -> None:
    for route in ROUTES:
        if route.method == "GET":
            reply = station.stranger().send("HEAD", path_of(route), None, {})
            assert reply.status == 405, name_of(route)
            assert reply.body == b""


def test_a_request_without_a_host(station: Station) -> None:
    """Browsers always send one; another program may not get past the check of the origin without it."""
    address = urlsplit(station.page.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=240)
    connection.putrequest("POST", "/login", skip_host=True)
    connection.putheader("Origin", "null")
    connection.putheader("Content-Length", "0")
    connection.endheaders()
    assert connection.getresponse().status in (400, 403)
    connection.close()


def test_a_form_that_never_ends(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would hold one of few connections."""
    monkeypatch.setattr(app, "FORM_S", 0.01, raising=False)
    address = urlsplit(station.page.url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=20)
    with contextlib.closing(connection):
        connection.putrequest("POST", "/login")
        connection.putheader("Content-Length", "100")
        connection.endheaders()
        connection.send(b"name=")
        assert connection.getresponse().status == 408


def test_a_disk_that_fails(station: Station) -> None:
    """Nothing that cannot be audited is done, and the answer is one of this page."""
    operator = station.operator()
    station.page.context.audit._database.close()
    reply = operator.get("/people")
    assert reply.status in (409, 500)
    check_headers(reply, "refused")
    assert b"Internal Server Error" not in reply.body
