"""The report: its sections, its figures and its pictures."""

import io
import shutil
from pathlib import Path

import cv2
import matplotlib
import msgspec
import numpy as np
import pytest
from matplotlib.figure import Figure

from partsight.runtime.calibration.variation import Variation
from partsight.runtime.core import Pixels, Section
from partsight.train import plots
from partsight.train.catalog import read_catalog
from partsight.train.fit import Epoch
from partsight.train.pictures import ReportImages
from partsight.train.records import TuneEpoch, TuneRecord, VariedFrame
from partsight.train.report import REPORT_NAME, training_sections, write_report
from partsight.train.run_folder import ReferenceRecord, RunFolder, RunRecord

ODD = "<script>alert('&\"1\"')</script>"


def pictures(count: int, channels: tuple[int, ...] = (3,)) -> list[Pixels]:
    return [np.full((40, 50, *channels), 10 * index, np.uint8) for index in range(count)]


def drawn(figure: Figure) -> None:
    """A figure must not only be made: labels are read when it is drawn."""
    stream = io.BytesIO()
    figure.savefig(stream, dpi=50)
    assert cv2.imdecode(np.frombuffer(stream.getvalue(), np.uint8), cv2.IMREAD_COLOR) is not None


def with_frames(record: RunRecord, *frames: VariedFrame) -> RunRecord:
    return msgspec.structs.replace(record, varied=frames)


def written(run: RunFolder, record: RunRecord, folder: Path, failed: dict[int, Pixels] | None = None) -> Path:
    """Write a report next to the run's gallery."""
    shutil.copytree(run.path / "gallery", folder / "gallery")
    images = ReportImages(read_catalog(run.record.catalog).images, failed or {}, ())
    write_report(folder, record, images, folder)
    return folder


def sections(record: RunRecord, folder: Path) -> dict[str, Section]:
    """Return the sections by the first words of their titles."""
    return {" ".join(section.title.split()[:3]): section for section in training_sections(record, folder)}


def refused(part: int) -> VariedFrame:
    return VariedFrame(part, part, "unknown", 0.01, 0.01, 0, 0.0)


def test_report_of_a_run(small_run: RunFolder) -> None:
    html, record = (small_run.path / REPORT_NAME).read_text(encoding="utf-8"), small_run.record
    assert record.tolerances is not None
    data = [record.weights_sha256, record.versions["tensorflow"], f"{small_run.path}"]
    data += [
        f"{decision.threshold:.3f}" for decision in (record.calibration.matched_decision, record.calibration.decision)
    ]
    data += [series.describe() for series in record.tolerances.series]
    for datum in data:
        assert datum in html
    assert "http" not in html


def test_every_picture_is_in_the_report(small_run: RunFolder) -> None:
    found = training_sections(small_run.record, small_run.path)
    shown = {data for section in found for picture in (*section.pictures, *section.cards) for data in picture.files}
    kept = {path.read_bytes() for path in (small_run.path / "plots").iterdir()}
    assert kept <= shown
    for data in kept:
        assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) is not None


def test_no_plot_without_data(small_run: RunFolder, tmp_path: Path) -> None:
    """The section says why."""
    calibration = small_run.record.calibration
    decision = msgspec.structs.replace(calibration.matched_decision, expected_false_accept=None)
    calibration = msgspec.structs.replace(calibration, matched_decision=decision)
    record = msgspec.structs.replace(
        small_run.record, history=(Epoch(0, None, 1.0),), calibration=calibration, tolerances=None, varied=()
    )
    written(small_run, record, tmp_path)
    assert [path.name for path in (tmp_path / "plots").iterdir()] == ["variation.jpg"]
    found = sections(record, tmp_path)
    for title in ("Does the network", "When is a"):
        assert not found[title].pictures
        assert found[title].note
    assert not any(title.startswith(("Does it fit", "Which parts are", "Which simulated")) for title in found)


