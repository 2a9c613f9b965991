"""Options that cameras pass to FFmpeg; the tests of cameras show their effect on a stream."""

import os

import cv2
import pytest

from partsight.runtime.cameras.ffmpeg import VARIABLE, open_capture


@pytest.mark.parametrize(
    ("users", "given"),
    [
        (None, "fflags;nobuffer|max_redirects;0"),
        ("", "max_redirects;0"),
        ("rtsp_transport;udp", "rtsp_transport;udp|max_redirects;0"),
        ("max_redirects;3|fflags;x", "max_redirects;3|fflags;x"),
    ],
)
def test_options_while_it_is_opened_and_not_after(
    monkeypatch: pytest.MonkeyPatch, users: str | None, given: str
) -> None:
    seen = []

    def capture(place: str, backend: int, params: list[int]) -> None:
        seen.append((place, backend, params, os.environ[VARIABLE]))

    monkeypatch.setattr(cv2, "VideoCapture", capture)
    if users is None:
        monkeypatch.delenv(VARIABLE, raising=False)
    else:
        monkeypatch.setenv(VARIABLE, users)
    open_capture("http://x/", [1, 2], options={"fflags": "nobuffer"}, bounds={"max_redirects": "0"})
    assert seen == [("http://x/", cv2.CAP_FFMPEG, [1, 2], given)]
    assert os.environ.get(VARIABLE) == users


def test_what_has_no_options_sets_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(cv2, "VideoCapture", lambda *_: VARIABLE in os.environ)
    assert open_capture("line.avi", options={}, bounds={}) is False


def test_the_variable_is_left_as_it_was_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(cv2, "VideoCapture", fails)
    for users in (None, "fflags;x"):
        if users is None:
            monkeypatch.delenv(VARIABLE, raising=False)
        else:
            monkeypatch.setenv(VARIABLE, users)
        with pytest.raises(MemoryError):
            open_capture("http://x/", options={"fflags": "nobuffer"}, bounds={"max_redirects": "0"})
        assert os.environ.get(VARIABLE) == users
