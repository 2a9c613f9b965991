"""A model repository: folders that a Triton server reads. A model is a folder, each retrained package a version in it.

REPOSITORY/NAME/config.pbtxt
REPOSITORY/NAME/1/model.onnx, labels.txt, manifest.json, signature.json
"""

import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from partsight.export.bundle import Bundle, write_bundle
from partsight.export.triton.check import Checked, check_model
from partsight.export.triton.config import (
    CONFIG_NAME,
    DEFAULT_BATCH,
    check_config,
    forget_versions,
    new_config,
    read_config,
    recorded_versions,
    set_batch,
    set_tensorrt,
    set_version,
    write_config,
)
from partsight.export.triton.instances import Instances
from partsight.runtime.core import (
    MANIFEST_NAME,
    SIGNATURE_NAME,
    ExportError,
    OutputError,
    PackageError,
    hash_file,
    new_folder,
    read_file,
    scratch,
    write_file,
)
from partsight.runtime.matching import via_size
from partsight.runtime.package import MAX_MANIFEST_BYTES, ModelPackage, Precision, package_id_of
from partsight.runtime.signing import KeyLike, check_signatures, find_demands, read_signatures

MODEL_NAME, LABELS_NAME = "model.onnx", "labels.txt"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", re.ASCII)
_VERSION = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_MAX_MODEL_BYTES = 2**31


@dataclass(frozen=True)
class ModelOptions:
    """Options of a model. None keeps what the configuration has, or takes the default for a new model.

    Attributes:
        batch: Most frames in a batch; 16 by default.
        instances: Copies of the model on the server; one by default.
        tensorrt: Folder on the server in which TensorRT keeps its engines; without, cards compute by CUDA.
    """

    batch: int | None = None
    instances: Instances | None = None
    tensorrt: str | None = None

    def write(self, config: Any) -> None:
        """Set the options in a `ModelConfig`."""
        if self.batch is not None or not config.max_batch_size:
            set_batch(config, self.batch or DEFAULT_BATCH)
        if self.instances is not None or not config.instance_group:
            (self.instances or Instances()).write(config)
        if self.tensorrt is not None:
            set_tensorrt(config, self.tensorrt)


@dataclass(frozen=True)
class Source:
    """A package to write or to check.

    Attributes:
        package: Package that has been read with `trusted_keys`.
        precision: Precision of the network.
        trusted_keys: Keys that the caller trusts; None if only this machine's setting counts.
    """

    package: ModelPackage
    precision: Precision = "fp32"
    trusted_keys: Sequence[KeyLike] | None = field(default=None)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the model's input, in pixels."""
        matching = self.package.manifest.matching
        if matching is None:
            raise PackageError(f"{self.package.path}: the package has no golden images; export it again")
        return via_size(self.package.manifest.preprocess, matching.spec)


@dataclass(frozen=True)
class TritonModel:
    """A version of a model that was written or checked.

    Attributes:
        folder: Folder of the version.
        config: Its `ModelConfig`.
        checked: Result of the check.
        is_as_written: Whether this partsight writes the same bytes.
    """

    folder: Path
    config: Any
    checked: Checked
    is_as_written: bool = True

    @property
    def version(self) -> int:
        """Number of the version."""
        return int(self.folder.name)


