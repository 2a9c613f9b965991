"""Settings of the page, from its address."""

import pytest

from partsight.runtime.core import PageError
from partsight.runtime.page import PageSettings, parse_page_address


def test_the_least_address() -> None:
    settings = parse_page_address(":9200?data=page")
    assert settings == PageSettings(port=9200, data="page")
    assert (settings.host, settings.feedback, settings.insecure, settings.approval) == ("127.0.0.1", "", False, False)
    assert settings.starts == (360, 840, 1320)


def test_every_option() -> None:
    text = (
        "[::]:0?data=a%20b&feedback=kept&cert=c.pem&key=k.pem&insecure=true&approval=1&idle_min=1.5&shifts=00:00,12:30"
    )
    assert parse_page_address(text) == PageSettings(
        host="::",
        port=0,
        data="a b",
        feedback="kept",
        cert="c.pem",
        key="k.pem",
        insecure=True,
        approval=True,
        idle_min=1.5,
        shifts="00:00,12:30",
    )


@pytest.mark.parametrize("path", ["/var/lib/page", "../page", "C:\\page"])
def test_a_path_stays_as_it_is(path: str) -> None:
    assert parse_page_address(f"0.0.0.0:9200?data={path}").data == path


WRONG = {
    "nothing": "",
    "no port": "localhost?data=page",
    "a port that is none": ":99999?data=page",
    "no data": ":9200",
    "empty data": ":9200?data=",
    "unknown option": ":9200?data=page&colour=red",
    "option without a value": ":9200?data=page&approval",
    "an option twice": ":9200?data=page&data=other",
    "host as an option": ":9200?data=page&host=0.0.0.0",
    "port as an option": ":9200?data=page&port=1",
    "no number": ":9200?data=page&idle_min=long",
    "infinite": ":9200?data=page&idle_min=inf",
    "no time at all": ":9200?data=page&idle_min=0",
    "no truth": ":9200?data=page&insecure=perhaps",
    "a certificate alone": ":9200?data=page&cert=c.pem",
    "a key alone": ":9200?data=page&key=k.pem",
    "no time of day": ":9200?data=page&shifts=24:00",
    "falling times": ":9200?data=page&shifts=14:00,06:00",
    "equal times": ":9200?data=page&shifts=06:00,06:00",
    "no shifts": ":9200?data=page&shifts=",
}


@pytest.mark.parametrize("address", WRONG.values(), ids=WRONG)
def test_a_wrong_address(address: str) -> None:
    with pytest.raises(PageError) as caught:
        parse_page_address(address)
    assert repr(address) in str(caught.value)
    assert "data" in str(caught.value)
