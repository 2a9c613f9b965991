"""Golden images of a run: export finds them again and checks that they have not changed."""

from pathlib import Path

from partsight.runtime.core import ExportError, progress, sha256_bytes
from partsight.runtime.images import ImageFiles
from partsight.train.run_folder import RunRecord


def find_goldens(record: RunRecord, catalog_folder: Path | None) -> ImageFiles:
    """Check every golden image and return them in the order of the classes.

    Args:
        record: Record of the run.
        catalog_folder: Folder of the golden images, if they have moved since training; None for the same folder.

    Raises:
        ExportError: A golden image is missing or has changed since training.
    """
    root = catalog_folder or Path(record.catalog)
    for golden in progress(record.goldens, len(record.goldens), "checking golden images", "image"):
        path = root / golden.file
        try:
            found = sha256_bytes(path.read_bytes())
        except OSError as error:
            raise ExportError(
                f"{path}: the golden image of {golden.label} cannot be read ({error}); if the catalogue has moved, "
                "name its folder with --catalog"
            ) from error
        if found != golden.sha256:
            raise ExportError(
                f"{path}: the golden image of {golden.label} has changed since training (SHA-256 {found[:12]}…, "
                f"expected {golden.sha256[:12]}…); train again with the new image, or restore the old one"
            )
    return ImageFiles([root / golden.file for golden in record.goldens])
