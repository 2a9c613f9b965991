"""Export: all steps from a run folder to a model package."""

import datetime
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import msgspec
import onnx

from partsight.export.answers import Decider
from partsight.export.conversion import OPSET, convert
from partsight.export.frames import gate_frames
from partsight.export.gate import MIN_AGREEMENT, PrecisionGate
from partsight.export.goldens import find_goldens
from partsight.export.graph_gate import check_graph
from partsight.export.parity import check_parity
from partsight.export.precision import make_precisions
from partsight.export.report import package_report
from partsight.export.search import WHEN_SEARCH, WhenSearch, check_search, replace_head, wants_search
from partsight.runtime.core import (
    MANIFEST_NAME,
    PROTOTYPE_FILE,
    ExportError,
    PackageError,
    Pixels,
    RunError,
    check_output_folder,
    encode_prototypes,
    new_folder,
    progress,
    release_freed_memory,
    sha256_bytes,
)
from partsight.runtime.inference import PrototypeSearch
from partsight.runtime.matching import BANK_FILE, GRAPH_FILE, encode_bank
from partsight.runtime.matching.trace import matching_graph
from partsight.runtime.package import (
    METADATA_KEY,
    SCHEMA_VERSION,
    Gallery,
    Gate,
    Manifest,
    Matching,
    ModelFile,
    ModelPackage,
    Parity,
    Precision,
    Provenance,
    Search,
    check_onnx,
    prepare_gallery,
    with_digest,
)
from partsight.train.framework import keras, keras_settings, require_tensorflow
from partsight.train.heads import score_output
from partsight.train.interrupts import interrupts_kept
from partsight.train.run_folder import RunFolder, RunRecord, reference_names

REPORT_FILE = "report.html"
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
"""Precisions that export can write; it always writes FP32."""

_PROBES = 32  # golden images on which the search is compared with the plain product


@keras_settings()
def export(
    run_folder: str | Path,
    out: str | Path,
    catalog_folder: str | Path | None = None,
    *,
    precisions: Sequence[Precision] = PRECISIONS,
    least_agreement: float = MIN_AGREEMENT,
    search: WhenSearch = "auto",
) -> ModelPackage:
    """Turn a run into a model package, if ONNX Runtime and Keras give the same answers.

    Args:
        run_folder: Folder that `train` wrote.
        out: Folder of the package; it must not exist. By custom it ends in `.partsight`.
        catalog_folder: Folder of the golden images, if they have moved since training; None for the same folder.
        precisions: Precisions to write next to FP32. Export leaves out a precision that disagrees with FP32; the
            manifest's `refused` says why.
        least_agreement: Share of golden images, and of varied frames, that must get FP32's label in each precision.
        search: Value `always`, `never` or `auto`: whether the package searches the best scores by bounds instead of
            computing all. `auto` means yes for a cosine head of 10,000 parts or more. Choose `never` for a GPU, because
            the search runs on the processor.

    Returns:
        The package, read from the disk.

    Raises:
        RunError: The run folder is damaged, or its model does not give the labels of its record.
        ExportError: tf2onnx cannot convert the model, a golden image is missing or changed, or a precision is unknown.
        ParityError: ONNX Runtime answers differently from Keras; export writes nothing.
        OutputError: `out` exists or cannot be written; export leaves no files behind.
        TrainingError: Keras does not run on TensorFlow in this program.
    """
    require_tensorflow()
    out = Path(out)
    _check_options(precisions, least_agreement, search)
    check_output_folder(out)
    run = RunFolder.read(run_folder)
    images = find_goldens(run.record, Path(catalog_folder) if catalog_folder is not None else None)
    network = run.load_model()
    _check_classes(run, score_output(network).shape[-1])
    is_searched = wants_search(search, run.record.calibration.decision, len(run.record.labels))
    converted = convert(network)
    prototypes = replace_head(converted.model) if is_searched else None
    plain = None if prototypes is None else PrototypeSearch(prototypes, is_plain=True)
    matching = _matching(run.record)
    gallery = run.load_gallery() or _prepare_gallery(images, run.record)
    bank = gallery.bank
    decider = Decider(matching, bank)
    manifest = _manifest(run.record)
    frames = gate_frames(images, manifest.preprocess, decider.preprocess_spec(manifest.preprocess))
    data: dict[Precision, bytes] = {"fp32": _with_manifest(converted.model, manifest)}
    parity = check_parity(network, data["fp32"], manifest, run.record.goldens, frames.catalog.network, plain)
    if prototypes is not None:
        check_search(data["fp32"], prototypes, frames.catalog.network[:_PROBES])
    del network
    keras.backend.clear_session()  # the next steps need the memory
    release_freed_memory()
    affine_left = converted.summary.affine_left
    models: dict[Precision, ModelFile] = {"fp32": _model_file("fp32", data["fp32"], affine_left, parity=parity)}
    graph = matching_graph(matching.spec, bank)
    manifest = msgspec.structs.replace(
        manifest, matching=matching, search=None if prototypes is None else Search(PROTOTYPE_FILE)
    )
    gate = PrecisionGate(converted.model, frames, decider, least_agreement, plain)
    check_graph(graph, bank, matching, gate)
    found = make_precisions(converted.model, manifest, images, precisions, gate)
    for precision, made in found.made.items():
        data[precision] = _with_manifest(made.model, manifest)
        models[precision] = _model_file(precision, data[precision], affine_left, gate=made.gate)
    manifest = msgspec.structs.replace(manifest, models=models, refused=dict(found.refused))
    with new_folder(out) as folder, interrupts_kept():
        for precision, model in models.items():
            (folder / model.file).write_bytes(data[precision])
        sizes = {precision: len(item) for precision, item in data.items()}
        report = package_report(run, manifest, parity, converted.summary, sizes, out)
        files = {
            REPORT_FILE: report.encode(),
            BANK_FILE: encode_bank(bank.records),
            GRAPH_FILE: graph.SerializeToString(deterministic=True),
            **dict(zip(reference_names(run.record.class_of), gallery.files, strict=True)),
        }
        if prototypes is not None:
            files[PROTOTYPE_FILE] = encode_prototypes(prototypes)
        (folder / "gallery").mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        hashes = {name: sha256_bytes(content) for name, content in files.items()}
        # The manifest comes last: a folder without a manifest is unfinished.
        (folder / MANIFEST_NAME).write_bytes(msgspec.structs.replace(manifest, files=hashes).to_json())
        ModelPackage.examine(folder).check_hashes()
    return ModelPackage.examine(out)


