"""The jobs of the campaign: each writes every kind of its files, at the smallest size."""

import os
import shutil
from pathlib import Path

import cv2
import numpy as np

from tests.faults.job import Job
from tests.faults.signings import SIGNINGS
from tests.faults.swaps import SWAPS

_PARTS = ("bolt", "nut")
_RUN, _PACKAGE = "runs/first", "line3.partsight"
_CACHE = ".partsight-cache"


def _partsight(*arguments: object) -> int:
    from partsight.cli.main import main

    return main([str(argument) for argument in arguments])


# ---- enrolment ----


def _load_enrol() -> None:
    import partsight.runtime.enrolment.enrolment  # noqa: F401
    import tests.runtime.enrolment.enrolling  # noqa: F401
    from partsight.runtime.enrolment import evaluation

    evaluation.FRAMES = 4  # estimates take most of the time and touch no file


def _prepare_enrol(folder: Path, *, is_searched: bool) -> None:
    from tests.runtime.enrolment.enrolling import picture, write_package

    write_package(folder / _PACKAGE, is_searched=is_searched)
    for name in ("white", "grey"):
        picture(folder / f"{name}.png", (250, 250, 250) if name == "white" else (90, 120, 90))


def _prepare_plain_enrol(folder: Path) -> None:
    _prepare_enrol(folder, is_searched=False)


def _prepare_searched_enrol(folder: Path) -> None:
    _prepare_enrol(folder, is_searched=True)


def _enrol(folder: Path, out: Path) -> int:
    images = ("--label", "white", folder / "white.png", "--label", "olive", folder / "grey.png")
    return _partsight("enroll", folder / _PACKAGE, *images, "--remove", "cyan", "--out", out)


def _check_package(path: Path) -> None:
    from partsight.runtime import ModelPackage

    ModelPackage.read(path).check_hashes()


# ---- training ----


def _load_train() -> None:
    from partsight.cli.tensorflow_log import quiet_tensorflow

    quiet_tensorflow()
    os.environ.pop("TF_CPP_MIN_LOG_LEVEL", None)  # otherwise the jobs would skip that step
    from tests.faults import tiny_backbone

    tiny_backbone.install()


def _short_report(folder: Path, *_: object) -> None:
    """Write the report without plots, which are slow and which the job `train` covers."""
    (folder / "report.html").write_text("short", encoding="utf-8")


def _prepare_catalog(folder: Path) -> None:
    rng = np.random.default_rng(2)
    for part in _PARTS:
        blocks = rng.integers(0, 256, (6, 8, 3), np.uint8)
        (folder / "golden" / part).mkdir(parents=True)
        image = cv2.resize(blocks, (64, 48), interpolation=cv2.INTER_NEAREST)
        assert cv2.imwrite(str(folder / "golden" / part / "golden.png"), image)


def _train(folder: Path, out: Path) -> int:
    return _partsight("train", folder / "golden", "--side", 32, "--out", out)


def _fine_tune(folder: Path, out: Path) -> int:
    from partsight.train import trainer

    vars(trainer)["write_report"] = _short_report  # in the child that runs this job
    tuning = ("--budget", "full", "--copies", 1, "--epochs", 2)
    return _partsight("train", folder / "golden", "--side", 32, *tuning, "--out", out)


def _check_run(path: Path) -> None:
    from partsight.runtime.core.storage import sha256_bytes
    from partsight.train.run_folder import MODEL_NAME, RunFolder

    record = RunFolder.read(path).record
    if sha256_bytes((path / MODEL_NAME).read_bytes()) != record.model_sha256:
        raise ValueError("the model is not the one that the record names")
    if not (path / "report.html").stat().st_size:
        raise ValueError("the report is empty")


def _check_state(path: Path) -> None:
    with np.load(path) as arrays:
        for name in arrays.files:
            arrays[name]


# ---- export ----


def _prepare_run(folder: Path) -> None:
    _prepare_catalog(folder)
    if _train(folder, folder / _RUN):
        raise RuntimeError("training does not work")
    shutil.rmtree(folder / "runs" / _CACHE)


def _export(folder: Path, out: Path) -> int:
    return _partsight("export", folder / _RUN, "--least-agreement", "0", "--out", out)


JOBS = {
    job.name: job
    for job in (
        Job("enrol", "line4.partsight", _load_enrol, _prepare_plain_enrol, _enrol, _check_package),
        Job("enrol, searched", "line4.partsight", _load_enrol, _prepare_searched_enrol, _enrol, _check_package),
        *SIGNINGS,
        *SWAPS,
        Job("train", _RUN, _load_train, _prepare_catalog, _train, _check_run, cache=_CACHE),
        Job(
            "fine-tune", _RUN, _load_train, _prepare_catalog, _fine_tune, _check_run, cache=_CACHE,
            varying={"state.npz": _check_state},
        ),
        Job("export", _PACKAGE, _load_train, _prepare_run, _export, _check_package),
    )
}  # fmt: skip
"""All jobs by name; jobs that need TensorFlow come last."""
