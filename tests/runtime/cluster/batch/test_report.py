"""The report of a comparison: the verdict first, then the changes, with pictures by both packages."""

import re
from pathlib import Path

import cv2
import numpy as np
import pyarrow
import pytest

from partsight.runtime import ModelPackage
from partsight.runtime.cluster.batch.comparison import Comparison, compare
from partsight.runtime.cluster.batch.recognition import AskedPackage, Opening, RecognizeChunk
from partsight.runtime.cluster.batch.report import ReportFacts, write_report
from partsight.runtime.cluster.batch.sources import Chunk, cut, list_source
from partsight.runtime.cluster.batch.verdict import ComparedPackage
from partsight.runtime.cluster.batch.why import ExplainedChange, explain_changes, reference_to, share_bar
from tests.runtime.cluster.batch.archives import frame


@pytest.fixture(scope="session")
def chunks(archive: Path) -> list[Chunk]:
    return cut(list_source(archive), 16)


@pytest.fixture(scope="session")
def comparison(
    package: Path, altered: Path, chunks: list[Chunk], tmp_path_factory: pytest.TempPathFactory
) -> Comparison:
    """The comparison of a package with one that has mixed two golden images up."""
    asked = tuple(AskedPackage(path, ModelPackage.read(path).package_id) for path in (altered, package))
    work = RecognizeChunk(asked, Opening(threads=1), 1)
    tables: list[pyarrow.Table] = [work(chunk) for chunk in chunks]
    return compare(tables, tmp_path_factory.mktemp("changes") / "changes.csv")


@pytest.fixture(scope="session")
def explained(comparison: Comparison, package: Path, altered: Path, chunks: list[Chunk]) -> list[ExplainedChange]:
    return explain_changes(comparison.sample, chunks, package, altered, "fp32")


def test_a_reference_to_any_frame(chunks: list[Chunk]) -> None:
    sources = [reference.source for chunk in chunks for reference in chunk.frames.references()]
    for index in (0, 15, 16, 47, 90):
        assert reference_to(chunks, index).source == sources[index]


def test_the_sample_is_explained_by_both_packages(
    comparison: Comparison, explained: list[ExplainedChange], chunks: list[Chunk]
) -> None:
    assert [item.frame for item in explained] == comparison.sample
    for item in explained:
        assert (item.old.answer.label, item.new.answer.label) == (item.frame.old_label, item.frame.label)
        assert all(picture.ndim == 3 for picture in item.pictures)
    number = int(Path(explained[0].frame.source).stem)
    np.testing.assert_array_equal(reference_to(chunks, explained[0].frame.index).read(), frame(number))


def test_a_frame_that_went_away_is_left_out(
    comparison: Comparison, package: Path, altered: Path, tmp_path: Path
) -> None:
    gone = cut(list_source(next(iter(_copied(comparison, tmp_path)))), 1000)
    for path in tmp_path.rglob("*.png"):
        path.unlink()
    assert explain_changes(comparison.sample[:1], gone, package, altered, "fp32") == []


def _copied(comparison: Comparison, folder: Path) -> list[Path]:
    target = folder / "frames"
    target.mkdir()
    for index in range(comparison.sample[0].index + 1):
        assert cv2.imwrite(str(target / f"{index:05d}.png"), frame(index))
    return [target]


def test_the_page(
    comparison: Comparison,
    explained: list[ExplainedChange],
    package: Path,
    altered: Path,
    archive: Path,
    tmp_path: Path,
) -> None:
    old, new = (
        ComparedPackage(path, "id", frozenset(ModelPackage.read(path).manifest.labels), "2025-01-01")
        for path in (package, altered)
    )
    facts = ReportFacts(comparison, explained, old, new, archive, tmp_path / "results.changes.csv")
    write_report(tmp_path / "report.html", facts)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert page.index(facts.verdict.sentence) < page.index("<h2>")
    assert f"{comparison.compared:,} frames" in page
    pictures = re.findall(r'src="data:image/jpeg;base64,', page)
    assert len(pictures) == 1 + sum(len(item.pictures) for item in explained) + 2 * page.count("<h2>Why: ")
    assert not re.search(r'(?:src|href)="http', page)


def test_the_bar_shows_one_frame_in_a_million() -> None:
    done = Comparison()
    done.counts.update({"same": 999_998, "other_label": 1, "label_lost": 1})
    bar = share_bar(done)
    colours = {tuple(pixel) for pixel in bar[10].tolist()}
    assert len(colours) == 3
