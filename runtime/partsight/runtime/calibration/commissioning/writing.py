"""Writing: a commissioned package from an old one, whole or not at all, and the way back."""

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np

from partsight.runtime.core import MANIFEST_NAME, CommissionError, import_extra, new_folder, sha256_bytes
from partsight.runtime.matching import BANK_FILE, GRAPH_FILE, Bank, encode_bank
from partsight.runtime.package import SCHEMA_VERSION, Commissioning, Manifest, Matching, ModelPackage
from partsight.runtime.recognition import load_bank

REPORT_FILE = "commissioning.html"
"""Name of the report in the package."""


def matching_of(manifest: Manifest, path: Path) -> Matching:
    """Return the settings of a package's comparison.

    Raises:
        CommissionError: it has none.
    """
    if manifest.matching is None:
        raise CommissionError(
            f"{path}: has no golden images to compare frames with, so nothing can be fitted to a line; export it "
            "again with: partsight export RUN --out NEW"
        )
    return manifest.matching


def write_package(
    old: ModelPackage,
    out: Path,
    manifest: Manifest,
    records: np.ndarray,
    gallery: dict[str, bytes],
    report: Callable[[ModelPackage], str] | None = None,
) -> ModelPackage:
    """Write a package whose networks are those of the old one to the bit.

    Args:
        old: Package to start from.
        out: Folder to write.
        manifest: Manifest of the new package, with the old hashes of files.
        records: Records of the new bank.
        gallery: New files of the gallery, by name.
        report: Function that returns the report of the package as it was written; None for no report.

    Raises:
        OutputError: `out` exists or cannot be written.
        DependencyError: the references changed, and `onnx`, which writes the matching graph, is not installed.
    """
    has_graph = matching_of(old.manifest, old.path).graph is not None or old.manifest.schema_version < SCHEMA_VERSION
    graph = GRAPH_FILE if has_graph else None
    matching = msgspec.structs.replace(matching_of(manifest, old.path), bank=BANK_FILE, graph=graph)
    manifest = msgspec.structs.replace(manifest, schema_version=SCHEMA_VERSION, matching=matching)
    with new_folder(out) as folder:
        files = {}
        for name, data in _files(old, matching, records, gallery):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
            files[name] = sha256_bytes(data)
        for model in manifest.models.values():
            (folder / model.file).write_bytes(old.file_bytes(model.file))
        # The manifest comes last: a folder without it is unfinished.
        (folder / MANIFEST_NAME).write_bytes(msgspec.structs.replace(manifest, files=files).to_json())
        if report is not None:
            data = report(ModelPackage.examine(folder)).encode()
            (folder / REPORT_FILE).write_bytes(data)
            files[REPORT_FILE] = sha256_bytes(data)
            (folder / MANIFEST_NAME).write_bytes(msgspec.structs.replace(manifest, files=files).to_json())
        ModelPackage.examine(folder).check_hashes()
    return ModelPackage.examine(out)


def undo_commissioning(package: str | Path, out: str | Path) -> ModelPackage:
    """Write the package as it was before its last commissioning: decision, specification and references.

    Args:
        package: Folder of a commissioned package; it stays as it is.
        out: Folder of the new package; must not exist.

    Raises:
        CommissionError: the package was not commissioned.
        PackageError: the package is damaged or altered, or not signed as this machine demands.
        OutputError: `out` exists or cannot be written.
    """
    old = ModelPackage.read(package)
    provenance, matching = old.manifest.provenance, matching_of(old.manifest, old.path)
    if not provenance.commissionings:
        raise CommissionError(
            f"{old.path}: was never commissioned, so there is nothing to undo; `partsight inspect` shows its history"
        )
    last = provenance.commissionings[-1]
    further = {label: names[: len(names) - last.further.get(label, 0)] for label, names in matching.further.items()}
    before = msgspec.structs.replace(
        matching,
        spec=last.spec_before,
        decision=last.decision_before,
        further={label: names for label, names in further.items() if names},
    )
    provenance = msgspec.structs.replace(provenance, commissionings=provenance.commissionings[:-1])
    manifest = msgspec.structs.replace(old.manifest, matching=before, provenance=provenance)
    return write_package(old, Path(out), manifest, _records_before(old, last), {})


def _records_before(old: ModelPackage, last: Commissioning) -> np.ndarray:
    """Return the records of the bank without the references that a commissioning added: the last ones of each class."""
    records = load_bank(old).records
    is_kept = np.ones(len(records), bool)
    for label, count in last.further.items():
        rows = np.flatnonzero(records["class"] == old.manifest.labels.index(label))
        is_kept[rows[len(rows) - count :]] = False
    kept: np.ndarray = records[is_kept]
    return kept


def _files(
    old: ModelPackage, matching: Matching, records: np.ndarray, gallery: dict[str, bytes]
) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of every file except models, report and manifest."""
    before = matching_of(old.manifest, old.path)
    made_anew = {BANK_FILE, GRAPH_FILE, REPORT_FILE, *(name for name in (before.bank, before.graph) if name)}
    dropped = {name for names in before.further.values() for name in names}
    dropped -= {name for names in matching.further.values() for name in names}
    for name in old.manifest.files:
        if name not in made_anew and name not in dropped:
            yield name, old.file_bytes(name)
    yield from gallery.items()
    yield BANK_FILE, encode_bank(records)
    if matching.graph is None:
        return
    if before.graph and before.spec == matching.spec and before.further == matching.further:
        yield GRAPH_FILE, old.file_bytes(before.graph)
    else:
        import_extra("onnx", "enroll")
        from partsight.runtime.matching.trace import matching_graph  # noqa: PLC0415 (it needs the package onnx)

        yield GRAPH_FILE, matching_graph(matching.spec, Bank.of(records)).SerializeToString(deterministic=True)
