from pathlib import Path

import pytest

from partsight.cli.dashed import restore, shield
from partsight.cli.main import main

NAMED = {
    "--label -M8 a.png --out N": ["--label", "-M8", "a.png", "--out", "N"],
    "--label=-M8 a.png -b.png --out N": ["--label", "-M8", "a.png", "-b.png", "--out", "N"],
    "--label=--M8=x a.png": ["--label", "--M8=x", "a.png"],
    "--lab -M8 a.png": ["--lab", "-M8", "a.png"],
    "--remove -M8 -M9 --seed -1": ["--remove", "-M8", "-M9", "--seed", "-1"],
    "--out=-N --label M8 a.png -h": ["--out=-N", "--label", "M8", "a.png", "-h"],
    "-- --label": ["--", "--label"],
}


@pytest.mark.parametrize("typed", NAMED)
def test_arguments_stay_what_they_were(typed: str) -> None:
    assert [restore(text) for text in shield(typed.split())] == NAMED[typed]


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--label", "-M8", "nothing.png"], ["-M8", "nothing.png"]),
        (["--label=-M8", "nothing.png"], ["-M8", "nothing.png"]),
        (["--label=--M8", "-nothing.png"], ["--M8", "-nothing.png"]),
        (["--label", "-x=1", "nothing.png", "--remove", "-M8", "-M9"], ["-x=1", "-M8", "-M9"]),
        (["--remove=--M8", "-M9"], ["--M8", "-M9"]),
    ],
)
def test_parts_with_a_dash(
    options: list[str], names: list[str], tiny_package: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx")
    assert main(["enroll", str(tiny_package), "--out", str(tmp_path / "new"), *options]) == 1
    error = capsys.readouterr().err
    for name in names:
        assert name in error
    assert "\0" not in error
