"""Loading: from a package's folder, or an ONNX file alone, to all that a recogniser needs."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from partsight.runtime.core import PackageError, SignatureError, give_back_freed
from partsight.runtime.inference import Arithmetic, Choice, Provider, Session, Settings, open_session
from partsight.runtime.matching import Bank, GraphMatcher, Matcher
from partsight.runtime.package import (
    METADATA_KEY,
    Manifest,
    Matching,
    ModelPackage,
    Precision,
    check_digest,
    check_onnx,
    package_id_of,
)
from partsight.runtime.signing import KeyLike, check_cache, find_demands

_MAX_HELD_BYTES = 256 * 2**20  # of golden images, some thirty thousand; of the bank, some three thousand references

_BUNDLE_KEY = b"partsight.bundle"  # in the metadata of the file that `partsight bundle` writes


@dataclass(frozen=True)
class Comparison:
    """The second stage of a package."""

    matching: Matching
    matcher: Matcher | GraphMatcher
    package: ModelPackage

    def preload(self, wanted: Callable[[], bool]) -> None:
        """Read bank and golden images into memory while they are wanted, at most `_MAX_HELD_BYTES` of each.

        Raises:
            PackageError: a golden image is damaged or gone.
        """
        self.matcher.preload(_MAX_HELD_BYTES)
        room = _MAX_HELD_BYTES
        for index in range(len(self.matching.references)):
            if room <= 0 or not wanted():
                return
            room -= self.package.keep_golden_image(index)


@dataclass(frozen=True)
class Loaded:
    """What was found at a path: `package` is None for an ONNX file alone, `comparison` without a second stage."""

    manifest: Manifest
    package_id: str
    choice: Choice
    package: ModelPackage | None = None
    comparison: Comparison | None = None

    @property
    def signed_by(self) -> tuple[str, ...]:
        """Ids of the trusted keys that signed it; empty where no signature was demanded."""
        return self.package.signed_by if self.package else ()


def load(
    path: Path,
    provider: str,
    settings: Settings,
    trusted_keys: Sequence[KeyLike] | None = None,
    *,
    has_comparison: bool = True,
) -> Loaded:
    """Load a package's folder, or an ONNX file alone by the manifest in its metadata.

    Args:
        path: of the folder or file.
        provider: see `choice.open_session`.
        settings: how the network is run.
        trusted_keys: see `ModelPackage.read`.
        has_comparison: whether the second stage is loaded, where there is one.

    Raises:
        PackageError: it is damaged or altered, or its labels do not match its network.
        SignatureError: it is not signed as it has to be; so is no ONNX file alone.
        KeyFileError: a trusted key cannot be read, or others may write to the cache of what is compiled.
        ProviderError: the provider cannot be had here.
        DependencyError: the provider's library is not installed, or that for signatures.
    """
    is_alone = path.suffix == ".onnx" and os.path.isfile(path)  # noqa: PTH113 (Path.is_file raises where it may not look)
    loaded = (
        _load_alone(path, provider, settings, trusted_keys)
        if is_alone
        else _load_package(path, provider, settings, trusted_keys, has_comparison)
    )
    _check_agreement(path, loaded.manifest, loaded.choice.session)
    give_back_freed()
    return loaded


def _load_alone(path: Path, provider: str, settings: Settings, trusted_keys: Sequence[KeyLike] | None) -> Loaded:
    demands = find_demands(trusted_keys)
    if demands:
        raise SignatureError(
            f"{path}: an ONNX file alone has no signature, and must be signed by one of {demands[0]}; use the "
            "package's folder"
        )
    try:
        model = path.read_bytes()
    except OSError as error:
        raise PackageError(f"{path}: cannot be read ({error}); may you read it?") from error
    if _BUNDLE_KEY in model:
        raise PackageError(
            f"{path}: is a bundle, which ONNX Runtime runs without partsight (docs/bundle.md); expected the package's "
            "folder, from which `partsight bundle` made it"
        )
    check_digest(model, str(path))
    check_onnx(model, str(path))
    choice = open_session(model, provider, settings)
    text = choice.session.metadata.get(METADATA_KEY)
    if text is None:
        raise PackageError(
            f"{path}: its metadata holds no partsight manifest; use a file that `partsight export` wrote"
        )
    manifest = msgspec.structs.replace(Manifest.from_json(text.encode(), str(path)), matching=None)
    return Loaded(manifest, package_id_of(text.encode()), choice)


def _load_package(
    path: Path, provider: str, settings: Settings, trusted_keys: Sequence[KeyLike] | None, has_comparison: bool
) -> Loaded:
    package = ModelPackage.read(path, trusted_keys)
    if package.signed_by and settings.cache is not None:
        check_cache(settings.cache)
    spec, matching = package.manifest.preprocess, package.manifest.matching
    known = replace(settings, input_hw=(spec.height, spec.width))
    model = package.model_bytes(_file_of(settings.arithmetic))
    with ThreadPoolExecutor(1, "partsight-load") as pool:  # the bank is hashed while the network is made ready
        records = pool.submit(package.bank_records) if matching and has_comparison else None
        choice = open_session(model, provider, known, package.search())
        comparison = None
        if matching and records:
            matcher = _matcher(package, matching, Bank.of(records.result()), choice.session.provider, settings)
            comparison = Comparison(matching, matcher, package)
    return Loaded(package.manifest, package.package_id, choice, package, comparison)


def _matcher(
    package: ModelPackage, matching: Matching, bank: Bank, provider: Provider, settings: Settings
) -> Matcher | GraphMatcher:
    """Return what compares frames: on a card the graph, on a processor NumPy and OpenCV, which are faster there."""
    if not provider.on_card:
        return Matcher(bank, matching.spec)
    if matching.graph is None:
        raise PackageError(
            f"{package.path}: has no matching graph, which provider {provider.name} needs; export the package again"
        )
    graph = package.file_bytes(matching.graph)
    check_onnx(graph, f"{package.path}: {matching.graph}")
    # FP32, whatever the network is computed in: places in FP16 would be a pixel off, and TF32 has no more digits. CUDA
    # graphs would bind addresses for each size of batch.
    gpu = replace(settings.gpu, cuda_graphs=False, tf32=False)
    return GraphMatcher(graph, bank, matching.spec, provider.name, replace(settings, arithmetic="fp32", gpu=gpu))


def _file_of(arithmetic: Arithmetic) -> Precision:
    return "fp32" if arithmetic == "bf16" else arithmetic


def _check_agreement(path: Path, manifest: Manifest, session: Session) -> None:
    if len(manifest.labels) != session.classes:
        raise PackageError(
            f"{path}: the manifest has {len(manifest.labels)} labels, the network {session.classes} scores; "
            "they are not from one export: export the package again"
        )
    expected = (manifest.preprocess.height, manifest.preprocess.width)
    if expected != session.input_hw:
        raise PackageError(
            f"{path}: the manifest prepares frames of {expected} (height, width), the network takes "
            f"{session.input_hw}; they are not from one export: export the package again"
        )
