"""The checks that each request passes before a screen sees it."""

from tests.runtime.page.conftest import Station


def test_assets_need_no_login(station: Station) -> None:
    reply = station.stranger().get("/static/page.css")
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("text/css")
    assert station.show("red")[0].record.label == "red"
