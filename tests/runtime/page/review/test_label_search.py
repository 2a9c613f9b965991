"""The search among labels."""

import pytest

from partsight.runtime.page.review.label_search import search_labels

LABELS = (
    "PinHeader_2x04",
    "PinHeader_1x04",
    "Socket_PinHeader",
    "SpinHeadercap",
    "Müller-Schraube",
    "M8x40",
    "Öse [A]",
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("pinh", ["PinHeader_1x04", "PinHeader_2x04", "Socket_PinHeader", "SpinHeadercap"]),
        ("header 2x", ["PinHeader_2x04"]),
        ("MULLER", ["Müller-Schraube"]),
        ("schraube", ["Müller-Schraube"]),
        ("ose [a", ["Öse [A]"]),
        ("  m8  ", ["M8x40"]),
        ("", []),
        ("   ", []),
        (".*", []),
        ("nothing of this", []),
    ],
)
def test_ranks(text: str, found: list[str]) -> None:
    assert search_labels(LABELS, text) == found


def test_most() -> None:
    assert search_labels(LABELS, "e", 2) == ["Öse [A]", "SpinHeadercap"]
