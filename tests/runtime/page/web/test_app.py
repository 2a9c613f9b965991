"""The checks that each request passes before a screen sees it."""

import pytest

from tests.runtime.page.conftest import Station


def test_assets_need_no_login(station: Station) -> None:
    reply = station.stranger().get("/static/page.css")
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/css")
    assert station.show("red")[0].record.label == "red"


@pytest.mark.parametrize(
    ("referer", "target"),
    [
        ("http://{host}/why/x?a=1", "/why/x?a=1"),
        ("http://{host}", "/"),
        ("http://evil.example/why/x", "/"),
        ("http://{host}//evil.example/", "/"),
        ("", "/"),
        ("http://[", "/"),
    ],
)
def test_a_language_leads_back_to_the_screen(station: Station, referer: str, target: str) -> None:
    visitor = station.stranger()
    host = f"{visitor.address.hostname}:{visitor.address.port}"
    reply = visitor.get("/language/de", Referer=referer.format(host=host))
    assert (reply.status, reply.headers["location"]) == (303, target)
    assert reply.headers["set-cookie"].startswith("partsight_language=de;")
    assert "set-cookie" not in visitor.get("/language/xx").headers


def test_a_malformed_origin_is_of_another_site(station: Station) -> None:
    assert station.operator().post("/logout", Origin="http://[").status == 403
