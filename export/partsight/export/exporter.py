"""Export, whole: from a run folder to a model package."""

import datetime
from collections.abc import Sequence
from pathlib import Path

import msgspec
import onnx

from partsight.export.convert import OPSET, convert
from partsight.export.goldens import find_goldens
from partsight.export.parity import check_parity
from partsight.export.report import package_report
from partsight.runtime.calibration import reference_files
from partsight.runtime.errors import RunError
from partsight.runtime.images import Pixels
from partsight.runtime.manifest import METADATA_KEY, SCHEMA_VERSION, Manifest, ModelFile, Provenance, Verification
from partsight.runtime.package import MANIFEST_NAME, ModelPackage
from partsight.runtime.storage import check_output_folder, new_folder, sha256_bytes
from partsight.train.heads import score_output
from partsight.train.progress import progress
from partsight.train.run_folder import RunFolder, RunRecord

MODEL_FILE = "model.fp32.onnx"
REPORT_FILE = "report.html"


def export(run_folder: str | Path, out: str | Path, catalog_folder: str | Path | None = None) -> ModelPackage:
    """Turn a run into a model package, if both answer alike.

    Args:
        run_folder: that `train` wrote.
        out: the package's folder; must not exist. By custom it ends in `.partsight`.
        catalog_folder: where the golden images are now; None for where they were in training.

    Returns:
        The package, as read back from the disk.

    Raises:
        RunError: the run folder is damaged.
        ExportError: the model cannot be converted, or a golden image is missing or was changed.
        ParityError: ONNX Runtime answers differently from Keras; nothing is written.
        OutputError: `out` exists or cannot be written; nothing is left behind.
    """
    out = Path(out)
    check_output_folder(out)
    run = RunFolder.read(run_folder)
    images = find_goldens(run.record, Path(catalog_folder) if catalog_folder is not None else None)
    network = run.load_model()
    _check_classes(run, score_output(network).shape[-1])
    converted = convert(network)
    manifest = _manifest(run.record)
    model = _with_manifest(converted.model, manifest)
    parity = check_parity(network, model, manifest, run.record.goldens, images)
    model_file = ModelFile(MODEL_FILE, sha256_bytes(model), OPSET, converted.summary.affine_left, parity)
    manifest = msgspec.structs.replace(manifest, models={"fp32": model_file}, verification=_verification(run.record))
    with new_folder(out) as folder:
        (folder / MODEL_FILE).write_bytes(model)
        report = package_report(run, manifest, converted.summary)
        files = {REPORT_FILE: report.encode(), **_gallery(images, run.record)}
        (folder / "gallery").mkdir()
        for name, data in files.items():
            (folder / name).write_bytes(data)
        hashes = {name: sha256_bytes(data) for name, data in files.items()}
        # Last, so that a folder without it is known to be unfinished.
        (folder / MANIFEST_NAME).write_bytes(msgspec.structs.replace(manifest, files=hashes).to_json())
        ModelPackage.read(folder).verify()
    return ModelPackage.read(out)


def _check_classes(run: RunFolder, classes: int) -> None:
    if classes != len(run.record.labels):
        raise RunError(
            f"{run.path}: the model has {classes} classes, the record {len(run.record.labels)} labels; they are not "
            "from one training: train again"
        )


def _manifest(record: RunRecord) -> Manifest:
    config = record.config
    return Manifest(
        schema_version=SCHEMA_VERSION,
        labels=record.labels,
        preprocess=record.preprocess,
        decision=record.calibration.decision,
        provenance=Provenance(
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            backbone=config.backbone,
            backbone_weights=record.backbone_weights,
            head=config.head,
            catalog_sha256=record.catalog_sha256,
            weights_sha256=record.weights_sha256,
            golden_accuracy=record.golden_accuracy,
            versions=record.versions,
        ),
    )


def _with_manifest(model: onnx.ModelProto, manifest: Manifest) -> bytes:
    """Return the file's bytes with the manifest in the metadata, so that the file alone can be used."""
    model.producer_name = "partsight"
    onnx.helper.set_model_props(model, {METADATA_KEY: manifest.to_json().decode()})
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _verification(record: RunRecord) -> Verification:
    names = tuple(f"gallery/{place:05d}.jpg" for place in range(len(record.labels)))
    return Verification(record.calibration.verification, record.calibration.verified_decision, names)


def _gallery(images: Sequence[Pixels], record: RunRecord) -> dict[str, bytes]:
    """Return the golden images that frames are compared with; they are thumbnails for people, too."""
    verification = _verification(record)
    files = reference_files(images, record.preprocess, verification.spec)
    shown = progress(files, len(images), "writing the gallery", "image")
    return dict(zip(verification.references, shown, strict=True))
