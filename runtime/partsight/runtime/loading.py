"""Loading: from a package's folder, or an ONNX file alone, to all that a recogniser needs."""

from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from partsight.runtime.choice import Choice, open_session
from partsight.runtime.engines.engine import Arithmetic, Settings
from partsight.runtime.errors import PackageError
from partsight.runtime.manifest import METADATA_KEY, Manifest, Precision, Verification
from partsight.runtime.memory import give_back_freed
from partsight.runtime.package import ModelPackage, package_id_of
from partsight.runtime.references import References
from partsight.runtime.session import Session


@dataclass(frozen=True)
class Comparison:
    """The second stage of a package."""

    verification: Verification
    references: References


@dataclass(frozen=True)
class Loaded:
    """What was found at a path; `package` is None for an ONNX file alone."""

    manifest: Manifest
    package_id: str
    choice: Choice
    package: ModelPackage | None

    def comparison(self) -> Comparison | None:
        """Return the second stage; None where there is none, or no golden images for it."""
        verification = self.manifest.verification
        if verification is None or self.package is None:
            return None
        spec = verification.spec
        return Comparison(verification, References(self.package.reference, (spec.height, spec.width)))


def load(path: Path, provider: str, settings: Settings) -> Loaded:
    """Load a package's folder, or an ONNX file alone by the manifest in its metadata.

    Args:
        path: of the folder or file.
        provider: see `choice.open_session`.
        settings: how the network is run.

    Raises:
        PackageError: it is damaged or altered, or its labels do not match its network.
        ProviderError: the provider cannot be had here.
        DependencyError: the provider's library is not installed.
    """
    if path.suffix == ".onnx" and path.is_file():
        choice = open_session(path.read_bytes(), provider, settings)
        text = choice.session.metadata.get(METADATA_KEY)
        if text is None:
            raise PackageError(
                f"{path}: its metadata holds no partsight manifest; use a file that `partsight export` wrote"
            )
        manifest = msgspec.structs.replace(Manifest.from_json(text.encode(), str(path)), verification=None)
        loaded = Loaded(manifest, package_id_of(text.encode()), choice, None)
    else:
        package = ModelPackage.read(path)
        spec = package.manifest.preprocess
        known = replace(settings, input_hw=(spec.height, spec.width))
        model = package.model_bytes(_file_of(settings.arithmetic))
        choice = open_session(model, provider, known, package.search())
        loaded = Loaded(package.manifest, package.package_id, choice, package)
    _check_agreement(path, loaded.manifest, choice.session)
    give_back_freed()
    return loaded


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
