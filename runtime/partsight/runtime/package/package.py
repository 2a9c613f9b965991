"""Reading a model package: the folder that export writes and the line loads."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np

from partsight.runtime.core import (
    MANIFEST_NAME,
    SIGNATURE_NAME,
    HeldFolder,
    PackageError,
    Pixels,
    SignatureError,
    check_names,
    decode_prototypes,
    find_files,
    hash_file,
    is_temporary,
    map_file,
    read_file,
    sha256_bytes,
)
from partsight.runtime.images import describe_mistake
from partsight.runtime.inference import PrototypeSearch
from partsight.runtime.matching import decode_bank, prepare_all
from partsight.runtime.package.gallery import decode_reference, resized
from partsight.runtime.package.manifest import Manifest, Matching, ModelFile, Precision
from partsight.runtime.package.onnx_file import check_onnx
from partsight.runtime.signing import Demand, KeyLike, check_signatures, find_demands

_log = logging.getLogger("partsight")

MAX_MANIFEST_BYTES = 64 * 2**20  # of 100,000 parts, 20 MB
_MAX_MODEL_BYTES = 2 * 2**30  # of the format
_MAX_ARRAY_BYTES = 16 * 2**30
_MAX_HEADER_BYTES, _MAX_ROW_BYTES = 2**16, 2**22
_MAX_OTHER_BYTES = 64 * 2**20
_EXPECTED = "expected a folder that `partsight export` wrote"


@dataclass(frozen=True)
class ModelPackage:
    """A model package on disk whose manifest has been read and whose files are all there.

    Attributes:
        path: its folder.
        manifest: what it says of itself.
        package_id: see `package_id_of`; names the package in results and logs.
        signed_by: ids of the trusted keys whose signatures were checked; empty where no signature was demanded.
    """

    path: Path
    manifest: Manifest
    package_id: str
    signed_by: tuple[str, ...] = ()
    _folder: HeldFolder | None = field(default=None, compare=False, repr=False)
    _kept: dict[str, bytes] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def read(cls, path: str | Path, trusted_keys: Sequence[KeyLike] | None = None) -> "ModelPackage":
        """Read a package to use it.

        Where a signature is demanded, by `trusted_keys` or by this machine (see `trust.machine_demand`), it is checked
        before anything else, then every file, and there must be no other. Else, the contents of a file are checked when
        it is used (`model_bytes`) or all at once (`verify`). Either way the bytes that are used are those checked.

        Args:
            path: its folder.
            trusted_keys: one of which must have signed it; None where this machine alone decides.

        Raises:
            PackageError: there is no package, it is damaged, or it is of another schema version.
            SignatureError: no trusted key signed it, or the folder holds more than was signed.
            KeyFileError: a trusted key cannot be read, or the machine's setting is broken.
            DependencyError: a signature is demanded, and the package `cryptography` is not installed.
        """
        return cls._read(Path(path), find_demands(trusted_keys))

    @classmethod
    def examine(cls, path: str | Path) -> "ModelPackage":
        """Read a package to look at it, to sign it, or after writing it: no signature is demanded.

        Raises:
            PackageError: as of `read`.
        """
        return cls._read(Path(path), ())

    @classmethod
    def _read(cls, path: Path, demands: Sequence[Demand]) -> "ModelPackage":
        try:
            folder = HeldFolder(path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise PackageError(
                f"{path}: {describe_mistake(path, 'package') or 'there is no such model package'}; {_EXPECTED}"
            ) from error
        except OSError as error:
            raise PackageError(f"{path}: cannot be read ({error}); may you read it?") from error
        mistake = describe_mistake(path, "package")
        if mistake:
            raise PackageError(f"{path}: {mistake}; {_EXPECTED}")
        data = read_file(folder, MANIFEST_NAME, MAX_MANIFEST_BYTES)
        signed_by = check_signatures(path, data, demands) if demands else ()
        manifest = Manifest.from_json(data, str(path))
        if not manifest.models:
            raise PackageError(f"{path}: the manifest names no model; export the package again")
        package = cls(path, manifest, package_id_of(data), signed_by, folder)
        package._check_names()
        package._check_present()
        if demands:
            package.check_whole()
        return package

    def hashes(self) -> dict[str, str]:
        """Return the SHA-256 of every file that the manifest names, by its path in the package."""
        models = {model.file: model.sha256 for model in self.manifest.models.values()}
        return models | self.manifest.files

    def _hash_of(self, name: str) -> str:
        # Not by way of `hashes`, which would be made anew for each of thousands of references.
        return self.manifest.files[name] if name in self.manifest.files else self.hashes()[name]

    def model(self, precision: Precision) -> ModelFile:
        """Return what the manifest says of the model in `precision`.

        Raises:
            PackageError: the package has none; the message says why, or how to get it.
        """
        model = self.manifest.models.get(precision)
        if model is not None:
            return model
        has = f"the package has {', '.join(self.manifest.models)}"
        refused = self.manifest.refused.get(precision)
        if refused is not None:
            raise PackageError(
                f"{self.path}: asked for precision {precision}, which export did not write: {refused}; {has}"
            )
        if precision not in get_args(Precision):
            raise PackageError(f"{self.path}: precision {precision!r} is not known; {has}")
        wanted = ",".join((*self.manifest.models, precision))
        raise PackageError(
            f"{self.path}: asked for precision {precision}; {has}. Make a package that has it with: "
            f"partsight export RUN --out NEW --precision {wanted}"
        )

    def model_bytes(self, precision: Precision) -> bytes:
        """Return the ONNX file's bytes, checked against the manifest.

        Raises:
            PackageError: the package has no such precision, the file is not the one that export wrote, or it names
                other files.
        """
        name = self.model(precision).file
        data = self.file_bytes(name)
        check_onnx(data, f"{self.path}: {name}")
        return data

    def golden_image(self, index: int) -> Pixels:
        """Return the golden image that frames of a class are compared with, checked against the manifest.

        Returns:
            (height, width, 3) uint8 BGR, as it lies in the package.

        Raises:
            PackageError: the package has none, or the file is not the one that export wrote.
        """
        name = self._matching().references[index]
        return decode_reference(self.file_bytes(name), f"{self.path}: {name}")

    def keep_golden_image(self, index: int) -> int:
        """Keep the file of a golden image in memory, checked against the manifest, and return how many bytes it has.

        Raises:
            PackageError: as of `golden_image`.
        """
        name = self._matching().references[index]
        self._kept[name] = self.file_bytes(name)
        return len(self._kept[name])

    def bank_records(self) -> np.ndarray:
        """Return what matching needs of references, one record each, mapped into memory.

        Of a package of schema version 1 it is computed from the golden images.

        Raises:
            PackageError: the package has none, or a file is not the one that export wrote.
        """
        matching = self._matching()
        classes, size_hw = len(self.manifest.labels), matching.spec.size_hw
        if matching.bank is None:
            _log.warning(
                "%s: a package of schema version %s, made for an earlier comparison; its %d references are prepared "
                "now, at each start. Export it again for a faster start and for a threshold found with this comparison",
                self.path,
                self.manifest.schema_version,
                classes,
            )
            images = (resized(self.golden_image(index), size_hw) for index in range(classes))
            return prepare_all(images, range(classes))
        mapped = map_file(self._folder or self.path, matching.bank, self._largest(matching.bank))
        self._check_hash(matching.bank, sha256_bytes(mapped), self._hash_of(matching.bank))
        return decode_bank(mapped, classes, size_hw, f"{self.path}: {matching.bank}")

    def _matching(self) -> Matching:
        if self.manifest.matching is None:
            raise PackageError(f"{self.path}: the package has no references to compare frames with; export it again")
        return self.manifest.matching

    def search(self, *, is_plain: bool = False) -> PrototypeSearch | None:
        """Return what finds the scores, from prototypes checked against the manifest.

        Args:
            is_plain: compute every score, whatever it takes.

        Returns:
            None where the network itself gives them.

        Raises:
            PackageError: the file is not the one that export wrote.
        """
        search = self.manifest.search
        if search is None:
            return None
        data, source = self.file_bytes(search.file), f"{self.path}: {search.file}"
        prototypes = decode_prototypes(data, len(self.manifest.labels), source)
        return PrototypeSearch(prototypes, is_plain=is_plain)

    def verify(self) -> None:
        """Check the bytes of every file that the manifest names.

        Raises:
            PackageError: a file is not the one that export wrote.
        """
        for name, expected in self.hashes().items():
            self._check_hash(name, hash_file(self._folder or self.path, name, self._largest(name)), expected)

    def check_whole(self) -> None:
        """Check the bytes of every file, and that there is no other but a signature.

        Raises:
            PackageError: a file is not the one that export wrote.
            SignatureError: there is another one.
        """
        names = self.hashes()
        others = find_files(self.path, names) - names.keys() - {MANIFEST_NAME, SIGNATURE_NAME}
        # While somebody signs, or if that was killed: never read, and the next signing removes it.
        others = {name for name in others if not is_temporary(name, SIGNATURE_NAME)}
        if others:
            raise SignatureError(
                f"{self.path}: {min(others)} is not in the manifest, and a signed package holds nothing that was not "
                "signed; remove it, or copy the package again"
            )
        self.verify()

    def file_bytes(self, name: str) -> bytes:
        """Return the bytes of a file that the manifest names, checked against it.

        Raises:
            PackageError: the file is not the one that export wrote.
        """
        if name in self._kept:
            return self._kept[name]
        data = read_file(self._folder or self.path, name, self._largest(name))
        self._check_hash(name, sha256_bytes(data), self._hash_of(name))
        return data

    def _check_hash(self, name: str, found: str, expected: str) -> None:
        if found != expected:
            raise PackageError(
                f"{self.path}: {name} has SHA-256 {found[:12]}…, the manifest says {expected[:12]}…: it was altered "
                "or damaged after export; copy the package again or export it again"
            )

    def _largest(self, name: str) -> int:
        if name.endswith(".npy"):  # a row for each label, or for each of its references
            return min(_MAX_ARRAY_BYTES, _MAX_HEADER_BYTES + _MAX_ROW_BYTES * len(self.manifest.labels))
        return _MAX_OTHER_BYTES if name in self.manifest.files else _MAX_MODEL_BYTES

    def _check_names(self) -> None:
        matching, search = self.manifest.matching, self.manifest.search
        used = [*(matching.references if matching else ()), *([search.file] if search else ())]
        used += [name for name in (matching.bank, matching.graph) if name] if matching else []
        unnamed = [name for name in used if name not in self.manifest.files]
        if unnamed:
            raise PackageError(f"{self.path}: the manifest names no SHA-256 of {unnamed[0]}; export the package again")
        models = [(model.file, model.sha256) for model in self.manifest.models.values()]
        check_names(self.path, (*models, *self.manifest.files.items()))

    def _check_present(self) -> None:
        names = self.hashes()
        missing = names.keys() - find_files(self.path, names)
        if missing:
            raise PackageError(f"{self.path}: {min(missing)} is missing; copy the package again or export it again")


def package_id_of(manifest: bytes) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a manifest's bytes."""
    return sha256_bytes(manifest)[:16]
