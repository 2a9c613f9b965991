"""`partsight train` and `partsight export`: arguments reach the work, and its result reaches the shell."""

import json
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest

from partsight.cli.main import build_parser, main
from partsight.runtime import ModelPackage
from partsight.train.run_folder import RunFolder, TrainConfig
from tests.cli.conftest import Ended
from tests.faults import tiny_backbone

Call = Callable[..., Ended]
PARTS = ("bolt", "clip", "nut", "pin")
QUICK = ("--weights", "none", "--side", "32", "--max-epochs", "0")


@pytest.fixture(scope="module", autouse=True)
def _quick(few_samples: None) -> None:
    """For all trainings in this process."""


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four parts of coarse random blocks, one image each."""
    folder, rng = tmp_path_factory.mktemp("catalog") / "golden", np.random.default_rng(2)
    folder.mkdir()
    for part in PARTS:
        blocks = rng.integers(0, 256, (6, 8, 3), np.uint8)
        cv2.imwrite(str(folder / f"{part}.png"), cv2.resize(blocks, (96, 72), interpolation=cv2.INTER_NEAREST))
    return folder


def test_a_cluster_that_does_not_answer(call: Call, catalog: Path, tmp_path: Path) -> None:
    ended = call("train", catalog, "--out", tmp_path / "run", *QUICK, "--address", "127.0.0.1:1")
    assert ended.code == 1
    assert "127.0.0.1:1" in ended.err
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def run(catalog: Path) -> Path:
    """A run with another value for every option of the command, except the backbone."""
    out = catalog.parent / "run"
    decisions = {
        **{"--weights": "none", "--head": "dense", "--side": 48, "--region": "8,4,80,64", "--seed": 7},
        **{"--target-accuracy": 0.75, "--max-epochs": 3, "--max-false-reject": 0.25},
        **{"--backbone": "EfficientNetLite0", "--cache": catalog.parent / "elsewhere" / "cache"},
    }
    arguments = [str(item) for pair in decisions.items() for item in pair]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("partsight.train.trainer.find_backbone", tiny_backbone.find)
        assert main(["train", str(catalog), "--out", str(out), *arguments]) == 0
    return out


def test_every_decision_reaches_the_record(run: Path) -> None:
    config = RunFolder.read(run).record.config
    assert config == TrainConfig(
        backbone="EfficientNetLite0",
        head="dense",
        weights="none",
        side_px=48,
        region=config.region,
        seed=7,
        target_accuracy=0.75,
        max_epochs=3,
        max_false_reject=0.25,
    )
    region = config.region
    assert region is not None
    assert (region.x, region.y, region.width, region.height) == (8, 4, 80, 64)
    assert RunFolder.read(run).record.labels == PARTS


def test_the_cache_is_where_it_was_asked_for(run: Path) -> None:
    assert list((run.parent / "elsewhere" / "cache").rglob("*"))
    assert not (run.parent / ".partsight-cache").exists()


def test_the_defaults_of_the_command_and_the_library_are_equal() -> None:
    args = build_parser().parse_args(["train", "golden", "--out", "run"])
    renamed = {"side_px": args.side}
    for field in TrainConfig.__struct_fields__:
        assert renamed.get(field, getattr(args, field, None)) == getattr(TrainConfig(), field)


@pytest.mark.usefixtures("tiny_backbone")
def test_train_prints_the_paths(call: Call, catalog: Path, tmp_path: Path) -> None:
    ended = call("train", catalog, "--out", tmp_path / "new" / "run", *QUICK)
    assert ended.code == 0
    assert ended.out.splitlines() == [
        f"4 parts: {RunFolder.read(tmp_path / 'new' / 'run').record.outcome}",
        f"run:    {tmp_path / 'new' / 'run'}",
        f"report: {tmp_path / 'new' / 'run' / 'report.html'}",
    ]
    assert (tmp_path / "new" / "run" / "report.html").is_file()
    assert (tmp_path / "new" / ".partsight-cache").is_dir()
    assert "warning" not in ended.err


@pytest.mark.usefixtures("tiny_backbone")
def test_train_prints_the_number_of_further_references(call: Call, catalog: Path, tmp_path: Path) -> None:
    folders = tmp_path / "folders"
    for path in catalog.iterdir():
        (folders / path.stem).mkdir(parents=True)
        shutil.copy(path, folders / path.stem / path.name)
    first, second, *_ = sorted(folders.iterdir())
    rng = np.random.default_rng(0)
    for path in (first / "z1.png", first / "z2.png", second / "z1.png"):
        cv2.imwrite(str(path), rng.integers(0, 256, (96, 96, 3), np.uint8))
    ended = call("train", folders, "--out", tmp_path / "run", *QUICK)
    assert ended.code == 0, ended.err
    assert ended.out.splitlines()[1].split()[:5] == ["3", "further", "references", "of", "2"]


@pytest.mark.usefixtures("tiny_backbone")
def test_below_target(call: Call, catalog: Path, tmp_path: Path) -> None:
    """Two parts are nearly equal inside the region, so training cannot tell them apart."""
    twins = Path(shutil.copytree(catalog, tmp_path / "twins"))
    image = cv2.imread(str(twins / "bolt.png"))
    image[20, 21] ^= 1
    cv2.imwrite(str(twins / "bolt2.png"), image)
    out = tmp_path / "run"
    ended = call("train", twins, "--out", out, *QUICK, "--region", "8,4,80,64")
    assert ended.code == 3
    record = RunFolder.read(out).record
    assert not record.reached
    assert record.golden_accuracy == 0.8
    assert ended.out.startswith(f"5 parts: {record.outcome}\n")
    assert "partsight: warning: bolt and bolt2 " in ended.err
    assert (out / "model.keras").is_file()


WRONG = {
    "--head": ["softmax"],
    "--side": ["31", "2049", "wide", "64.5"],
    "--region": ["1,2,3", "1,2,3,4,5", "a,b,c,d", "-1,0,5,5", "0,0,0,5", "0,0,5,9000", ""],
    "--seed": ["-1", str(2**32), "x"],
    "--target-accuracy": ["-0.1", "1.1", "99%", "nan"],
    "--max-epochs": ["-1", "1.5"],
    "--max-false-reject": ["-0.01", "2", "nan"],
}


@pytest.mark.parametrize(("option", "value"), [(option, value) for option, values in WRONG.items() for value in values])
def test_wrong_values(call: Call, catalog: Path, tmp_path: Path, option: str, value: str) -> None:
    ended = call("train", catalog, "--out", tmp_path / "run", f"{option}={value}")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("usage: partsight train")
    name = option[2:].replace("-", "[-_]")
    assert option in ended.err.splitlines()[-1] or f"$.{name.replace('[-_]', '_')}" in ended.err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "backbone": (("--backbone", "ResNet51"), "'ResNet51'"),
    "weights": (("--weights", "nowhere.h5"), "nowhere.h5"),
    "region": (("--region", "50,0,80,64"), "130"),
}


@pytest.mark.parametrize(("arguments", "named"), REFUSED.values(), ids=REFUSED)
def test_training_refuses(call: Call, catalog: Path, tmp_path: Path, arguments: tuple[Any, ...], named: str) -> None:
    ended = call("train", catalog, "--out", tmp_path / "run", *arguments)
    assert (ended.code, ended.out) == (1, "")
    assert named in ended.err
    assert ended.err.startswith("partsight: error: ")
    assert not (tmp_path / "run").exists()


def test_options_of_fine_tuning_alone(call: Call, catalog: Path, tmp_path: Path) -> None:
    """Without --budget full they have no effect."""
    ended = call("train", catalog, "--out", tmp_path / "run", "--cut", "nonsense", "--max-cache-gb", "2")
    assert ended.code == 2
    for option in ("--cut", "--max-cache-gb", "--budget full"):
        assert option in ended.err
    assert not (tmp_path / "run").exists()


def test_a_catalogue_with_faults(call: Call, catalog: Path, tmp_path: Path) -> None:
    bad = Path(shutil.copytree(catalog, tmp_path / "bad"))
    shutil.copy(bad / "bolt.png", bad / "same.png")
    (bad / "torn.png").write_bytes((bad / "nut.png").read_bytes()[:80])
    ended = call("train", bad, "--out", tmp_path / "run")
    assert (ended.code, ended.out) == (1, "")
    for name in ("bolt", "same", "torn"):
        assert name in ended.err
    assert not (tmp_path / "run").exists()


def test_nothing_is_overwritten(call: Call, catalog: Path, run: Path) -> None:
    before = (run / "run.json").read_bytes()
    for arguments in (("train", catalog, "--out", run), ("export", run, "--out", run)):
        ended = call(*arguments)
        assert (ended.code, ended.out) == (1, "")
        assert f"{run}: " in ended.err
    assert (run / "run.json").read_bytes() == before


def test_export(call: Call, run: Path, catalog: Path, tmp_path: Path) -> None:
    """From a catalogue that has moved; the package then answers."""
    moved = Path(shutil.copytree(catalog, tmp_path / "moved"))
    out = tmp_path / "line.partsight"
    ended = call("export", run, "--out", out, "--catalog", moved, "--precision", "fp32, fp16", "--least-agreement", "0")
    assert ended.code == 0
    parity = ModelPackage.read(out).model("fp32").parity
    facts = dict(line.split(":", 1) for line in ended.out.splitlines())
    assert facts["labels equal to Keras"].strip() == "4 of 4"
    assert float(facts["largest score difference"]) == pytest.approx(parity.max_score_difference, rel=0.1)
    assert facts["golden accuracy"].strip() == "1.0000"
    assert facts["BatchNormalization left"].strip().startswith("0 (0 per-channel")
    assert re.fullmatch(r" *answer of fp32: +[0-9.]+% of 4 golden images, [0-9.]+% of 4 varied frames", facts["fp16"])
    assert facts["package"].strip() == str(out)
    assert facts["report"].strip() == str(out / "report.html")
    assert call("inspect", out).code == 0
    answered = call("run", out, moved / "clip.png", "--threshold", "0")
    assert json.loads(answered.out)["label"] == "clip"


def test_a_precision_that_is_refused(call: Call, monkeypatch: pytest.MonkeyPatch, tiny_package: Path) -> None:
    """It is a warning: the package is written."""
    package = ModelPackage.read(tiny_package)
    manifest = msgspec.structs.replace(package.manifest, refused={"int8": "1 of 6 labels"})
    asked = {}

    def export(*args: object, **options: object) -> ModelPackage:
        asked.update(options)
        return ModelPackage(package.path, manifest, package.package_id)

    monkeypatch.setattr("partsight.export.exporter.export", export)
    ended = call("export", "run", "--out", "line.partsight")
    assert ended.code == 0
    assert ended.err.startswith("partsight: warning: int8 ")
    assert re.search(r"\b1 .*\b6 ", ended.err)
    assert asked == {"precisions": ("fp32", "fp16", "int8"), "least_agreement": 0.999, "search": "auto"}


def test_export_without_the_golden_images(call: Call, run: Path, tmp_path: Path) -> None:
    ended = call("export", run, "--out", tmp_path / "line.partsight", "--catalog", tmp_path / "gone")
    assert (ended.code, ended.out) == (1, "")
    assert "--catalog" in ended.err
    assert not (tmp_path / "line.partsight").exists()


def test_export_of_another_folder(call: Call, catalog: Path, tmp_path: Path) -> None:
    ended = call("export", catalog, "--out", tmp_path / "line.partsight")
    assert (ended.code, ended.out) == (1, "")
    assert str(catalog) in ended.err
    assert "partsight train" in ended.err


def test_the_log_is_shown_during_training(call: Call, tmp_path: Path) -> None:
    """Afterwards the program has its own log again."""
    log = logging.getLogger("partsight")
    before = log.level, list(log.handlers)
    ended = call("train", tmp_path / "nothing", "--out", tmp_path / "run")
    assert ended.code == 1
    assert (log.level, log.handlers) == before
