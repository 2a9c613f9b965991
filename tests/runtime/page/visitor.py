"""A visitor of a page without a browser: cookies, forms and their tokens over real HTTP."""

import http.client
import re
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from partsight.runtime.page import Page, Role
from partsight.runtime.page.web.call import session_cookie

PASSWORD = "a long enough secret"


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class Visitor:
    """Requests in the name of one session; follows no redirect."""

    def __init__(self, page: Page, name: str = "", role: Role = Role.OPERATOR, language: str = "en") -> None:
        """Log in if there is a name, and add its account if it is missing; nothing asks for the password."""
        self.page = page
        self.address = urlsplit(page.url)
        self.token = ""
        if name:
            accounts = page.context.accounts
            account = accounts.find(name) or accounts.add(name, role, PASSWORD)
            self.token = page.context.sessions.begin(account)
        self.language = language

    @property
    def cookie(self) -> str:
        return session_cookie(self.address.port or 0)

    @property
    def csrf(self) -> str:
        session = self.page.context.sessions.find(self.token, is_use=False)
        return session.csrf if session else ""

    def get(self, path: str, **headers: str) -> Reply:
        return self.send("GET", path, None, headers)

    def post(self, path: str, fields: dict[str, str] | None = None, csrf: str | None = None, **headers: str) -> Reply:
        fields = dict(fields or {}) | {"csrf": self.csrf if csrf is None else csrf}
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.send("POST", path, urlencode(fields).encode(), form | headers)

    def send(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Reply:
        connection = http.client.HTTPConnection(self.address.hostname or "", self.address.port, timeout=240)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        cookie = {"Cookie": f"{self.cookie}={self.token}"} if self.token else {}
        try:
            connection.request(method, path, body, cookie | {"Accept-Language": self.language} | named)
            response = connection.getresponse()
            reply = Reply(response.status, dict(response.getheaders()), response.read())
        finally:
            connection.close()
        for value in [value for name, value in response.getheaders() if name.lower() == "set-cookie"]:
            if found := re.match(rf"{self.cookie}=([^;]*)", value):
                self.token = found[1]
        return reply
