"""Signing a package that is in use, and generating its keys."""

from pathlib import Path

from tests.faults.job import Job

_PACKAGE, _SIGNATURE = "line3.partsight", "line3.partsight/signature.json"
_OTHER = "keys/other"
_KEY = "keys/factory"


def _load() -> None:
    import cryptography.hazmat.primitives.asymmetric.ed25519
    import cryptography.hazmat.primitives.serialization  # noqa: F401

    import partsight.cli.main
    import partsight.runtime.package.sign  # noqa: F401
    import tests.runtime.package.signed
    import tests.tiny  # noqa: F401


def _prepare(folder: Path) -> None:
    from tests.runtime.package.signed import new_key
    from tests.tiny import write_tiny_package

    (folder / "keys").mkdir()
    for name in (_KEY, _OTHER):
        new_key(folder / name)
    write_tiny_package(folder / _PACKAGE)


def _prepare_signed(folder: Path) -> None:
    from partsight.runtime.package.sign import sign_package
    from partsight.runtime.signing.keys import PrivateKey

    _prepare(folder)
    sign_package(folder / _PACKAGE, PrivateKey.read(folder / _OTHER))


def _sign(folder: Path, _: Path) -> int:
    from partsight.cli.main import main

    return main(["sign", str(folder / _PACKAGE), "--key", str(folder / _KEY)])


def _check_signed(signature: Path) -> None:
    _check(signature, _KEY)


def _check_signed_before(signature: Path) -> None:
    """A line that trusts the first key keeps running after any fault."""
    _check(signature, _OTHER)


def _check(signature: Path, key: str) -> None:
    from partsight.runtime import ModelPackage

    package = signature.parent
    ModelPackage.read(package, trusted_keys=[package.parent / f"{key}.pub"])


def _generate(_: Path, out: Path) -> int:
    from partsight.cli.main import main

    return main(["keygen", "--out", str(out)])


def _prepare_keys(folder: Path) -> None:
    (folder / "keys").mkdir()


def _check_keys(path: Path) -> None:
    from partsight.runtime.signing.keys import PrivateKey, PublicKey

    if PrivateKey.read(path).public != PublicKey.read(f"{path}.pub"):
        raise ValueError(f"{path} and its public key are not a pair")


SIGNINGS = (
    Job("sign", _SIGNATURE, _load, _prepare, _sign, _check_signed, replaces=True),
    Job("sign, a second key", _SIGNATURE, _load, _prepare_signed, _sign, _check_signed_before, replaces=True),
    Job("keygen", _KEY, _load, _prepare_keys, _generate, _check_keys, companions=(".pub",)),
)
