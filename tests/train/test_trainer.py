import hashlib
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from partsight.runtime.core.errors import CatalogError, OutputError, TrainingError
from partsight.runtime.images.image_file import read_image
from partsight.runtime.images.preprocessing import Region, preprocess
from partsight.runtime.matching import BANK_FILE
from partsight.train import trainer
from partsight.train.catalog import read_catalog
from partsight.train.features import Extractor, FeatureCache
from partsight.train.heads import find_head
from partsight.train.run_folder import MODEL_NAME, RECORD_NAME, RunFolder, TrainConfig
from partsight.train.trainer import train
from tests.faults import tiny_backbone
from tests.processes import running
from tests.waiting import HANG_S, wait_until

SMALL = TrainConfig(side_px=64)
CACHE = ".partsight-cache"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def cached(folder: Path) -> dict[str, int]:
    """When each cached feature was written."""
    return {path.name: path.stat().st_mtime_ns for path in (folder / CACHE).rglob("*.npy")}


def first_goldens(small_catalog: Path, folder: Path, count: int) -> Path:
    for source in sorted(small_catalog.iterdir())[:count]:
        shutil.copytree(source, folder / source.name)
    return folder


def test_what_a_run_leaves(small_run: RunFolder, small_catalog: Path) -> None:
    assert names(small_run.path) == [BANK_FILE, "gallery", MODEL_NAME, "plots", "report.html", RECORD_NAME]
    assert names(small_run.path.parent) == [CACHE, "run"]
    assert len(cached(small_run.path.parent)) == 12


def test_the_record_of_a_run(small_run: RunFolder, small_catalog: Path) -> None:
    record, catalog = small_run.record, read_catalog(small_catalog)
    assert record.reached
    assert record.golden_accuracy == record.history[-1].golden_accuracy == 1
    assert record.labels == catalog.labels
    assert record.catalog_sha256 == catalog.sha256
    assert Path(record.catalog) == small_catalog.resolve()
    assert record.config == SMALL
    assert record.backbone_weights == "embedded"
    assert (record.preprocess.height, record.preprocess.width, record.preprocess.color) == (64, 64, "bgr")
    assert record.preprocess.via == (192, 192)
    assert record.model_sha256 == hashlib.sha256((small_run.path / MODEL_NAME).read_bytes()).hexdigest()
    assert {"python", "tensorflow", "keras", "numpy", "partsight"} <= set(record.versions)
    decision, verified = record.calibration.decision, record.calibration.matched_decision
    assert decision.samples == verified.samples == 120
    assert (decision.score, verified.score) == ("cosine", "agreement")
    assert 0 < decision.threshold <= 1
    assert 0 < verified.threshold <= 1 + verified.by_margin + verified.by_network
    assert (record.calibration.matching.height, record.calibration.matching.width) == (192, 192)
    assert record.calibration.expected_right + record.calibration.expected_wrong <= 1
    for golden, expected in zip(record.goldens, catalog.goldens, strict=True):
        assert small_catalog / golden.file == expected.path
        assert golden.sha256 == expected.sha256
        pixels = preprocess([read_image(expected.path)], record.preprocess)
        assert golden.pixels_sha256 == hashlib.sha256(pixels.tobytes()).hexdigest()
        assert golden.predicted == golden.label != golden.nearest
        assert golden.score == pytest.approx(1, abs=1e-4)