def test_a_run_of_an_earlier_partsight_has_the_other_sections(small_run: RunFolder, tmp_path: Path) -> None:
    record = msgspec.structs.replace(small_run.record, varied=(), look_alikes=(), tolerances=None)
    assert {"What to expect", "How was it"} <= sections(record, tmp_path).keys()  # neither plots nor gallery


def test_history_of_a_run_that_did_not_reach_its_target(
    small_run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(matplotlib.rcParams, "text.usetex", True)  # a user's matplotlibrc, where there is no LaTeX
    first, second, *rest = small_run.record.goldens
    mistaken = msgspec.structs.replace(first, predicted=second.label)
    history = (Epoch(0, None, 0.25), *(Epoch(number, 1 / number, 0.5) for number in range(1, 7)))
    record = msgspec.structs.replace(
        small_run.record, reached=False, history=history, goldens=(mistaken, second, *rest)
    )
    found = sections(record, written(small_run, record, tmp_path))["Does the network"]
    assert len(found.pictures) == 1
    ((label, answer),) = found.rows
    assert label == first.label
    assert second.label in answer


def test_labels_with_characters_of_html(small_run: RunFolder, tmp_path: Path) -> None:
    odd = msgspec.structs.replace(small_run.record.goldens[0], label=ODD, predicted="nut")
    record = msgspec.structs.replace(
        small_run.record,
        goldens=(odd, *small_run.record.goldens[1:]),
        twins=((ODD, "nut"),),
        outcome=ODD,
        varied=(refused(0), refused(1)),
    )
    failed = {0: np.zeros((*record.calibration.matching.size_hw, 3), np.uint8)}
    folder = written(small_run, record, tmp_path, failed)
    assert "<script" not in (folder / REPORT_NAME).read_text(encoding="utf-8")


def test_failed_frames_are_shown_next_to_golden_images(small_run: RunFolder, tmp_path: Path) -> None:
    labels, size_hw = small_run.record.labels, small_run.record.calibration.matching.size_hw
    wrong = VariedFrame(3, 7, "wrong", 0.6, 0.3, 7, 0.6)
    right = VariedFrame(1, 1, "right", 0.9, 0.8, 2, 0.1)
    record = with_frames(small_run.record, right, refused(2), wrong, refused(4))
    failed = {index: np.full((*size_hw, 3), 99, np.uint8) for index in (1, 2)}
    folder = written(small_run, record, tmp_path, failed)
    cards = sections(record, folder)["Which simulated frames"].cards
    assert [card.caption for card in cards] == [labels[3], labels[2]]  # the wrong one first; the last has no picture
    assert labels[7] in cards[0].note
    goldens = {part: (folder / "gallery" / f"{part:05}.jpg").read_bytes() for part in (2, 3, 7)}
    assert (cards[0].files[0], cards[0].files[2]) == (goldens[3], goldens[7])
    assert cards[1].files[0] == goldens[2]
    assert len(cards[1].files) == 2


def test_no_failed_frame(small_run: RunFolder, tmp_path: Path) -> None:
    record = with_frames(small_run.record, VariedFrame(1, 1, "right", 0.9, 0.8, 2, 0.1))
    found = sections(record, tmp_path)["Which simulated frames"]
    assert found.text
    assert not found.cards


def test_weak_parts_are_in_the_table(small_run: RunFolder, tmp_path: Path) -> None:
    labels = small_run.record.labels
    record = with_frames(small_run.record, refused(5), refused(5), VariedFrame(4, 4, "right", 0.9, 0.8, 2, 0.1))
    section = sections(record, tmp_path)["Which parts are"]
    assert section.table is not None
    assert [row[:4] for row in section.table.rows] == [(labels[5], "2", "2", "0"), (labels[4], "1", "0", "0")]
    assert all(len(row) == len(section.table.head) for row in section.table.rows)
    assert str(len(labels) - 2) in section.note  # parts without a varied image


def test_parts_with_several_references_are_counted(small_run: RunFolder, tmp_path: Path) -> None:
    first, second, *_ = small_run.record.labels
    further = tuple(ReferenceRecord(label, "a.png", "0") for label in (second, first, second))
    found = sections(msgspec.structs.replace(small_run.record, further=further), tmp_path)
    assert found["Which parts have"].rows == ((first, "2 images"), (second, "3 images"))
    assert "Which parts have" not in sections(small_run.record, tmp_path)


def test_look_alikes_are_in_the_table(small_run: RunFolder) -> None:
    labels, record = small_run.record.labels, small_run.record
    section = sections(record, small_run.path)["Which parts look"]
    assert section.table is not None
    assert [row[:2] for row in section.table.rows] == [
        (labels[pair.first], labels[pair.second]) for pair in record.look_alikes
    ]
    assert len(section.pictures) >= 3


def test_a_report_of_one_part_mentions_no_other(small_run: RunFolder, tmp_path: Path) -> None:
    one = msgspec.structs.replace(small_run.record, goldens=small_run.record.goldens[:1], varied=(), look_alikes=())
    assert "Which parts look" not in sections(one, tmp_path)


def test_curves_of_training() -> None:
    history = [Epoch(0, None, 0.25), Epoch(1, 2.5, 0.5), Epoch(2, 1.25, 1.0)]
    figure = plots.curves(history, 0.99)
    accuracy, loss = figure.axes
    np.testing.assert_array_equal(accuracy.lines[0].get_xydata(), [[0, 25], [1, 50], [2, 100]])
    np.testing.assert_array_equal(accuracy.lines[1].get_ydata(), [99, 99])
    np.testing.assert_array_equal(loss.lines[0].get_xydata(), [[1, 2.5], [2, 1.25]])
    drawn(figure)


def test_curves_of_fine_tuning() -> None:
    epochs = (TuneEpoch(0, None, 1.0, 0.8, 0.001, 1.0), TuneEpoch(1, 0.5, 0.99, 0.9, 0.001, 1.0))
    record = TuneRecord(
        plan=(),
        batch_norm_layers=1,
        cut="a",
        copies=1,
        history=epochs,
        floor=0.98,
        dropped=False,
        best_epoch=1,
        outcome="",
    )
    figure = plots.tuning_curves(record)
    accuracy, loss = figure.axes
    assert [line.get_ydata()[0] for line in accuracy.lines[:3]] == pytest.approx([100, 80, 98])
    np.testing.assert_array_equal(loss.lines[0].get_xydata(), [[1, 0.5]])
    drawn(figure)


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (3, 3), (9, 4)])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_variation_samples(count: int, rows: int, channels: tuple[int, ...]) -> None:
    """A golden image, then copies of it that differ; the same seed draws the same."""
    images = pictures(count, channels)
    shown, again = (plots.variation_samples(images, Variation(), seed=3) for _ in range(2))
    np.testing.assert_array_equal(shown, again)
    tiles = shown.reshape(rows, 132, 7, 132, 3)[:, 2:-2, :, 2:-2].swapaxes(1, 2)
    for golden_image, *copies in tiles:
        assert np.ptp(golden_image) == 0
        assert int(golden_image[0, 0, 0]) in range(0, 10 * count, 10)
        assert any((copy != golden_image).any() for copy in copies) or golden_image.max() == 0


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


def test_every_axis_has_a_name_and_its_unit(small_run: RunFolder) -> None:
    assert small_run.record.tolerances is not None
    figures = [plots.reject_curves(small_run.record.calibration), plots.tolerance_curves(small_run.record.tolerances)]
    for axes in (axes for figure in figures for axes in figure.axes if axes.has_data()):
        name = axes.get_xlabel() or " ".join(label.get_text() for label in axes.get_xticklabels())
        assert len(name) > 3, axes.get_title()
