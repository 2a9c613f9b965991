"""A call of the page: one request, who makes it, and the parts of the page; and the routes that answer calls."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote

from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from partsight.runtime.page.access.accounts import Role
from partsight.runtime.page.access.sessions import Session
from partsight.runtime.page.context import PageContext
from partsight.runtime.page.web.messages import LANGUAGES, Messages


def session_cookie(port: int) -> str:
    """Return the name of the session's cookie, with the port: browsers send a cookie to every port of a host."""
    return f"partsight_session_{port}"


@dataclass(frozen=True)
class Call:
    """A request that may be answered: its route's role and token are checked.

    Attributes:
        context: Parts of the page.
        request: The request.
        session: Who makes it; None on a route that needs no login.
        messages: Texts of the person's language.
        templates: Templates of the screens.
        form: Fields of the form that a POST sends; a field that is sent twice has its last value.
    """

    context: PageContext
    request: Request
    session: Session | None
    messages: Messages
    templates: Environment
    form: Mapping[str, str] = field(default_factory=dict)

    @property
    def who(self) -> str:
        """Name of the account; empty without a login."""
        return self.session.name if self.session else ""

    @property
    def role(self) -> Role | None:
        """Role of the account; None without a login."""
        return self.session.role if self.session else None

    @property
    def cookie(self) -> str:
        """Name of the session's cookie."""
        return session_cookie(self.request.scope["server"][1])

    @property
    def token(self) -> str:
        """Token of the session's cookie; empty if there is none."""
        return self.request.cookies.get(self.cookie, "")

    @property
    def is_part(self) -> bool:
        """Whether htmx asks for a part of a screen, and not for a whole page."""
        return self.request.headers.get("HX-Request") == "true"

    def query(self, name: str, default: str = "") -> str:
        """Return a parameter of the address, at most 1,000 characters of it."""
        return self.request.query_params.get(name, default)[:1000]

    def text(self, key: str, **values: object) -> str:
        """Return a text in the person's language; see `Messages.text`."""
        return self.messages.text(key, **values)

    def render(self, template: str, values: Mapping[str, object], status: int = 200) -> Response:
        """Return a page or a part of one.

        A template gets, next to its values: `call`, `t` (`Messages.text`), `csrf` (token for its forms), `Role`,
        `languages`.
        """
        csrf = self.session.csrf if self.session else ""
        shared = {"call": self, "t": self.messages.text, "csrf": csrf, "Role": Role, "languages": LANGUAGES}
        text = self.templates.get_template(template).render(shared | dict(values))
        return HTMLResponse(text.encode("utf-8", "backslashreplace"), status)  # a file's name may be any bytes

    def go_to(self, path: str) -> Response:
        """Return a redirect to another screen, after a form was sent."""
        if self.is_part:
            return Response(status_code=204, headers={"HX-Redirect": quote(path, safe="/?&=%#:+,;@!$'()*~")})
        return RedirectResponse(path, 303)

    def audit(self, action: str, obj: str = "", before: str = "", after: str = "") -> None:
        """Add an entry to the audit log in this person's name; see `AuditEntry`."""
        self.context.audit.add(self.who, action, obj, before, after)


Handler = Callable[[Call], Response]
"""Answers a call in a thread of its own: it may read files and compute. A PartsightError becomes a page."""

AsyncHandler = Callable[[Call], Awaitable[Response]]
"""Answers a call in the event loop: for streams."""


@dataclass(frozen=True)
class PageRoute:
    """An address of the page. Tests compare docs/security.md with all of them.

    Attributes:
        path: Path, with names of parameters in braces, as Starlette has it: `/why/{name}`.
        handler: Function that answers.
        role: Least role; None for everybody, also without a login.
        method: GET looks only; POST changes something, and needs the token of the session.
        is_stream: Whether `handler` is an `AsyncHandler`.
        is_use: Whether a call keeps the session awake; False for what a browser asks by itself.
    """

    path: str
    handler: Handler | AsyncHandler
    role: Role | None
    method: Literal["GET", "POST"] = "GET"
    is_stream: bool = False
    is_use: bool = True