def test_stacked_and_bottleneck_model_agree(small_run: RunFolder, small_catalog: Path, extractor: Extractor) -> None:
    catalog = read_catalog(small_catalog)
    cache = FeatureCache(small_run.path.parent / CACHE)
    features, computed = cache.golden_features(extractor, catalog.goldens)
    assert computed == 0
    stacked = small_run.load_model()
    whole = stacked.predict_on_batch(preprocess(catalog.images[:], small_run.record.preprocess))["score"]
    bottleneck = stacked.layers[-1].predict_on_batch(features)["score"]
    np.testing.assert_allclose(whole, bottleneck, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("tiny_backbone")
def test_the_same_seed_and_catalogue_give_the_same_weights(small_catalog: Path, tmp_path: Path) -> None:
    """From separate caches; a dense head, because its first layer is random."""
    dense = TrainConfig(head="dense", side_px=64, seed=4)
    catalog = first_goldens(small_catalog, tmp_path / "golden", 4)
    records = [train(catalog, tmp_path / name, dense, tmp_path / f"{name} cache").record for name in "ab"]
    assert records[0].weights_sha256 == records[1].weights_sha256
    assert records[0].calibration == records[1].calibration
    assert records[0].goldens == records[1].goldens
    assert records[0].reached
    decision = records[0].calibration.decision
    assert decision.score == "probability"
    assert 0 < decision.threshold <= 1


@pytest.mark.usefixtures("tiny_backbone")
def test_further_references_enter_the_comparison_and_not_the_network(small_catalog: Path, tmp_path: Path) -> None:
    catalog = first_goldens(small_catalog, tmp_path / "golden", 4)
    single = train(catalog, tmp_path / "single", SMALL)
    labels = single.record.labels
    for number in (10, 9):
        image = read_image(catalog / labels[2] / "golden.jpg")
        cv2.imwrite(str(catalog / labels[2] / f"{number}.png"), np.roll(image, number, axis=1))
    several = train(catalog, tmp_path / "several", SMALL)
    record = several.record
    assert record.weights_sha256 == single.record.weights_sha256
    assert record.goldens == single.record.goldens
    assert record.catalog_sha256 == read_catalog(catalog).sha256 != single.record.catalog_sha256
    assert [(item.label, item.file) for item in record.further] == [
        (labels[2], f"{labels[2]}/9.png"),
        (labels[2], f"{labels[2]}/10.png"),
    ]
    was, now = single.load_gallery(), several.load_gallery()
    assert was is not None
    assert now is not None
    assert now.records["class"].tolist() == [0, 1, 2, 2, 2, 3] == list(record.class_of)
    assert now.records[[0, 1, 2, 5]].tobytes() == was.records.tobytes()
    assert now.golden_files == was.files
    assert names(several.path / "gallery") == [f"0000{number}.jpg" for number in range(6)]


def test_the_seed_draws_the_first_weights() -> None:
    kernels = []
    for seed in (1, 1, 2):
        trainer.make_deterministic(seed)
        kernels.append(find_head("dense").build(8, 2).get_weights()[0])
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert (kernels[0] != kernels[2]).any()


@pytest.mark.usefixtures("tiny_backbone")
def test_grey_images_and_a_region(small_catalog: Path, tmp_path: Path) -> None:
    for golden in read_catalog(small_catalog).goldens[:4]:
        grey = cv2.cvtColor(read_image(golden.path), cv2.COLOR_BGR2GRAY)
        cv2.imwrite(str(tmp_path / f"{golden.label}.png"), grey)
    config = msgspec.structs.replace(SMALL, region=Region(20, 30, 200, 190))
    record = train(tmp_path, tmp_path / ".runs" / "run", config).record
    assert record.reached
    assert record.preprocess.color == "mono"
    assert record.preprocess.region == config.region
    assert (record.calibration.matching.height, record.calibration.matching.width) == (180, 192)
    assert record.preprocess.via == (180, 192)


@pytest.mark.usefixtures("tiny_backbone")
def test_one_part(small_catalog: Path, tmp_path: Path) -> None:
    record = train(first_goldens(small_catalog, tmp_path / "golden", 1), tmp_path / "run", SMALL).record
    assert record.reached
    assert record.goldens[0].nearest == record.goldens[0].predicted == record.labels[0]
    assert record.calibration.matched_decision.expected_false_accept is None  # there is nothing to take it for
    assert record.calibration.expected_right == 1
    assert RunFolder.read(tmp_path / "run").record == record


@pytest.mark.usefixtures("tiny_backbone")
def test_parts_that_look_the_same_at_the_networks_size(tmp_path: Path) -> None:
    """They are twins; the run says that it did not succeed, and can be read."""
    image = np.full((256, 256, 3), 90, np.uint8)
    for label, brightest in {"bolt": 90, "nut": 91}.items():
        image[0, 0] = brightest
        (tmp_path / "golden").mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / "golden" / f"{label}.png"), image)
    config = msgspec.structs.replace(SMALL, max_epochs=5)
    run = train(tmp_path / "golden", tmp_path / "run", config)
    assert run.record.twins == (("bolt", "nut"),)
    assert not run.record.reached
    assert run.record.golden_accuracy == 0.5
    assert "too alike" in run.record.outcome
    assert run.record.calibration.matched_decision.threshold > 0  # what fits both is refused, not let through
    assert (run.record.calibration.expected_right, run.record.calibration.expected_wrong) == (0, 0)
    assert "bolt and nut" in (run.path / "report.html").read_text(encoding="utf-8")
    assert RunFolder.read(run.path).record == run.record


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        (TrainConfig(backbone="Lite"), TrainingError, "backbone 'Lite' is not known"),
        (TrainConfig(head="linear"), TrainingError, "head 'linear' is not known"),
        (TrainConfig(weights="nowhere.npz"), TrainingError, "there is no such file"),
        (TrainConfig(backbone="InceptionV3", weights="none", side_px=64), TrainingError, "at least 75"),
        (TrainConfig(region=Region(200, 0, 100, 100)), CatalogError, "256×256 px"),
        (TrainConfig(side_px=64, budget="full", cut="b14"), TrainingError, "'b14'"),
        (
            TrainConfig(backbone="VGG16", weights="none", side_px=32, budget="full", cut="block5_pool"),
            TrainingError,
            "block1_pool, .*, block4_pool$",
        ),
    ],
    ids=["backbone", "head", "weights", "too small", "region", "wrong cut", "last cut"],
)
def test_what_cannot_be_trained(
    small_catalog: Path, tmp_path: Path, config: TrainConfig, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        train(small_catalog, tmp_path / "run", config)
    assert names(tmp_path) == []


@pytest.mark.usefixtures("tiny_backbone")
def test_a_network_without_a_cut_cannot_be_fine_tuned(
    small_catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its only one is the end of the network, after which nothing would train."""
    monkeypatch.setattr(tiny_backbone.TinyBackbone, "cuts", lambda *_: ("b2_out",))
    with pytest.raises(TrainingError, match="--budget quick"):
        train(small_catalog, tmp_path / "run", msgspec.structs.replace(SMALL, budget="full"))
    assert names(tmp_path) == []


def test_a_bad_catalogue_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "golden").mkdir()
    with pytest.raises(CatalogError, match=re.escape(str(tmp_path / "golden"))):
        train(tmp_path / "golden", tmp_path / "run", SMALL)
    assert names(tmp_path) == ["golden"]


@pytest.mark.parametrize("is_folder", [True, False])
def test_an_output_that_exists(tmp_path: Path, is_folder: bool) -> None:
    """Training refuses before any work, even before it reads the catalogue."""
    out = tmp_path / "run"
    if is_folder:
        out.mkdir()
        (out / "keep.txt").write_text("mine")
    else:
        out.write_text("mine")
    with pytest.raises(OutputError, match=re.escape(str(out))):
        train(tmp_path / "no catalogue", out, SMALL)
    assert (out / "keep.txt" if is_folder else out).read_text() == "mine"
    assert names(tmp_path) == ["run"]


@pytest.mark.usefixtures("tiny_backbone")
def test_a_cache_that_cannot_be_written(small_catalog: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(OutputError, match=re.escape(str(tmp_path / "cache"))):
        train(small_catalog, tmp_path / "run", SMALL, tmp_path / "cache")
    assert names(tmp_path) == ["cache"]


def interrupt(*args: Any, **options: Any) -> Any:
    raise KeyboardInterrupt


@pytest.mark.usefixtures("tiny_backbone")
def test_ctrl_c_leaves_no_run_and_the_same_command_goes_on(
    small_catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, out = first_goldens(small_catalog, tmp_path / "golden", 4), tmp_path / "runs" / "run"
    for name in ("fit_head", "write_report"):
        with monkeypatch.context() as patch:
            patch.setattr(trainer, name, interrupt)
            with pytest.raises(KeyboardInterrupt):
                train(catalog, out, SMALL)
        assert names(out.parent) == [CACHE]
    before = cached(out.parent)
    assert len(before) == 4
    run = train(catalog, out, SMALL)
    assert run.record.reached
    assert cached(out.parent) == before
    assert names(out.parent) == [CACHE, "run"]


_SLOW_TRAINING = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job of a shell would ignore it
from partsight.cli import main
from partsight.train import calibration, tolerance, trainer
from tests.faults import tiny_backbone
calibration.MIN_SAMPLE, tolerance.SAMPLE, trainer.find_backbone = 1, 1, tiny_backbone.find  # as in the test
def slow(*args):
    time.sleep(1000)
trainer.write_report = slow
sys.exit(main.main(["train", sys.argv[1], "--out", sys.argv[2], "--side", "64"]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT")
@pytest.mark.usefixtures("tiny_backbone")
def test_a_real_ctrl_c(small_catalog: Path, tmp_path: Path) -> None:
    """While the run folder is being written."""
    catalog, out = first_goldens(small_catalog, tmp_path / "golden" / "parts", 4), tmp_path / "runs" / "run"
    command = (sys.executable, "-c", _SLOW_TRAINING, catalog, out)
    with running(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:  # from the project's folder
        wait_until(lambda: process.poll() is not None or list(out.parent.glob(f".*.partial/{MODEL_NAME}")))
        assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=HANG_S)
    assert process.returncode == 130, stderr
    assert stdout == ""
    assert stderr.endswith("partsight: interrupted\n")
    assert names(out.parent) == [CACHE]
    before = cached(out.parent)
    assert len(before) == 4
    assert train(catalog, out, SMALL).record.reached
    assert cached(out.parent) == before


def test_versions() -> None:
    found = trainer.versions()
    assert found["numpy"] == np.__version__
    assert found["python"].count(".") == 2


def test_a_configuration_out_of_bounds_is_refused_before_any_work(small_catalog: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="target_accuracy"):
        train(small_catalog, tmp_path / "run", TrainConfig(side_px=64, target_accuracy=1.5))
    assert names(tmp_path) == []
