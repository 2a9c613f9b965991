"""A package of six patterned parts, and frames of a line that shows them."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import msgspec
import numpy as np

from partsight.runtime.calibration.variation import Variation, vary
from partsight.runtime.core.arrays import Pixels
from partsight.runtime.core.safe_folder import MANIFEST_NAME
from partsight.runtime.core.storage import sha256_bytes
from partsight.runtime.images.preprocessing import PreprocessSpec
from partsight.runtime.matching import BANK_FILE, GRAPH_FILE, Bank, MatchingSpec, encode_bank
from partsight.runtime.matching.trace import matching_graph
from partsight.runtime.package.gallery import prepare_gallery
from partsight.runtime.package.manifest import Decision, Manifest, Matching
from tests.tiny import COLOURS_BGR, SIDE_PX, write_tiny_package

LABELS = tuple(COLOURS_BGR)
SPEC = MatchingSpec(height=96, width=96)
SIDE = 128
"""Height and width of golden images and frames."""

LINE = Variation(rotation_deg=2.0, shift_percent=2.0, blur_px=0.3, noise_levels=1.0)
"""A controlled line."""


def part(label: str, seed: int = 0, spots: int = 14) -> Pixels:
    """Return a golden image: dark spots on the colour of a label.

    Another seed gives another part of that colour, one spot more gives a sibling.
    """
    rng = np.random.default_rng([seed, LABELS.index(label)])
    image = np.full((SIDE, SIDE, 3), COLOURS_BGR[label], np.float32) * 0.6 + 60
    for _ in range(spots):
        place = tuple(rng.integers(24, SIDE - 24, 2).tolist())
        cv2.circle(image, place, int(rng.integers(4, 10)), rng.integers(20, 120, 3).tolist(), -1, cv2.LINE_AA)
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 1.2), np.uint8)


def write_package(path: Path, threshold: float = 0.9, *, has_graph: bool = False) -> Path:
    """Write a package of these parts; its network sees the mean colour."""
    write_tiny_package(path)
    manifest = Manifest.from_json((path / MANIFEST_NAME).read_bytes(), "tiny")
    gallery = prepare_gallery([part(label) for label in LABELS], PreprocessSpec(SIDE_PX, SIDE_PX), SPEC)
    names = tuple(f"gallery/{index:05d}.jpg" for index in range(len(LABELS)))
    files = dict(zip(names, gallery.files, strict=True)) | {BANK_FILE: encode_bank(gallery.records)}
    if has_graph:
        graph = matching_graph(SPEC, Bank.of(gallery.records))
        files[GRAPH_FILE] = graph.SerializeToString(deterministic=True)
    for name, data in files.items():
        (path / name).write_bytes(data)
    decision = Decision("agreement", threshold, "by hand", 6, 0.01, 0.02)
    changed = msgspec.structs.replace(
        manifest,
        matching=Matching(SPEC, decision, names, BANK_FILE, GRAPH_FILE if has_graph else None),
        files=manifest.files | {name: sha256_bytes(data) for name, data in files.items()},
    )
    (path / MANIFEST_NAME).write_bytes(changed.to_json())
    return path


def write_frames(
    folder: Path,
    count: int = 5,
    *,
    labels: Sequence[str] = LABELS,
    seed: int = 0,
    spots: int = 14,
    variation: Variation = LINE,
) -> Path:
    """Write frames of each part into a folder for each; see `part` for other parts."""
    rng = np.random.default_rng(seed)
    for label in labels:
        golden = part(label, seed, spots)
        for number in range(count):
            save(folder / label / f"{number}.png", vary(golden, variation, rng))
    return folder


def save(path: Path, image: Pixels) -> Path:
    """Write an image file and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path
