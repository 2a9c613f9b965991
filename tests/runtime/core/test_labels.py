import pytest

from partsight.runtime.core.labels import folded, is_usable, normalized


@pytest.mark.parametrize("label", ["M8x40", "Müller 4", ".25in-washer", "螺丝"])
def test_usable(label: str) -> None:
    assert is_usable(label)


@pytest.mark.parametrize("label", ["", " M8", "M8 ", "M\n8", "M\t8", "M8\x7f", "\u202eM8", "M8\udc80"], ids=ascii)
def test_not_usable(label: str) -> None:
    assert not is_usable(label)


def test_accents_in_another_encoding() -> None:
    assert normalized("mu\u0308ller") == "m\u00fcller"
    assert normalized("M8") != normalized("m8")


def test_names_that_are_one_elsewhere() -> None:
    assert folded("M\u00fcller") == folded("mu\u0308LLER")
    assert folded("M8") != folded("M9")
