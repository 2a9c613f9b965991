"""A bundle as a user makes it: the command, then plain ONNX Runtime on golden images, frames of a line and others."""

from pathlib import Path

import pytest

from partsight.runtime import ModelPackage, read_image
from tests.export.test_bundle import compare
from tests.integration.commands import partsight


@pytest.fixture(scope="module")
def bundle(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundle") / "line.onnx"
    done = partsight("bundle", package, "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"bundle: {out} (")
    return out


def test_it_answers_as_the_line_does(bundle: Path, package: Path, catalog: Path, example_parts: Path) -> None:
    read = ModelPackage.read(package)
    taught = sorted(path.name for path in catalog.iterdir())
    golden = [read_image(catalog / name / "golden.jpg") for name in taught]
    line = [read_image(path) for name in taught for path in sorted((example_parts / "line" / name).iterdir())]
    unknown = [read_image(path) for path in sorted((example_parts / "unknown").iterdir())]
    accepted = compare(bundle, read, [*golden, *line, *unknown])
    assert accepted[: len(golden)].all()
    assert accepted[len(golden) : len(golden) + len(line)].mean() >= 0.9
    assert accepted[-len(unknown) :].mean() <= 0.1
