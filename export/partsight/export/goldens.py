"""The golden images that a run learned from, found again and checked."""

from pathlib import Path

from partsight.runtime.core import ExportError, progress, sha256_bytes
from partsight.runtime.images import ImageFiles
from partsight.train.run_folder import RunRecord


def find_goldens(record: RunRecord, catalog_folder: Path | None) -> ImageFiles:
    """Return the golden images in the order of the classes, after a check of every file.

    Args:
        record: of the run.
        catalog_folder: where they are now; None for where they were in training.

    Raises:
        ExportError: one is missing or is not the image that was learned from.
    """
    root = catalog_folder or Path(record.catalog)
    for golden in progress(record.goldens, len(record.goldens), "checking golden images", "image"):
        path = root / golden.file
        try:
            found = sha256_bytes(path.read_bytes())
        except OSError as error:
            raise ExportError(
                f"{path}: the golden image of {golden.label} cannot be read ({error}); if the catalogue has moved, "
                "say where to with --catalog"
            ) from error
        if found != golden.sha256:
            raise ExportError(
                f"{path}: is not the golden image that {golden.label} was learned from (SHA-256 {found[:12]}…, "
                f"expected {golden.sha256[:12]}…); train again with the new image, or restore the old one"
            )
    return ImageFiles([root / golden.file for golden in record.goldens])
