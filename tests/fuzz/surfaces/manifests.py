"""The manifest of a package: `manifest.json`, or the metadata of an ONNX file."""

import contextlib
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from partsight.runtime.core.storage import sha256_bytes
from partsight.runtime.package.manifest import Enrolment, Manifest, ModelFile, Search
from tests.fuzz import wild
from tests.fuzz.damage import damaged, garbage
from tests.fuzz.surface import Case, check
from tests.tiny import tiny_manifest, tiny_matching


def whole_manifest() -> Manifest:
    """Return a manifest in which every field is used."""
    matching = msgspec.structs.replace(tiny_matching(), further={"red": ("gallery/00000.jpg", "gallery/00001.jpg")})
    manifest = msgspec.structs.replace(tiny_manifest(), matching=matching, search=Search("p.npy"))
    enrolment = Enrolment(
        created="2025-01-02T00:00:00Z", from_package="0" * 16, added=("red",), images={"red": (sha256_bytes(b"red"),)}
    )
    return msgspec.structs.replace(
        manifest,
        provenance=msgspec.structs.replace(manifest.provenance, enrolments=(enrolment,)),
        models={"fp32": ModelFile("model.fp32.onnx", sha256_bytes(b"model"), 17, 0)},
        refused={"int8": "it named other parts"},
        files={"report.html": sha256_bytes(b"report")},
    )


def _of_version_1(facts: dict[str, Any]) -> dict[str, Any]:
    """Return the same manifest for a package with another matching algorithm."""
    matching, others = facts["matching"], {name: facts[name] for name in facts if name not in ("matching", "sha256")}
    second = {"spec": {"height": 32, "width": 40, "shortlist": 32}, "outlines": None}
    second |= {name: matching[name] for name in ("decision", "references")}
    return others | {"schema_version": 1, "verification": second}


@contextlib.contextmanager
def open_manifests(_folder: Path) -> Iterator[Case]:
    """Damaged, altered, deep and foreign manifests."""
    whole = whole_manifest().to_json()
    facts = json.loads(whole)
    old_facts = _of_version_1(facts)
    old = json.dumps(old_facts).encode()
    second_facts = {name: facts[name] for name in facts if name != "sha256"} | {"schema_version": 2}
    second = json.dumps(second_facts).encode()
    forms = (whole, facts), (whole, facts), (old, old_facts), (second, second_facts)

    def case(rng: random.Random) -> None:
        data = hostile_json(rng, *rng.choice(forms))
        manifest = Manifest.from_json(data, "somewhere")
        check(len(set(manifest.labels)) == len(manifest.labels) > 0, "labels are none or not unique")
        check(all(0 < len(label) <= 1000 for label in manifest.labels), "a label is empty, or longer than a name")
        again = Manifest.from_json(manifest.to_json(), "itself")
        check(again == manifest, "a manifest that was read is not the one that is written")

    yield case


def hostile_json(rng: random.Random, whole: bytes, facts: Any) -> bytes:
    """Return the bytes of a hostile JSON file, often nearly valid."""
    style = rng.random()
    if style < 0.35:
        return damaged(rng, whole, (whole,))
    if style < 0.8:
        return json.dumps(wild.altered(rng, facts), ensure_ascii=rng.random() < 0.5).encode()
    if style < 0.9:
        return json.dumps(wild.value(rng, 5), ensure_ascii=False).encode()
    return garbage(rng, 200) if style < 0.97 else wild.deep(rng)