def _check_options(precisions: Sequence[Precision], least_agreement: float, search: str) -> None:
    unknown = [name for name in precisions if name not in PRECISIONS]
    if unknown:
        raise ExportError(f"precision {unknown[0]!r} is not known; expected some of {', '.join(PRECISIONS)}")
    if not 0 <= least_agreement <= 1:
        raise ExportError(
            f"received a least agreement of {least_agreement}; expected a share from 0 to 1, such as 0.999"
        )
    if search not in WHEN_SEARCH:
        raise ExportError(f"search {search!r} is not known; expected one of {', '.join(WHEN_SEARCH)}")


def _model_file(
    precision: Precision, data: bytes, affine_left: int, parity: Parity | None = None, gate: Gate | None = None
) -> ModelFile:
    return ModelFile(f"model.{precision}.onnx", sha256_bytes(data), OPSET, affine_left, parity, gate)


def _check_classes(run: RunFolder, classes: int) -> None:
    if classes != len(run.record.labels):
        raise RunError(
            f"{run.path}: the model has {classes} classes, the record {len(run.record.labels)} labels; they come from "
            "different trainings: train again"
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
    """Return the file's bytes, with manifest and digest in the metadata, so that the file also works alone."""
    model.producer_name = "partsight"
    onnx.helper.set_model_props(model, {METADATA_KEY: manifest.without_files().to_json().decode()})
    data = with_digest(model.SerializeToString(deterministic=True))
    try:
        check_onnx(data, "the converted model")
    except PackageError as error:
        raise ExportError(f"the line would refuse the converted network: {error}") from error
    return data


def _matching(record: RunRecord) -> Matching:
    calibration, of_part = record.calibration, defaultdict[str, list[str]](list)
    for index, name in zip(record.class_of, reference_names(record.class_of), strict=True):
        of_part[record.labels[index]].append(name)
    return Matching(
        calibration.matching,
        calibration.matched_decision,
        tuple(golden for golden, *_ in of_part.values()),
        BANK_FILE,
        GRAPH_FILE,
        {label: tuple(further) for label, (_, *further) in of_part.items() if further},
    )


def _prepare_gallery(images: Sequence[Pixels], record: RunRecord) -> Gallery:
    """Prepare the golden images of a run of partsight 0.1, whose folder has no gallery."""
    shown = progress(images, len(images), "preparing golden images", "image")
    return prepare_gallery(shown, record.preprocess, record.calibration.matching)
