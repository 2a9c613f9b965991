"""The report: its page and its plots."""

import base64
import io
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import msgspec
import numpy as np
import pytest
from matplotlib.figure import Figure

from partsight.runtime.calibration.variation import Variation
from partsight.runtime.core.arrays import Pixels
from partsight.train import plots
from partsight.train.catalog import read_catalog
from partsight.train.fit import Epoch
from partsight.train.page import Section, render_page
from partsight.train.report import REPORT_NAME, write_report
from partsight.train.run_folder import GoldenRecord, RunFolder, RunRecord

ODD = "<script>alert('&\"1\"')</script>"


class Page(HTMLParser):
    """Parsed report: its tags, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []
        self.sources: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def golden(label: str, predicted: str, nearest: str, margin: float = 0.1) -> GoldenRecord:
    return GoldenRecord(label, f"{label}.png", "0", "0", predicted, 0.9, margin, nearest)


def pictures(count: int, channels: tuple[int, ...] = (3,)) -> list[Pixels]:
    return [np.full((40, 50, *channels), 10 * index, np.uint8) for index in range(count)]


def drawn(figure: Figure) -> None:
    """A figure must not only be made: labels are read when it is drawn."""
    stream = io.BytesIO()
    figure.savefig(stream, dpi=50)
    assert cv2.imdecode(np.frombuffer(stream.getvalue(), np.uint8), cv2.IMREAD_COLOR) is not None


def titles(figure: Figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes if axes.get_title()]


def written(tmp_path: Path, record: RunRecord, images: Any) -> str:
    write_report(tmp_path, record, images)
    return (tmp_path / REPORT_NAME).read_text(encoding="utf-8")


def test_report_of_a_run(small_run: RunFolder) -> None:
    html = (small_run.path / REPORT_NAME).read_text(encoding="utf-8")
    page, record = Page(html), small_run.record
    text = " ".join(page.text)
    found = record.calibration
    tolerances = record.tolerances
    assert tolerances is not None
    data = ["12 parts", "12 of 12", record.outcome, record.weights_sha256, record.versions["tensorflow"]]
    data += [f"{found.expected_right:.2%}", f"{found.expected_wrong:.2%}"]
    data += [f"{decision.threshold:.3f}" for decision in (found.matched_decision, found.decision)]
    data += [series.describe() for series in tolerances.series]
    for datum in data:
        assert datum in text
    assert 'class="verdict good"' in html


def test_report_can_be_read_without_a_network(small_run: RunFolder) -> None:
    html = (small_run.path / REPORT_NAME).read_text(encoding="utf-8")
    sources = Page(html).sources
    assert len(sources) == 6
    names = [
        "variation.png",
        "tolerances.png",
        "reject_curves.png",
        "closest_pairs.png",
        "curves.png",
        "misclassification.png",
    ]
    assert sorted(path.name for path in (small_run.path / "plots").iterdir()) == sorted(names)
    for source, name in zip(sources, names, strict=True):
        kind, data = source.split(",")
        assert kind == "data:image/png;base64"
        assert base64.b64decode(data) == (small_run.path / "plots" / name).read_bytes()
        assert cv2.imread(str(small_run.path / "plots" / name)) is not None
    assert "http" not in html


def test_report_of_a_run_that_did_not_reach_its_target(
    small_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(matplotlib.rcParams, "text.usetex", True)  # a user's matplotlibrc, where there is no LaTeX
    record = msgspec.structs.replace(
        small_run.record,
        reached=False,
        outcome="stopped after 6 epochs",
        history=(Epoch(0, None, 0.25), *(Epoch(number, 1 / number, 0.5) for number in range(1, 7))),
        goldens=(
            msgspec.structs.replace(small_run.record.goldens[0], predicted=small_run.record.labels[1]),
            *small_run.record.goldens[1:],
        ),
    )
    html = written(tmp_path, record, read_catalog(record.catalog).images)
    assert 'class="verdict bad"' in html
    assert "stopped after 6 epochs" in html
    assert "11 of 12" in html


def test_labels_with_characters_of_html(small_run: RunFolder, tmp_path: Path) -> None:
    odd = msgspec.structs.replace(small_run.record.goldens[0], label=ODD, predicted=ODD)
    record = msgspec.structs.replace(
        small_run.record,
        goldens=tuple(msgspec.structs.replace(one, nearest=ODD) for one in (odd, *small_run.record.goldens[1:])),
        twins=((ODD, "nut"),),
        catalog=f"/golden/{ODD}",
        outcome=ODD,
    )
    html = written(tmp_path, record, read_catalog(small_run.record.catalog).images)
    page = Page(html)
    assert "script" not in page.tags
    assert "<script" not in html
    assert f"{ODD} and nut" in "".join(page.text)
    assert f"/golden/{ODD}" in "".join(page.text)
    assert set(page.tags) <= set(Page((small_run.path / REPORT_NAME).read_text(encoding="utf-8")).tags)


def test_every_text_of_a_page_is_escaped(tmp_path: Path) -> None:
    shutil.copy(_a_picture(tmp_path), tmp_path / "b.png")
    html = render_page(ODD, ODD, True, [Section(ODD, ODD, ((ODD, ODD),), ((ODD, tmp_path / "b.png"),))])
    page = Page(html)
    assert "script" not in page.tags
    assert "".join(page.text).count(ODD) == 8
    assert len(re.findall('alt="[^"<>]*"', html)) == 1


def _a_picture(folder: Path) -> Path:
    assert cv2.imwrite(str(folder / "a.png"), np.zeros((8, 8), np.uint8))
    return folder / "a.png"


def test_sections_without_anything() -> None:
    page = Page(render_page("title", "verdict", False, [Section("alone")]))
    assert {"table", "figure"}.isdisjoint(page.tags)


def test_curves_of_training() -> None:
    history = [Epoch(0, None, 0.25), Epoch(1, 2.5, 0.5), Epoch(2, 1.25, 1.0)]
    figure = plots.curves(history, 0.99)
    accuracy, loss = figure.axes
    np.testing.assert_array_equal(accuracy.lines[0].get_xydata(), [[0, 0.25], [1, 0.5], [2, 1]])
    np.testing.assert_array_equal(accuracy.lines[1].get_ydata(), [0.99, 0.99])
    np.testing.assert_array_equal(loss.lines[0].get_xydata(), [[1, 2.5], [2, 1.25]])
    drawn(figure)


def test_curves_without_an_epoch() -> None:
    figure = plots.curves([Epoch(0, None, 1.0)], 0.99)
    assert "no epoch" in figure.axes[1].texts[0].get_text()
    drawn(figure)


def test_misclassification() -> None:
    goldens = [golden("a", "a", "b", 0.3), golden("b", "c", "b", 0.1), golden("c", "c", "b", 0.2)]
    figure = plots.misclassification(goldens)
    right, wrong = figure.axes[0].collections
    np.testing.assert_allclose(right.get_offsets(), [[0, 0.3], [2, 0.2]])
    np.testing.assert_allclose(wrong.get_offsets(), [[1, 0.1]])
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["right: 2", "wrong: 1"]
    drawn(figure)


def test_closest_pairs_are_the_hardest() -> None:
    goldens = [
        golden("a", "a", "b", 0.5),
        golden("b", "b", "c", 0.1),
        golden("c", "c", "b", 0.1),
        golden("d", "a", "d"),
    ]
    figure = plots.closest_pairs(goldens, pictures(4))
    assert [title.split("\n")[:2] for title in titles(figure)] == [["d", "a"], ["b", "c"], ["a", "b"]]
    assert titles(figure)[0].endswith(", WRONG")
    assert not any(title.endswith("WRONG") for title in titles(figure)[1:])
    shown = figure.axes[0].images[0].get_array()
    assert shown.shape == (128, 256, 3)
    assert {int(shown[:, :128].max()), int(shown[:, 128:].max())} == {30, 0}  # d, then a
    drawn(figure)


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (3, 3), (9, 4)])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_variation_samples(count: int, rows: int, channels: tuple[int, ...]) -> None:
    """A golden image, then copies of it that differ; the same seed draws the same."""
    images = pictures(count, channels)
    figure, again = (plots.variation_samples(images, Variation(), seed=3) for _ in range(2))
    grid = [axes.images[0].get_array() for axes in figure.axes]
    assert len(grid) == 7 * rows
    for row in range(rows):
        golden_image, *copies = grid[7 * row : 7 * row + 7]
        assert np.ptp(golden_image) == 0
        assert int(golden_image[0, 0, 0]) in range(0, 10 * count, 10)
        assert any((copy != golden_image).any() for copy in copies) or golden_image.max() == 0
    for axes, other in zip(figure.axes, again.axes, strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), other.images[0].get_array())
    drawn(figure)


def test_reject_curves(small_run: RunFolder) -> None:
    found = small_run.record.calibration
    figure = plots.reject_curves(found)
    cost, trade = figure.axes
    taught, unknown, chosen = cost.lines
    np.testing.assert_allclose(taught.get_xdata(), found.matched_curve.threshold)
    np.testing.assert_allclose(taught.get_ydata(), 100 * np.array(found.matched_curve.false_reject))
    np.testing.assert_allclose(unknown.get_ydata(), 100 * np.array(found.matched_curve.false_accept))
    assert set(chosen.get_xdata()) == {found.matched_decision.threshold}
    alone, laid_over = trade.lines
    np.testing.assert_allclose(alone.get_ydata(), 100 * (1 - np.array(found.curve.false_accept)))
    np.testing.assert_allclose(laid_over.get_xdata(), 100 * np.array(found.matched_curve.false_reject))
    drawn(figure)


def test_closest_pairs_are_so_many() -> None:
    names = [f"{index:02}" for index in range(20)]
    goldens = [golden(name, name, names[index - 1]) for index, name in enumerate(names)]
    assert len(titles(plots.closest_pairs(goldens, pictures(20), count=5))) == 5


@pytest.mark.parametrize("channels", [(), (3,)])
def test_closest_pairs_of_one_part(channels: tuple[int, ...]) -> None:
    drawn(plots.closest_pairs([golden("only", "only", "only")], pictures(1, channels)))


def test_closest_pairs_are_in_true_colour() -> None:
    blue_bgr = np.zeros((40, 40, 3), np.uint8)
    blue_bgr[:, :, 0] = 255
    figure = plots.closest_pairs([golden("only", "only", "only")], [blue_bgr])
    assert figure.axes[0].images[0].get_array()[0, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize("label", ["cost $5_^$ each", "$^$", "a_b^c", "\\frac", "<b>", "x" * 300])
def test_labels_that_are_no_formula(label: str) -> None:
    figure = plots.closest_pairs([golden(label, label, label)], pictures(1))
    drawn(figure)
    assert len(titles(figure)[0].split("\n")[0]) <= 44


def test_long_labels_keep_both_ends() -> None:
    label = "header_" + "x" * 100 + "_12_pins"
    (title,) = titles(plots.closest_pairs([golden(label, label, label)], pictures(1)))
    short = title.split("\n")[0]
    assert short.startswith("header_")
    assert short.endswith("_12_pins")


def test_a_report_of_one_part_mentions_no_other(small_run: RunFolder, tmp_path: Path) -> None:
    """Neither of unknown ones, nor of such that look alike."""
    record = small_run.record
    decision = msgspec.structs.replace(record.calibration.matched_decision, expected_false_accept=None)
    calibration = msgspec.structs.replace(record.calibration, matched_decision=decision)
    one = msgspec.structs.replace(record, calibration=calibration, goldens=(golden("bolt", "bolt", "bolt"),))
    of_one = Page(written(tmp_path, one, pictures(1)))
    of_twelve = Page((small_run.path / REPORT_NAME).read_text("utf-8"))
    assert of_one.tags.count("h2") == of_twelve.tags.count("h2") - 1
    assert of_one.tags.count("img") == of_twelve.tags.count("img") - 2
