"""The bill of materials (SBOM) of the installed runtime, as CycloneDX 1.6 JSON.

It lists the installed libraries that partsight needs, and the libraries that they need in turn, but no other library of
the same environment. Two equal environments give equal bytes, so a user can compare machines.
Format: https://cyclonedx.org/docs/1.6/json/
"""

import importlib.metadata
import platform
import re
from collections.abc import Iterator
from typing import Any

_ROOT = "partsight"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")
_NOT_OF_THE_LINE = frozenset({"dev", "fuzz", "test", "train"})
_MAX_LICENCE = 100  # characters: some distributions put the whole text there


def make_sbom() -> dict[str, Any]:
    """Return the bill of materials.

    Raises:
        importlib.metadata.PackageNotFoundError: partsight is not installed.
    """
    needs = _closure()
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": _component(_ROOT, "application")},
        "components": [
            {
                "type": "platform",
                "bom-ref": "python",
                "name": platform.python_implementation(),
                "version": platform.python_version(),
            },
            *(_component(name, "library") for name in sorted(needs) if name != _ROOT),
        ],
        "dependencies": [
            {"ref": "python"},
            *(
                {"ref": _reference(name), "dependsOn": [_reference(other) for other in sorted(needs[name])]}
                for name in sorted(needs)
            ),
        ],
    }


def _closure() -> dict[str, set[str]]:
    """Return the installed requirements of partsight, of these in turn, and so on, by distribution."""
    needs: dict[str, set[str]] = {}
    pending = [_ROOT]
    while pending:
        name = pending.pop()
        if name not in needs:
            needs[name] = {other for other in _requirements(name) if _is_installed(other)}
            pending += needs[name]
    return needs


def _requirements(name: str) -> Iterator[str]:
    for text in importlib.metadata.distribution(name).requires or ():
        requirement, _, marker = text.partition(";")
        extra = _EXTRA.search(marker)
        # Extras of partsight count, as far as they belong to the line; extras of other distributions do not.
        if extra is None or (name == _ROOT and extra[1] not in _NOT_OF_THE_LINE):
            found = _NAME.match(requirement.strip())
            if found:
                yield _normal(found[0])


def _is_installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _normal(name: str) -> str:
    """Return a distribution's name as PyPI compares it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _reference(name: str) -> str:
    return f"pkg:pypi/{name}@{importlib.metadata.version(name)}"


def _component(name: str, kind: str) -> dict[str, Any]:
    component = {
        "type": kind,
        "bom-ref": _reference(name),
        "name": name,
        "version": importlib.metadata.version(name),
        "purl": _reference(name),
    }
    licence = _licence(name)
    return component | ({"licenses": [licence]} if licence else {})


def _licence(name: str) -> dict[str, Any] | None:
    facts = importlib.metadata.metadata(name).json
    if facts.get("license_expression"):
        return {"expression": facts["license_expression"]}
    classifiers = [text for text in facts.get("classifier", ()) if text.startswith("License ::")]
    text = classifiers[0].rpartition(" :: ")[2] if classifiers else str(facts.get("license", "")).strip()
    return {"license": {"name": text}} if 0 < len(text) <= _MAX_LICENCE else None
