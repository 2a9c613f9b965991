"""Reading a model package: the folder that export writes and the line loads."""

from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

from partsight.runtime.errors import PackageError
from partsight.runtime.images import Pixels
from partsight.runtime.manifest import Manifest, ModelFile, Precision
from partsight.runtime.prototype_file import decode_prototypes
from partsight.runtime.references import decode_reference
from partsight.runtime.search import PrototypeSearch
from partsight.runtime.storage import sha256_bytes

MANIFEST_NAME = "manifest.json"
LARGEST_MANIFEST_BYTES = 256 * 2**20


@dataclass(frozen=True)
class ModelPackage:
    """A model package on disk whose manifest has been read and whose files are all there.

    Attributes:
        path: its folder.
        manifest: what it says of itself.
        package_id: see `package_id_of`; names the package in results and logs.
    """

    path: Path
    manifest: Manifest
    package_id: str

    @classmethod
    def read(cls, path: str | Path) -> "ModelPackage":
        """Read the manifest and find every file that it names.

        File contents are checked when they are used (`model_bytes`) or all at once (`verify`).

        Raises:
            PackageError: there is no package, it is damaged, or it is of another schema version.
        """
        path = Path(path)
        if not path.is_dir():
            raise PackageError(
                f"{path}: there is no such model package; expected a folder that `partsight export` wrote"
            )
        data = _read_bounded(path, MANIFEST_NAME, LARGEST_MANIFEST_BYTES)
        manifest = Manifest.from_json(data, str(path))
        if not manifest.models:
            raise PackageError(f"{path}: the manifest names no model; export the package again")
        package = cls(path, manifest, package_id_of(data))
        package._check_named()
        for name in package.hashes():
            _check_name(path, name)
            if not _is_file(path / name):
                raise PackageError(f"{path}: {name} is missing; copy the package again or export it again")
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
        wanted = ",".join((*self.manifest.models, precision))
        raise PackageError(
            f"{self.path}: asked for precision {precision}; {has}. Make a package that has it with: "
            f"partsight export RUN --out NEW --precision {wanted}"
        )

    def model_bytes(self, precision: Precision) -> bytes:
        """Return the ONNX file's bytes, checked against the manifest.

        Raises:
            PackageError: the package has no such precision, or the file is not the one that export wrote.
        """
        return self.file_bytes(self.model(precision).file)

    def reference(self, index: int) -> Pixels:
        """Return the golden image that frames of a class are compared with, checked against the manifest.

        Returns:
            (height, width, 3) uint8 BGR.

        Raises:
            PackageError: the package has none, or the file is not the one that export wrote.
        """
        verification = self.manifest.verification
        if verification is None:
            raise PackageError(f"{self.path}: the package has no references to compare frames with; export it again")
        name = verification.references[index]
        return decode_reference(self.file_bytes(name), f"{self.path}: {name}")

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
        for name in self.hashes():
            self.file_bytes(name)

    def _check_named(self) -> None:
        verification, search = self.manifest.verification, self.manifest.search
        used = [*(verification.references if verification else ()), *([search.file] if search else ())]
        unnamed = [name for name in used if name not in self.manifest.files]
        if unnamed:
            raise PackageError(f"{self.path}: the manifest names no SHA-256 of {unnamed[0]}; export the package again")

    def file_bytes(self, name: str) -> bytes:
        """Return the bytes of a file that the manifest names, checked against it.

        Raises:
            PackageError: the file is not the one that export wrote.
        """
        try:
            data = (self.path / name).read_bytes()
        except OSError as error:
            raise PackageError(f"{self.path}: {name} cannot be read ({error}); copy the package again") from error
        expected, found = self._hash_of(name), sha256_bytes(data)
        if found != expected:
            raise PackageError(
                f"{self.path}: {name} has SHA-256 {found[:12]}…, the manifest says {expected[:12]}…: it was altered "
                "or damaged after export; copy the package again or export it again"
            )
        return data


def package_id_of(manifest: bytes) -> str:
    """Return the first 16 hexadecimal digits of the SHA-256 of a manifest's bytes."""
    return sha256_bytes(manifest)[:16]


def _read_bounded(folder: Path, name: str, largest: int) -> bytes:
    try:
        size = (folder / name).stat().st_size
        if size > largest:
            raise PackageError(f"{folder}: {name} has {size} bytes; expected at most {largest}")
        return (folder / name).read_bytes()
    except OSError as error:
        raise PackageError(
            f"{folder}: {name} cannot be read ({error}); expected a folder that `partsight export` wrote"
        ) from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long for this disk, a folder that may not be entered
        return False


def _check_name(folder: Path, name: str) -> None:
    """Refuse a name that would leave the package's folder, on any operating system."""
    path = PureWindowsPath(name)  # takes / and \ for separators, and / and C: for the start of an absolute path
    if path.anchor or ".." in path.parts or not path.parts:
        raise PackageError(f"{folder}: the manifest names {name!r}, which is outside the package; do not use it")
