"""The matching stage of a recogniser: it compares frames with the golden images of a package."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np

from partsight.runtime.core import PackageError, Pixels
from partsight.runtime.inference import ModelSettings, Provider
from partsight.runtime.matching import Bank, GraphMatcher, Matcher, prepare_all
from partsight.runtime.package import (
    Matching,
    ModelPackage,
    check_onnx,
    decode_golden_image,
    lost_references,
    resized,
)

_log = logging.getLogger("partsight")

MAX_PRELOADED_BYTES = 256 * 2**20
"""Bytes that a recogniser reads into memory: about 30,000 golden images; of the bank, about 3,000 references."""


@dataclass(frozen=True)
class MatchingStage:
    """The comparison with golden images, loaded.

    Attributes:
        matching: Settings of the comparison, in the package's manifest.
        matcher: Matcher of frames and references.
        package: Package with the golden images.
    """

    matching: Matching
    matcher: Matcher | GraphMatcher
    package: ModelPackage
    _files: dict[str, bytes] = field(default_factory=dict, repr=False)  # files of references in memory, by name

    def golden_image(self, index: int) -> Pixels:
        """Return a golden image at the size of the comparison, (height, width, 3) uint8 BGR.

        Raises:
            PackageError: The golden image is damaged or missing.
        """
        return self.reference_image(index, 0)

    def reference_image(self, index: int, reference: int) -> Pixels:
        """Return a part's reference at the size of the comparison, (height, width, 3) uint8 BGR.

        Args:
            index: Index of the part's label.
            reference: Index among the part's references, as in `Answer.reference`; 0 for its golden image.

        Raises:
            IndexError: The part has no such reference.
            PackageError: The reference is damaged or missing.
        """
        name = self.package.manifest.reference_files(index)[reference]
        if name in self._files:
            image = decode_golden_image(self._files[name], f"{self.package.path}: {name}")
        else:
            image = self.package.reference_image(index, reference)
        return resized(image, self.matching.spec.size_hw)

    def preload(self, is_wanted: Callable[[], bool], max_bytes: int = MAX_PRELOADED_BYTES) -> None:
        """Read the bank and the references' images into memory; of all parts the golden images first.

        Args:
            is_wanted: Returns whether to go on, before each image.
            max_bytes: Most bytes of the bank, and of the images. A bank beyond stays a map of its file.

        Raises:
            PackageError: An image is damaged or missing.
        """
        self.matcher.preload(max_bytes)
        room = max_bytes
        for name in (*self.matching.references, *chain.from_iterable(self.matching.further.values())):
            if room <= 0 or not is_wanted():
                return
            self._files[name] = self.package.file_bytes(name)
            room -= len(self._files[name])


def load_bank(package: ModelPackage) -> Bank:
    """Return the references that frames are compared with; computed from the golden images for old schema versions.

    Raises:
        PackageError: The package has no golden images, or a file was altered or damaged.
    """
    records = package.bank_records()
    if records is None:
        records = _prepare_records(package)
    return Bank.of(records)


def make_matcher(
    package: ModelPackage, matching: Matching, bank: Bank, provider: Provider, settings: ModelSettings
) -> Matcher | GraphMatcher:
    """Return the matcher for a provider: on a card the graph, on a CPU NumPy and OpenCV, which are faster there.

    Raises:
        PackageError: The package has no sound graph, and the provider needs one.
    """
    if not provider.on_card:
        return Matcher(bank, matching.spec)
    if matching.graph is None:
        raise PackageError(
            f"{package.path}: has no matching graph, which provider {provider.name} needs; export the package again"
        )
    graph = package.file_bytes(matching.graph)
    check_onnx(graph, f"{package.path}: {matching.graph}")
    # Always FP32: in FP16 positions would be a pixel off, and TF32 has no more digits. CUDA graphs would bind addresses
    # for each size of batch.
    gpu = replace(settings.engine.gpu, cuda_graphs=False, tf32=False)
    exact = replace(settings, arithmetic="fp32", engine=replace(settings.engine, gpu=gpu))
    return GraphMatcher(graph, bank, matching.spec, provider.name, exact)


def _prepare_records(package: ModelPackage) -> np.ndarray:
    manifest, parts = package.manifest, len(package.manifest.labels)
    assert manifest.matching is not None  # `ModelPackage.bank_records` refuses a package without
    lost = lost_references(manifest)
    if lost:
        label, count = next(iter(lost.items()))
        _log.warning(
            "%s: %d parts (%s, …) were learned from several images, and schema version %s holds only their golden "
            "images: frames are no longer compared with the other %d. Give them all again, for example: partsight "
            "enroll %s --replace --label %s %s --out NEW",
            package.path,
            len(lost),
            label,
            manifest.schema_version,
            sum(lost.values()),
            package.path,
            label,
            " ".join(f"IMAGE{number}" for number in range(1, count + 2)),
        )
    _log.warning(
        "%s: the package has schema version %s, of an earlier comparison, so that each start prepares its %d "
        "references. Export the package again for a faster start and a threshold found with the present comparison",
        package.path,
        manifest.schema_version,
        parts,
    )
    size_hw = manifest.matching.spec.size_hw
    return prepare_all((resized(package.golden_image(index), size_hw) for index in range(parts)), range(parts))
