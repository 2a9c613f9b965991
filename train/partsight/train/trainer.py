"""Training: all steps from a folder of golden images to a run folder."""

import datetime
import importlib.metadata
import os
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from partsight.runtime.calibration import Tolerances
from partsight.runtime.core import (
    BatchMap,
    FloatArray,
    Pixels,
    TrainingError,
    check_output_folder,
    map_here,
    new_folder,
    sha256_bytes,
)
from partsight.runtime.images import ImageFiles, PreprocessSpec
from partsight.runtime.inference import SCORE_NAME
from partsight.runtime.matching import MatchingSpec, matching_spec, via_size
from partsight.train.backbones import find_backbone
from partsight.train.calibration import Calibrated, CalibrationInput, calibrate
from partsight.train.catalog import Catalog, read_catalog
from partsight.train.features import FeatureCache
from partsight.train.finetune import Stage1, find_cut, finetune
from partsight.train.fit import BATCH, HeadFit, fit_head
from partsight.train.framework import keras, keras_settings, require_tensorflow, tf
from partsight.train.heads import find_head
from partsight.train.interrupts import interrupts_kept
from partsight.train.look_alikes import Pair, find_look_alikes
from partsight.train.pictures import ReportImages
from partsight.train.prepared import PreparedReferences, prepare
from partsight.train.records import TuneRecord
from partsight.train.report import write_report
from partsight.train.run_folder import (
    MODEL_NAME,
    RECORD_NAME,
    GoldenRecord,
    ReferenceRecord,
    RunFolder,
    RunRecord,
    TrainConfig,
    write_gallery,
)
from partsight.train.stack import build_extractor, stack, weights_sha256
from partsight.train.tolerance import measure_tolerances

_PACKAGES = ("partsight", "tensorflow", "keras", "numpy", "opencv-python-headless", "pillow")


@dataclass
class _Stopwatch:
    """Seconds of each stage, for the report; Ctrl-C ends a stage even if a library swallows it."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        started = time.perf_counter()
        with interrupts_kept():
            yield
        self.seconds[name] = round(time.perf_counter() - started, 2)


@dataclass(frozen=True)
class _Task:
    """Configuration and golden images of a training; `weights` is a name or the path of a file."""

    config: TrainConfig
    catalog: Catalog
    spec: PreprocessSpec
    matching: MatchingSpec
    weights: str


@dataclass(frozen=True)
class _Learned:
    """Result of a training: the stacked keras.Model and its figures; `tuning` is None for a quick run."""

    model: Any
    fit: HeadFit
    tuning: TuneRecord | None
    prepared: PreparedReferences
    calibrated: Calibrated
    tolerances: Tolerances
    scores: FloatArray
    """Scores of the golden images, (classes, classes) float32."""
    look_alikes: tuple[Pair, ...]


@keras_settings()
def train(
    catalog_folder: str | Path,
    out: str | Path,
    config: TrainConfig,
    cache_folder: str | Path | None = None,
    run: BatchMap = map_here,
) -> RunFolder:
    """Learn the parts of a catalogue, one golden image each; frames are compared with further references, too.

    Args:
        catalog_folder: Folder with the golden images; see `catalog.read_catalog`.
        out: Run folder to write; it must not exist.
        config: Options of the training.
        cache_folder: Folder for features that later trainings use again; None for `.partsight-cache` next to `out`.
        run: Map over the batches of golden images whose features the cache lacks: this process, or the actors of a
            cluster, such as `cluster.batch.RayMap`.

    Returns:
        The finished run. Training writes it even below the target accuracy; see `record.reached`.

    Raises:
        CatalogError: The catalogue has faults.
        TrainingError: The configuration is wrong; backbone, weights or head are not available; or Keras does not run
            on TensorFlow in this program.
        OutputError: `out` exists or cannot be written.
    """
    require_tensorflow()
    out = Path(out)
    check_output_folder(out)
    cache = FeatureCache(Path(cache_folder) if cache_folder is not None else out.parent / ".partsight-cache")
    watch = _Stopwatch()
    make_deterministic(config.seed)
    with watch.stage("read the catalogue"):
        task = _read_task(catalog_folder, config)
    learned = _learn(task, cache, watch, run)
    with new_folder(out) as folder, interrupts_kept():
        learned.model.save(folder / MODEL_NAME)
        gallery_sha256 = write_gallery(folder, learned.prepared.gallery)
        record = _record(task, learned, watch, sha256_bytes((folder / MODEL_NAME).read_bytes()), gallery_sha256)
        images = ReportImages(task.catalog.images, learned.calibrated.failed, learned.look_alikes)
        write_report(folder, record, images, out)
        (folder / RECORD_NAME).write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1))
    return RunFolder(out, record)


def make_deterministic(seed: int) -> None:
    """Seed Python, NumPy and TensorFlow, so that the same machine repeats the same training exactly."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def versions() -> dict[str, str]:
    """Return the versions of Python and libraries, the platform and the number of cores."""
    found = {"python": platform.python_version(), "platform": platform.platform(), "cores": str(os.cpu_count())}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue  # the library comes from another distribution, such as opencv-python
    return found


