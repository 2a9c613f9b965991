"""Which version of a model on a server has a package?"""

from collections.abc import Callable

from partsight.runtime.core import PackageError, RemoteError
from partsight.runtime.recognition.remote.connection import ModelFacts


def find_version(
    address: object, named: str, facts: ModelFacts, ids_of: Callable[[str], set[str]], package_id: str
) -> str:
    """Return the version of a model that answers with a package, the newest first.

    Args:
        address: Address of the model, for messages.
        named: Version that the address names; empty to try all.
        facts: The model's metadata.
        ids_of: Function that asks a version for the ids of the packages that it answers with.
        package_id: Id of this machine's package.

    Returns:
        The version; empty if the server knows none.

    Raises:
        PackageError: No version answers with the package.
        RemoteError: No version answers.
    """
    versions = [named] if named else sorted(facts.versions, key=_age, reverse=True) or [""]
    found: dict[str, set[str]] = {}
    failure: RemoteError | None = None
    for version in versions:
        try:
            found[version] = ids_of(version)
        except RemoteError as error:
            failure = error
            continue
        if found[version] == {package_id}:
            return version
    if failure is not None and not found:
        raise failure
    raise PackageError(
        f"{address}: answers with package {_shown(found)}; this machine has {package_id}: load this package on the "
        "server, or give the folder of the server's package here"
    )


def _age(version: str) -> tuple[int, str]:
    """Return a key that sorts 10 after 9, and names by the alphabet."""
    return int(version) if version.isascii() and version.isdigit() else -1, version


def _shown(found: dict[str, set[str]]) -> str:
    return ", ".join(
        " and ".join(sorted(ids)) + (f" (version {version})" if version else "") for version, ids in found.items()
    )
