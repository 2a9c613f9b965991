"""The routes: docs/security.md names each of them, who may call it, and what it changes."""

import re
from pathlib import Path

from partsight.runtime.page import Role
from partsight.runtime.page.screens.routes import ROUTES

DOC = Path(__file__).parents[3] / "docs" / "security.md"
ROW = re.compile(r"^\| (GET|POST) `([^`]+)` \| (\w+) \| ([^|]+) \|$", re.MULTILINE)


def test_the_docs_name_every_route() -> None:
    rows = {(method, path): who for method, path, who, _ in ROW.findall(DOC.read_text("utf-8"))}
    words = {None: "everybody"} | {role: role.word for role in Role}
    assert rows == {(route.method, route.path): words[route.role] for route in ROUTES}


def test_only_a_post_changes_something() -> None:
    rows = {(method, path): what for method, path, _, what in ROW.findall(DOC.read_text("utf-8"))}
    looks = {path for (method, path), what in rows.items() if method == "GET" and not what.startswith("nothing")}
    assert looks == {"/language/{code}"}
    assert [path for (method, path), what in rows.items() if method == "POST" and what.startswith("nothing")] == []


def test_no_route_stands_twice() -> None:
    assert len({(route.method, route.path) for route in ROUTES}) == len(ROUTES)