def _read_task(catalog_folder: str | Path, config: TrainConfig) -> _Task:
    try:
        msgspec.convert(msgspec.to_builtins(config), TrainConfig)
    except msgspec.ValidationError as error:
        raise TrainingError(
            f"the configuration is not valid: {error}; see TrainConfig for the allowed values"
        ) from error
    backbone = find_backbone(config.backbone)
    find_head(config.head)
    catalog = read_catalog(catalog_folder, config.region)
    side = config.side_px or backbone.side_px
    spec = PreprocessSpec(side, side, catalog.color, config.region, golden_hw=catalog.golden_hw)
    # Preprocessing shrinks a frame once to `via`, and from there to the sizes of network and comparison.
    matching = matching_spec(catalog.images[0], spec)
    spec = msgspec.structs.replace(spec, via=via_size(spec, matching))
    return _Task(config, catalog, spec, matching, config.weights or backbone.default_weights)


def _learn(task: _Task, cache: FeatureCache, watch: _Stopwatch, run: BatchMap) -> _Learned:
    config, head = task.config, find_head(task.config.head)
    with watch.stage("build the backbone"):
        backbone = find_backbone(config.backbone)
        extractor = build_extractor(backbone, task.weights, head, task.spec)
        if config.budget == "full":
            find_cut(backbone, extractor, head, config.cut)  # fail before the work if the cut is wrong
    with watch.stage("features of golden images"):
        features, _ = cache.golden_features(extractor, task.catalog.goldens, run)
    with watch.stage("train the head"):
        head_model = head.build(features.shape[1], len(features))
        fit = fit_head(head, head_model, features, config.target_accuracy, config.max_epochs)
    tuning = None
    if config.budget == "full":
        stage1 = Stage1(
            backbone=backbone,
            extractor=extractor,
            head=head,
            head_model=head_model,
            golden_accuracy=fit.history[-1].golden_accuracy,
            goldens=task.catalog.goldens,
        )
        with watch.stage("fine-tune"):
            tuned = finetune(stage1, config, cache.folder)
        extractor, features, tuning = tuned.extractor, tuned.features, tuned.record

    def score(batch: Pixels) -> FloatArray:
        return _scores(head_model, extractor.run(batch))

    with watch.stage("prepare golden images"):
        catalog = task.catalog
        references = ImageFiles([image.path for image in catalog.references])
        prepared = prepare(references, catalog.class_of, task.spec, task.matching)
    bank = prepared.gallery.bank
    further = catalog.further_images()
    trained = CalibrationInput(catalog.images, task.spec, task.matching, bank, score, head, further)
    with watch.stage("calibrate the threshold"):
        calibrated = calibrate(trained, config.max_false_reject, config.seed)
        calibration = calibrated.calibration
    with watch.stage("measure tolerances"):
        tolerances = measure_tolerances(trained, calibration, prepared.gallery, task.catalog.labels, config.seed)
    scores = _scores(head_model, features)
    with watch.stage("find look-alikes"):
        pairs = find_look_alikes(calibrated.frames, scores, prepared.gallery, calibration.matching)
    return _Learned(stack(extractor, head_model), fit, tuning, prepared, calibrated, tolerances, scores, pairs)


def _scores(head_model: Any, features: FloatArray) -> FloatArray:
    scores: FloatArray = head_model.predict(features, BATCH, verbose=0)[SCORE_NAME]
    return scores


def _record(task: _Task, learned: _Learned, watch: _Stopwatch, model_sha256: str, gallery_sha256: str) -> RunRecord:
    catalog, fit = task.catalog, learned.fit
    return RunRecord(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        config=task.config,
        backbone_weights=task.weights if task.weights in ("embedded", "imagenet", "none") else Path(task.weights).name,
        preprocess=task.spec,
        catalog=str(catalog.root.resolve()),
        catalog_sha256=catalog.sha256,
        twins=catalog.twins,
        goldens=_golden_records(task, learned),
        further=tuple(
            ReferenceRecord(image.label, image.path.relative_to(catalog.root).as_posix(), image.sha256)
            for image in chain.from_iterable(catalog.further.values())
        ),
        history=fit.history,
        tuning=learned.tuning,
        golden_accuracy=float(np.mean(learned.scores.argmax(axis=1) == np.arange(len(learned.scores)))),
        reached=fit.reached,
        outcome=f"{fit.outcome}; {learned.tuning.outcome}" if learned.tuning else fit.outcome,
        calibration=learned.calibrated.calibration,
        varied=learned.calibrated.frames,
        look_alikes=tuple(pair.record for pair in learned.look_alikes),
        tolerances=learned.tolerances,
        model_sha256=model_sha256,
        gallery_sha256=gallery_sha256,
        weights_sha256=weights_sha256(learned.model),
        seconds=watch.seconds,
        versions=versions(),
    )


def _golden_records(task: _Task, learned: _Learned) -> tuple[GoldenRecord, ...]:
    catalog, digests = task.catalog, learned.prepared.pixels_sha256
    records = []
    for golden, digest, row in zip(catalog.goldens, digests, learned.scores, strict=True):
        order = np.argsort(-row, kind="stable")[:2]
        best = int(order[0])
        record = GoldenRecord(
            label=golden.label,
            file=golden.path.relative_to(catalog.root).as_posix(),
            sha256=golden.sha256,
            pixels_sha256=digest,
            predicted=catalog.labels[best],
            score=float(row[best]),
            margin=float(row[best] - row[order[-1]]) if len(row) > 1 else float(row[best]),
            nearest=catalog.labels[int(order[-1])],
        )
        records.append(record)
    return tuple(records)
