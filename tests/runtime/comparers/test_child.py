import io
import struct

import cv2
import numpy as np
import pytest

from partsight.runtime.comparers.child import serve
from partsight.runtime.comparers.messages import (
    Compared,
    Frame,
    Golden,
    Ready,
    Refused,
    Reply,
    Setup,
    Told,
    receive_reply,
    send,
)
from partsight.runtime.outlines import Outlines
from partsight.runtime.references import References, encode_reference
from partsight.runtime.verification import VerificationSpec, verify

SPEC = VerificationSpec(height=64, width=64)
RNG = np.random.default_rng(1)
GOLDENS = [cv2.GaussianBlur(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8), (0, 0), 3) for _ in range(3)]
SCORE = np.array([0.2, 0.9, 0.1], np.float32)


def replies_to(*told: Told) -> list[Reply]:
    stream, replies = io.BytesIO(), io.BytesIO()
    for message in told:
        send(message, stream)
    stream.seek(0)
    serve(stream, replies)
    replies.seek(0)
    return list(iter(lambda: receive_reply(replies), None))


def goldens() -> list[Golden]:
    return [Golden(index, encode_reference(image)) for index, image in enumerate(GOLDENS)]


def frame() -> Frame:
    return Frame(GOLDENS[1].tobytes(), SCORE.tobytes(), 0.5)


def test_what_it_says_is_what_verify_says() -> None:
    ready, compared = replies_to(Setup(SPEC, 3, None), *goldens(), frame())
    assert isinstance(ready, Ready)
    assert isinstance(compared, Compared)
    decoded = [cv2.imdecode(np.frombuffer(golden.data, np.uint8), cv2.IMREAD_COLOR) for golden in goldens()]
    assert compared.verified == verify(GOLDENS[1], SCORE, References(decoded.__getitem__, (64, 64)), SPEC, 0.5)


@pytest.mark.parametrize(("threshold", "is_few"), [(0.5, True), (2.0, False)])
def test_below_the_threshold_it_looks_at_more(threshold: float, is_few: bool) -> None:
    images = [cv2.GaussianBlur(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8), (0, 0), 3) for _ in range(6)]
    setup = Setup(SPEC, 6, Outlines.of(images).to_bytes())
    score = np.array([0.2, 0.9, 0.1, 0.3, 0.4, 0.5], np.float32)
    given = [Golden(index, encode_reference(image)) for index, image in enumerate(images)]
    _, reply = replies_to(setup, *given, Frame(images[1].tobytes(), score.tobytes(), threshold))
    assert isinstance(reply, Compared)
    assert reply.verified.classes[0] == 1
    assert (len(reply.verified.classes) <= 3) is is_few


def test_it_goes_on_after_a_golden_image_that_it_lacks() -> None:
    first, *others = goldens()
    _, refused, compared = replies_to(Setup(SPEC, 3, None), *others, frame(), first, frame())
    assert isinstance(refused, Refused)
    assert "class 0" in refused.reason
    assert isinstance(compared, Compared)


def test_a_golden_image_that_is_none_concerns_frames_of_its_part_alone() -> None:
    first, *others = goldens()
    _, refused, compared = replies_to(Setup(SPEC, 3, None), Golden(0, b"none"), *others, frame(), first, frame())
    assert isinstance(refused, Refused)
    assert isinstance(compared, Compared)


@pytest.mark.parametrize("cut", [0, 3, 8, 20])
def test_its_input_ends_anywhere(cut: int) -> None:
    stream, replies = io.BytesIO(), io.BytesIO()
    send(Setup(SPEC, 3, None), stream)
    serve(io.BytesIO(stream.getvalue()[:cut]), replies)
    assert replies.getvalue() == b""


def test_without_a_setup_it_ends() -> None:
    assert replies_to(frame()) == []


def test_a_reply_that_is_cut_short_is_none() -> None:
    assert receive_reply(io.BytesIO(struct.pack("<Q", 100) + b"x")) is None
