"""Reading a model package: the folder that export writes and the line loads."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import get_args

import numpy as np

from partsight.runtime.core import (
    MANIFEST_NAME,
    SIGNATURE_NAME,
    FloatArray,
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
    warn_renamed,
)
from partsight.runtime.images import describe_mistake
from partsight.runtime.matching import decode_bank
from partsight.runtime.package.gallery import decode_golden_image
from partsight.runtime.package.manifest import Manifest, Matching, ModelFile, Precision
from partsight.runtime.package.onnx_file import check_onnx
from partsight.runtime.package.references import check_counts
from partsight.runtime.signing import Demand, KeyLike, check_signatures, find_demands

MAX_MANIFEST_BYTES = 64 * 2**20  # 100,000 parts take 20 MB
_MAX_MODEL_BYTES = 2 * 2**30  # the limit of ONNX's format
_MAX_ARRAY_BYTES = 16 * 2**30
_MAX_HEADER_BYTES, _MAX_ROW_BYTES = 2**16, 2**22
_MAX_OTHER_BYTES = 64 * 2**20
_EXPECTED = "expected a folder that `partsight export` wrote"


@dataclass(frozen=True)
class ModelPackage:
    """A model package on disk: its manifest was read, and every file that the manifest names is there.

    Attributes:
        path: Folder of the package.
        manifest: Contents of `manifest.json`.
        package_id: Name of the package in results and logs, see `package_id_of`.
        signed_by: Ids of the trusted keys whose signatures were checked; empty if no signature was demanded.
    """

    path: Path
    manifest: Manifest
    package_id: str
    signed_by: tuple[str, ...] = ()
    _folder: HeldFolder | None = field(default=None, compare=False, repr=False)

    @classmethod
    def read(cls, path: str | Path, trusted_keys: Sequence[KeyLike] | None = None) -> "ModelPackage":
        """Read a package to use it.

        `trusted_keys` or this machine (see `trust.machine_demand`) may demand a signature. Then this method checks the
        signature first, then every file, and refuses any further file. Without a demand, each method checks the file
        that it reads; `check_hashes` checks all. In both cases the bytes that are checked are the bytes that are used.

        Args:
            path: Folder of the package.
            trusted_keys: Keys, one of which must have signed the package; None if only this machine's setting counts.

        Raises:
            PackageError: there is no package, it is damaged, or it has another schema version.
            SignatureError: no trusted key signed it, or the folder holds a file that was not signed.
            KeyFileError: a trusted key cannot be read, or the machine's setting is broken.
            DependencyError: a signature is demanded, and the package `cryptography` is not installed.
        """
        return cls._read(Path(path), find_demands(trusted_keys))

    @classmethod
    def examine(cls, path: str | Path) -> "ModelPackage":
        """Read a package to inspect it, to sign it, or after writing it; no signature is demanded.

        Raises:
            PackageError: see `read`.
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
            raise PackageError(f"{path}: cannot be read ({error}); make the folder readable for this user") from error
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
        # Not `hashes()[name]` first: that builds the whole dictionary for each of thousands of references.
        return self.manifest.files[name] if name in self.manifest.files else self.hashes()[name]

    def model(self, precision: Precision) -> ModelFile:
        """Return the manifest's entry for the model in `precision`.

        Raises:
            PackageError: the package has no such model; the message says why, or how to make one.
        """
        model = self.manifest.models.get(precision)
        if model is not None:
            return model
        has = f"the package has {', '.join(self.manifest.models)}"
        refused = self.manifest.refused.get(precision)
        if refused is not None:
            raise PackageError(
                f"{self.path}: asked for precision {precision}, which export did not write ({refused}); {has}: use "
                "one of those"
            )
        if precision not in get_args(Precision):
            raise PackageError(f"{self.path}: precision {precision!r} is not known; {has}: use one of those")
        wanted = ",".join((*self.manifest.models, precision))
        raise PackageError(
            f"{self.path}: asked for precision {precision}; {has}. Export it again with: "
            f"partsight export RUN --out NEW --precision {wanted}"
        )

    def model_bytes(self, precision: Precision) -> bytes:
        """Return the bytes of an ONNX file, checked against the manifest and by `check_onnx`.

        Raises:
            PackageError: the package has no such precision, the file was altered, or it refers to other files.
        """
        name = self.model(precision).file
        data = self.file_bytes(name)
        check_onnx(data, f"{self.path}: {name}")
        return data

    def golden_image(self, index: int) -> Pixels:
        """Return a part's golden image, checked against the manifest.

        Args:
            index: Index of the part's label.

        Returns:
            Image as the package stores it, (height, width, 3) uint8 BGR.

        Raises:
            PackageError: the package has no golden images, or the file was altered or damaged.
        """
        return self.reference_image(index, 0)

    def reference_image(self, index: int, reference: int) -> Pixels:
        """Return one of a part's references, checked against the manifest.

        Args:
            index: Index of the part's label.
            reference: Index among the part's references: 0 for its golden image, then its further references.

        Returns:
            Image as the package stores it, (height, width, 3) uint8 BGR.

        Raises:
            IndexError: the part has no such reference.
            PackageError: the package has no golden images, or the file was altered or damaged.
        """
        self._matching()
        name = self.manifest.reference_files(index)[reference]
        return decode_golden_image(self.file_bytes(name), f"{self.path}: {name}")

    def bank_records(self) -> np.ndarray | None:
        """Return the prepared references, (references,) records of `record_type`, checked against the manifest.

        The file is mapped into memory.

        Returns:
            None in a package of an earlier schema version; `recognition.load_bank` computes them.

        Raises:
            PackageError: the package has no golden images; or the file was altered or damaged, or holds another number
                of references of a part than the manifest names.
        """
        matching = self._matching()
        if matching.bank is None:
            return None
        mapped = map_file(self._folder or self.path, matching.bank, self._max_bytes(matching.bank))
        self._check_hash(matching.bank, sha256_bytes(mapped), self._hash_of(matching.bank))
        source = f"{self.path}: {matching.bank}"
        records = decode_bank(mapped, len(self.manifest.labels), matching.spec.size_hw, source)
        check_counts(records, self.manifest, source)
        return records

    def prototypes(self) -> FloatArray | None:
        """Return the prototypes, (classes, d) float32 and read-only, checked against the manifest.

        Returns:
            None in a package whose network holds them.

        Raises:
            PackageError: the file was altered or damaged.
        """
        search = self.manifest.search
        if search is None:
            return None
        return decode_prototypes(self.file_bytes(search.file), len(self.manifest.labels), f"{self.path}: {search.file}")

    def _matching(self) -> Matching:
        if self.manifest.matching is None:
            raise PackageError(f"{self.path}: the package has no golden images; export it again")
        return self.manifest.matching

    def check_hashes(self) -> None:
        """Compare the SHA-256 of every file with the manifest.

        Raises:
            PackageError: a file was altered or damaged.
        """
        for name, expected in self.hashes().items():
            self._check_hash(name, hash_file(self._folder or self.path, name, self._max_bytes(name)), expected)

    def verify(self) -> None:
        """Call `check_hashes`. Deprecated: the next release removes this name."""
        warn_renamed("ModelPackage.verify", "ModelPackage.check_hashes")
        self.check_hashes()

    def check_whole(self) -> None:
        """Check every file as `check_hashes` does, and that the folder holds no other file than a signature.

        Raises:
            PackageError: a file was altered or damaged.
            SignatureError: the folder holds another file.
        """
        names = self.hashes()
        others = find_files(self.path, names) - names.keys() - {MANIFEST_NAME, SIGNATURE_NAME}
        # A signing that runs now, or was killed, leaves a temporary file: the next signing removes it.
        others = {name for name in others if not is_temporary(name, SIGNATURE_NAME)}
        if others:
            raise SignatureError(
                f"{self.path}: {min(others)} is not in the manifest; expected only signed files: remove it, or copy "
                "the package again"
            )
        self.check_hashes()

    def file_bytes(self, name: str) -> bytes:
        """Return the bytes of a file that the manifest names, checked against the manifest.

        Raises:
            PackageError: the file was altered, damaged or removed.
        """
        data = read_file(self._folder or self.path, name, self._max_bytes(name))
        self._check_hash(name, sha256_bytes(data), self._hash_of(name))
        return data

    def _check_hash(self, name: str, found: str, expected: str) -> None:
        if found != expected:
            raise PackageError(
                f"{self.path}: {name} has SHA-256 {found[:12]}…, the manifest says {expected[:12]}…: the file was "
                "altered or damaged after export; copy the package again, or export it again"
            )

    def _max_bytes(self, name: str) -> int:
        if name.endswith(".npy"):  # a row for each label, or for each reference
            further = self.manifest.matching.further if self.manifest.matching else {}
            rows = len(self.manifest.labels) + sum(map(len, further.values()))
            return min(_MAX_ARRAY_BYTES, _MAX_HEADER_BYTES + _MAX_ROW_BYTES * rows)
        return _MAX_OTHER_BYTES if name in self.manifest.files else _MAX_MODEL_BYTES

    def _check_names(self) -> None:
        matching, search = self.manifest.matching, self.manifest.search
        used = [search.file] if search else []
        if matching:
            used += [*matching.references, *chain.from_iterable(matching.further.values())]
            used += [name for name in (matching.bank, matching.graph) if name]
        unnamed = [name for name in used if name not in self.manifest.files]
        if unnamed:
            raise PackageError(f"{self.path}: the manifest names no SHA-256 of {unnamed[0]}; export the package again")
        models = [(model.file, model.sha256) for model in self.manifest.models.values()]
        check_names(self.path, (*models, *self.manifest.files.items()))

    def _check_present(self) -> None:
        names = self.hashes()
        missing = names.keys() - find_files(self.path, names)
        if missing:
            raise PackageError(f"{self.path}: {min(missing)} is missing; copy the package again, or export it again")


def package_id_of(manifest: bytes) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a manifest's bytes."""
    return sha256_bytes(manifest)[:16]
