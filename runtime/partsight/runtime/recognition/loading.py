"""Loading: from a package's folder, or an ONNX file alone, to the network and the matching stage of a recogniser."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from partsight.runtime.core import PackageError, SignatureError, release_freed_memory
from partsight.runtime.inference import Arithmetic, ModelSettings, PrototypeSearch, Session, is_remote, open_session
from partsight.runtime.matching import Matcher
from partsight.runtime.package import (
    METADATA_KEY,
    Manifest,
    ModelPackage,
    Precision,
    check_digest,
    check_onnx,
    package_id_of,
)
from partsight.runtime.recognition.matching_stage import MatchingStage, load_bank, make_matcher
from partsight.runtime.recognition.remote import RemoteSession, check_settings, parse_address
from partsight.runtime.signing import KeyLike, check_cache, find_demands

_BUNDLE_KEY = b"partsight.bundle"  # in the metadata of the file that `partsight bundle` writes


@dataclass(frozen=True)
class Loaded:
    """A package or an ONNX file, loaded.

    Attributes:
        manifest: Manifest of the package, or in the file's metadata.
        package_id: Id of the package.
        session: The network, on this machine or on a server.
        matching_stage: Comparison with golden images; None without.
        signed_by: Ids of the trusted keys that signed it; empty if no signature was demanded.
    """

    manifest: Manifest
    package_id: str
    session: Session | RemoteSession
    matching_stage: MatchingStage | None = None
    signed_by: tuple[str, ...] = ()


def load(
    path: Path,
    provider: str,
    settings: ModelSettings,
    trusted_keys: Sequence[KeyLike] | None = None,
    *,
    matching: bool = True,
) -> Loaded:
    """Load a package's folder, or an ONNX file alone by the manifest in its metadata.

    Args:
        path: Path of the folder or file.
        provider: Provider as for `open_session`, or the address of a model on a server.
        settings: How to run the network.
        trusted_keys: Keys as for `ModelPackage.read`.
        matching: Whether to load the matching stage, if the package has one.

    Raises:
        PackageError: The package is damaged or altered, or its labels do not match its network.
        SignatureError: The package lacks a demanded signature. An ONNX file alone has none.
        KeyFileError: A trusted key cannot be read, or others may write to the cache of compiled models.
        ProviderError: The provider does not work on this machine.
        DependencyError: The library of the provider, or the one for signatures, is not installed.
    """
    if is_remote(provider):
        return _load_for_server(path, provider, settings, trusted_keys, matching)
    is_alone = path.suffix == ".onnx" and os.path.isfile(path)  # noqa: PTH113 (Path.is_file raises where it may not look)
    loaded = (
        _load_alone(path, provider, settings, trusted_keys)
        if is_alone
        else _load_package(path, provider, settings, trusted_keys, matching)
    )
    release_freed_memory()
    return loaded


def load_search(package: ModelPackage, *, is_plain: bool = False) -> PrototypeSearch | None:
    """Return the search for the best scores in a package's prototype file; None if the network gives the scores.

    Args:
        package: Package that has been read.
        is_plain: Whether the search always computes every score.

    Raises:
        PackageError: The prototype file was altered or damaged.
    """
    prototypes = package.prototypes()
    return None if prototypes is None else PrototypeSearch(prototypes, is_plain=is_plain)


def _load_alone(path: Path, provider: str, settings: ModelSettings, trusted_keys: Sequence[KeyLike] | None) -> Loaded:
    demands = find_demands(trusted_keys)
    if demands:
        raise SignatureError(
            f"{path}: an ONNX file alone has no signature, and must be signed by one of {demands[0]}; use the "
            "package's folder"
        )
    try:
        model = path.read_bytes()
    except OSError as error:
        raise PackageError(f"{path}: cannot be read ({error}); check the rights of the file") from error
    if _BUNDLE_KEY in model:
        raise PackageError(
            f"{path}: is a bundle, which ONNX Runtime runs without partsight (docs/bundle.md); expected the package's "
            "folder, from which `partsight bundle` made it"
        )
    check_digest(model, str(path))
    check_onnx(model, str(path))
    session = open_session(model, provider, settings)
    text = session.metadata.get(METADATA_KEY)
    if text is None:
        raise PackageError(
            f"{path}: its metadata holds no partsight manifest; use a file that `partsight export` wrote"
        )
    manifest = msgspec.structs.replace(Manifest.from_json(text.encode(), str(path)), matching=None)
    _check_agreement(path, manifest, session)
    return Loaded(manifest, package_id_of(text.encode()), session)


def _load_package(
    path: Path, provider: str, settings: ModelSettings, trusted_keys: Sequence[KeyLike] | None, matching: bool
) -> Loaded:
    package = ModelPackage.read(path, trusted_keys)
    cache = settings.engine.cache_folder
    if package.signed_by and cache is not None:
        check_cache(cache)
    spec, comparison = package.manifest.preprocess, package.manifest.matching
    of_network = replace(settings, input_hw=(spec.height, spec.width))
    model = package.model_bytes(_file_of(settings.arithmetic))
    with ThreadPoolExecutor(1, "partsight-load") as pool:  # hash the bank while the engine loads the network
        bank = pool.submit(load_bank, package) if comparison and matching else None
        session = open_session(model, provider, of_network, load_search(package))
        _check_agreement(path, package.manifest, session)
        stage = None
        if comparison and bank:
            matcher = make_matcher(package, comparison, bank.result(), session.provider, settings)
            stage = MatchingStage(comparison, matcher, package)
    return Loaded(package.manifest, package.package_id, session, stage, package.signed_by)


def _load_for_server(
    path: Path, provider: str, settings: ModelSettings, trusted_keys: Sequence[KeyLike] | None, matching: bool
) -> Loaded:
    """Load all of a package but its network, which a server runs."""
    address = parse_address(provider)
    check_settings(address, settings, matching=matching)
    package = ModelPackage.read(path, trusted_keys)
    comparison = package.manifest.matching
    if comparison is None:
        raise PackageError(
            f"{path}: compares no frames with golden images, and a server answers only with both stages; use a "
            "provider of this machine, such as cpu"
        )
    stage = MatchingStage(comparison, Matcher(load_bank(package), comparison.spec), package)
    return Loaded(package.manifest, package.package_id, RemoteSession(address), stage, package.signed_by)


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
