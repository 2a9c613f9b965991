import pytest

from partsight.train.part_names import find_clashing, find_unusable, without_copy


@pytest.mark.parametrize(
    "name",
    [
        "M8 copy",
        "M8 copy 2",
        "M8 - Copy",
        "M8 - Copy (2)",
        "M8 - Kopie",
        "M8 (copy)",
        "M8 (1)",
        "M8 (3rd copy)",
        "M8 (another copy)",
        "M8 – Cópia",
        "Copie de M8",
        "Copy of M8",
        "kopie von M8",
    ],
)
def test_names_of_copies(name: str) -> None:
    assert without_copy(name) == "M8"


@pytest.mark.parametrize("name", ["M8", "photocopy", "copy", "M8 (10 mm)", "M8 1", "(1)"])
def test_names_of_no_copies(name: str) -> None:
    assert without_copy(name) == name


def test_faults_of_names() -> None:
    assert [fault.split(":")[0] for fault in find_clashing(["bolt", "nut", "Bolt", "pin"])] == ["bolt and Bolt"]
    assert [fault.split(":")[0] for fault in find_unusable(["bolt", " nut", "p\tin"])] == ["' nut'", "'p\\tin'"]
