"""Hostile requests to every route: each gets an answer that is no server error, and no text of it becomes markup."""

from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from partsight.runtime.page.screens.routes import ROUTES
from partsight.runtime.page.web.app import HEADERS
from partsight.runtime.page.web.call import PageRoute
from tests.runtime.page.conftest import Station

SCRIPT = "<script>alert(1)</script>"

NASTY = st.one_of(
    st.sampled_from(
        [
            "",
            SCRIPT,
            '"><img src=x onerror=alert(1)>',
            "../../etc/passwd",
            "..%2f..%2fpage.sqlite",
            "a" * 250,
            "\u202eright to left",
            "%00",
            "\0",
            "-1",
            "0",
            "99999999999999999999",
            "1e400",
            "nan",
            "{{ 7 * 7 }}",
            "' OR 1=1 --",
            "red",
            "confirmed",
            "open",
            "//evil.example/",
            "http://evil.example/",
            "left",
        ]
    ),
    st.text(max_size=40),
)
"""Texts that a person may type, and that an attacker does."""

NAMES = (
    *("name", "label", "verdict", "part", "camera", "reason", "page", "q", "before", "role", "password", "old", "new"),
    *("next", "who", "action", "package", "id", "limit", "level", "index"),
)
"""Names of fields and parameters that some screen reads."""

FIELDS = st.dictionaries(st.sampled_from(NAMES), NASTY, max_size=5)


def address(route: PageRoute, texts: list[str], query: dict[str, str]) -> str:
    """Return the route's path with texts in place of its parameters."""
    path = route.path
    for text in texts:
        start, brace, rest = path.partition("{")
        if brace:
            path = start + quote(text, safe="") + rest.partition("}")[2]
    return path + ("?" + urlencode(query, errors="surrogatepass") if query else "")


@pytest.mark.parametrize("route", [r for r in ROUTES if not r.is_stream], ids=lambda route: route.method + route.path)
def test_hostile_requests(station: Station, route: PageRoute) -> None:
    station.show("red", (10, 10, 10))

    @settings(max_examples=25, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(NASTY, min_size=3, max_size=3), FIELDS, FIELDS)
    def attack(texts: list[str], query: dict[str, str], fields: dict[str, str]) -> None:
        visitor = station.admin()
        path = address(route, texts, query)
        reply = visitor.post(path, fields) if route.method == "POST" else visitor.get(path)
        assert reply.status < 500
        if "text/html" in reply.headers.get("content-type", ""):
            assert SCRIPT not in reply.text
            assert reply.headers["content-security-policy"] == HEADERS["Content-Security-Policy"]

    attack()
    assert station.show("blue")[0].record.label == "blue"  # the line goes on