def add_to_repository(source: Source, repository: Path, name: str, options: ModelOptions) -> TritonModel:
    """Write a package as a new version of a model, after a check of its answers.

    A package that the model has already keeps its version; then only the options are written. A call that fails leaves
    the repository as it was.

    Args:
        source: Package.
        repository: Folder that the Triton server reads.
        name: Name of the model.
        options: Options of the model.

    Raises:
        PackageError, SignatureError: The package is damaged, or a file of it is.
        ExportError: The package fits no bundle or not this model, or the written model answers otherwise.
        OutputError: The repository cannot be written.
        ValueError: The name or an option is out of bounds.
        DependencyError: `tritonclient` or ONNX Runtime is not installed.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"received the name {name!r}; expected letters, digits and . _ - (at most 100)")
    if options.tensorrt is not None and source.precision != "fp32":
        raise ValueError(
            f"received TensorRT with precision {source.precision}; expected fp32: in TensorRT the precision holds for "
            "the comparison with golden images, too, which then finds other positions"
        )
    folder = repository / name
    if not folder.exists():
        return _write_first(source, folder, options)
    config = read_config(folder / CONFIG_NAME)
    check_config(config, name, source.size_hw, folder / CONFIG_NAME)
    options.write(config)
    known = _versions_of(folder).get(source.package.package_id)
    return _write_next(source, folder, config) if known is None else _write_options(source, folder, config, known)


def check_repository(source: Source, repository: Path, name: str) -> TritonModel:
    """Check the version of a package in a repository: its configuration, signature, bytes and answers.

    Args:
        source: Package; its precision is the version's.
        repository: Folder that the Triton server reads.
        name: Name of the model.

    Raises:
        ExportError: There is no such version, the configuration does not fit, or the answers differ.
        PackageError, SignatureError: The package is damaged; or a signature is demanded, and the version lacks it or
            holds other bytes than the package gives.
        DependencyError: `tritonclient` or ONNX Runtime is not installed.
    """
    folder, package = repository / name, source.package
    config = read_config(folder / CONFIG_NAME)
    check_config(config, name, source.size_hw, folder / CONFIG_NAME)
    found = _versions_of(folder)
    version = found.get(package.package_id)
    if version is None:
        has = ", ".join(f"{number} of {package_id}" for package_id, number in found.items()) or "none"
        raise ExportError(
            f"{folder}: has no version of package {package.package_id}, but {has}; run it without --check"
        )
    if recorded_versions(config).get(version) != package.package_id:
        raise ExportError(
            f"{folder / CONFIG_NAME}: does not name package {package.package_id} as version {version}; run "
            "`partsight triton` without --check: it writes the configuration again"
        )
    _check_signed(source, folder / str(version))
    is_as_written = _is_as_written(source, folder / str(version) / MODEL_NAME)
    if package.signed_by and not is_as_written:
        raise ExportError(
            f"{folder / str(version) / MODEL_NAME}: differs from what the signed package gives; it was altered, or "
            "another version of partsight wrote it: remove the version's folder and write it again"
        )
    return TritonModel(folder / str(version), config, _checked(source, folder / str(version), config), is_as_written)


def _write_first(source: Source, folder: Path, options: ModelOptions) -> TritonModel:
    config = new_config(folder.name, source.size_hw)
    options.write(config)
    set_version(config, 1, source.package.package_id, source.package.signed_by)
    with new_folder(folder) as partial:
        (partial / "1").mkdir()
        _write_files(source, partial / "1")
        write_config(config, partial / CONFIG_NAME)
        checked = _checked(source, partial / "1", read_config(partial / CONFIG_NAME))
    return TritonModel(folder / "1", config, checked)


def _write_next(source: Source, folder: Path, config: Any) -> TritonModel:
    present = tuple(_versions_of(folder).values())
    version = max([0, *present, *recorded_versions(config)]) + 1  # never that of a version that was removed
    forget_versions(config, present)
    set_version(config, version, source.package.package_id, source.package.signed_by)
    target = folder / str(version)
    with new_folder(target) as partial:  # Triton ignores a folder that is no number
        _write_files(source, partial)
        checked = _checked(source, partial, config)
    try:
        write_config(config, folder / CONFIG_NAME)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
    return TritonModel(target, config, checked)


def _write_options(source: Source, folder: Path, config: Any, version: int) -> TritonModel:
    target = folder / str(version)
    if not _is_as_written(source, target / MODEL_NAME):
        raise OutputError(
            f"{target}: holds package {source.package.package_id} already, in another precision or by another version "
            "of partsight; remove that folder, or add `--name` with another name"
        )
    set_version(config, version, source.package.package_id, source.package.signed_by)
    checked = _checked(source, target, config)
    write_config(config, folder / CONFIG_NAME)
    return TritonModel(target, config, checked)


def _write_files(source: Source, folder: Path) -> Bundle:
    package = source.package
    manifest = read_file(package.path, MANIFEST_NAME, MAX_MANIFEST_BYTES)
    if package_id_of(manifest) != package.package_id:
        raise PackageError(f"{package.path}: changed while partsight read it; run the command again")
    written = write_bundle(package, folder / MODEL_NAME, source.precision, has_texts=True)
    write_file(folder / LABELS_NAME, "".join(f"{label}\n" for label in package.manifest.labels).encode())
    write_file(folder / MANIFEST_NAME, manifest)
    if read_signatures(package.path):
        write_file(folder / SIGNATURE_NAME, read_file(package.path, SIGNATURE_NAME, MAX_MANIFEST_BYTES))
    _check_signed(source, folder)
    return written


def _check_signed(source: Source, folder: Path) -> None:
    """Check the signature file of a version, if one is demanded.

    Raises:
        SignatureError: No trusted key signed the version's manifest.
    """
    demands = find_demands(source.trusted_keys)
    if demands:
        check_signatures(folder, read_file(folder, MANIFEST_NAME, MAX_MANIFEST_BYTES), demands)


def _checked(source: Source, folder: Path, config: Any) -> Checked:
    return check_model(folder / MODEL_NAME, config, source.package, source.precision, source.trusted_keys)


def _is_as_written(source: Source, model: Path) -> bool:
    """Return whether this partsight writes the same bytes for the package."""
    with scratch("a model to compare with"), tempfile.TemporaryDirectory() as folder:
        write_bundle(source.package, Path(folder) / MODEL_NAME, source.precision, has_texts=True)
        hashes = (hash_file(path, MODEL_NAME, _MAX_MODEL_BYTES) for path in (Path(folder), model.parent))
        return len(set(hashes)) == 1


def _versions_of(folder: Path) -> dict[str, int]:
    """Return the version of each package, by the package's id.

    Raises:
        ExportError: A version's folder is not as `partsight triton` writes it.
    """
    found: dict[str, int] = {}
    for path in sorted(item for item in folder.iterdir() if _VERSION.fullmatch(item.name)):
        try:
            found[package_id_of(read_file(path, MANIFEST_NAME, MAX_MANIFEST_BYTES))] = int(path.name)
        except PackageError as error:
            raise ExportError(
                f"{path}: is no version that `partsight triton` wrote ({error}); remove it, or add `--name` with "
                "another name"
            ) from error
    return found
