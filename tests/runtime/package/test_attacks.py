"""A signed package that anyone changed without the key does not load on a line that requires its signature."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from partsight.runtime import ModelPackage, PackageError, Recognizer, SignatureError
from partsight.runtime.core.safe_folder import MANIFEST_NAME, SIGNATURE_NAME
from partsight.runtime.core.storage import sha256_bytes
from partsight.runtime.matching import BANK_FILE
from partsight.runtime.signing.keys import PrivateKey
from partsight.runtime.signing.signature import Demand, Signature, SignatureFile, check_signatures
from tests.runtime.package.signed import new_key, signed_copy
from tests.tiny import ONE_THREAD, solid, tiny_manifest, tiny_matching, write_tiny_package

MODEL, REPORT, RED, BLUE = "model.fp32.onnx", "report.html", "gallery/red.png", "gallery/blue.png"


@dataclass(frozen=True)
class Scene:
    """Possessions of an attacker: the package, another one that the same key signed, and a foreign key.

    Attributes:
        trusted: the key whose signature is demanded; an attacker has its public half alone.
        own: the attacker's.
    """

    package: Path
    other: Path
    trusted: PrivateKey
    own: PrivateKey

    def read(self, name: str) -> bytes:
        return (self.package / name).read_bytes()

    def write(self, name: str, data: bytes) -> None:
        (self.package / name).write_bytes(data)

    def edit_signature(self, change: Callable[[Any], object]) -> None:
        """Change the signature file, written as partsight does."""
        document = json.loads(self.read(SIGNATURE_NAME))
        change(document)
        self.write(SIGNATURE_NAME, msgspec.json.format(json.dumps(document).encode(), indent=1))

    def edit_manifest(self, change: Callable[[Any], object]) -> None:
        document = json.loads(self.read(MANIFEST_NAME))
        change(document)
        self.write(MANIFEST_NAME, msgspec.json.format(json.dumps(document).encode(), indent=1))


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[PrivateKey, PrivateKey]:
    folder = tmp_path_factory.mktemp("keys")
    return new_key(folder / "trusted"), new_key(folder / "own")


@pytest.fixture(scope="module")
def other(keys: tuple[PrivateKey, PrivateKey], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("other")
    decision = msgspec.structs.replace(tiny_manifest().decision, threshold=-1.0)
    made = write_tiny_package(folder / "made.partsight", decision=decision, matching=tiny_matching())
    return signed_copy(made, folder / "other.partsight", keys[0])


@pytest.fixture
def scene(matching_package: Path, other: Path, keys: tuple[PrivateKey, PrivateKey], tmp_path: Path) -> Scene:
    return Scene(signed_copy(matching_package, tmp_path / "line3.partsight", keys[0]), other, *keys)


def replace_by_link(scene: Scene, name: str) -> None:
    """The very same file, yet elsewhere."""
    outside = scene.package.parent / "outside"
    (scene.package / name).rename(outside)
    (scene.package / name).symlink_to(outside)


def swap(scene: Scene, first: str, second: str) -> None:
    data = scene.read(first)
    scene.write(first, scene.read(second))
    scene.write(second, data)


def alter(name: str, position: float) -> Callable[[Scene], object]:
    def change(scene: Scene) -> None:
        data = bytearray(scene.read(name))
        data[min(int(len(data) * position), len(data) - 1)] ^= 1
        scene.write(name, bytes(data))

    return change


def claim(scene: Scene) -> None:
    """Raise the threshold, and sign with a key of one's own under the id of the trusted one."""
    scene.edit_manifest(lambda document: document["decision"].update(threshold=-1))
    made = Signature.of(scene.read(MANIFEST_NAME), scene.own)
    signature = msgspec.structs.replace(made, key_id=scene.trusted.public.key_id)
    scene.write(SIGNATURE_NAME, SignatureFile(1, (signature,)).to_json())


def add_own(scene: Scene) -> None:
    """Leave the trusted signature, which is now of nothing, and add a right one of one's own."""
    scene.edit_manifest(lambda document: document["decision"].update(threshold=-1))
    own = Signature.of(scene.read(MANIFEST_NAME), scene.own)
    before = msgspec.json.decode(scene.read(SIGNATURE_NAME), type=SignatureFile)
    scene.write(SIGNATURE_NAME, SignatureFile(1, (own, *before.signatures)).to_json())


def rename_in_manifest(scene: Scene) -> None:
    model = scene.read(MODEL).replace(b"tiny", b"TINY")
    scene.write(MODEL, model)
    scene.edit_manifest(lambda document: document["models"]["fp32"].update(sha256=sha256_bytes(model)))


def first(document: Any) -> Any:
    return document["signatures"][0]


def twice(scene: Scene, name: str, text: bytes) -> None:
    """Let a key of a JSON file stand twice."""
    data = scene.read(name)
    scene.write(name, data.replace(b"{\n", b"{\n " + text + b",\n", 1))


Attack = Callable[[Scene], object]

ALTERED: dict[str, Attack] = {
    f"{name} altered at {position:.0%}": alter(name, position)
    for name in (MODEL, REPORT, RED, BLUE, BANK_FILE, MANIFEST_NAME, SIGNATURE_NAME)
    for position in (0, 0.3, 1)
}
FILES: dict[str, Attack] = {
    "file added": lambda scene: scene.write("notes.txt", b""),
    "file added in a folder": lambda scene: scene.write("gallery/more.png", b""),
    "hidden file added": lambda scene: scene.write(".hidden", b""),
    "folder added": lambda scene: (scene.package / "empty").mkdir(),
    "weights added": lambda scene: scene.write("weights.bin", b""),
    "second manifest": lambda scene: scene.write("Manifest.json", scene.read(MANIFEST_NAME)),
    "model removed": lambda scene: (scene.package / MODEL).unlink(),
    "report removed": lambda scene: (scene.package / REPORT).unlink(),
    "reference removed": lambda scene: (scene.package / RED).unlink(),
    "bank removed": lambda scene: (scene.package / BANK_FILE).unlink(),
    "manifest removed": lambda scene: (scene.package / MANIFEST_NAME).unlink(),
    "signature removed": lambda scene: (scene.package / SIGNATURE_NAME).unlink(),
    "files swapped": lambda scene: swap(scene, RED, BLUE),
    "file emptied": lambda scene: scene.write(REPORT, b""),
    "file made longer": lambda scene: scene.write(REPORT, scene.read(REPORT) + b"\0"),
    "model linked": lambda scene: replace_by_link(scene, MODEL),
    "reference linked": lambda scene: replace_by_link(scene, RED),
    "bank linked": lambda scene: replace_by_link(scene, BANK_FILE),
    "report linked": lambda scene: replace_by_link(scene, REPORT),
    "folder linked": lambda scene: replace_by_link(scene, "gallery"),
    "manifest linked": lambda scene: replace_by_link(scene, MANIFEST_NAME),
    "signature linked": lambda scene: replace_by_link(scene, SIGNATURE_NAME),
    "link added": lambda scene: (scene.package / "link").symlink_to(scene.package / MODEL),
    "model of another signed package": lambda scene: shutil.copy(scene.other / MODEL, scene.package),
    "manifest of another signed package": lambda scene: shutil.copy(scene.other / MANIFEST_NAME, scene.package),
    "signature of another signed package": lambda scene: shutil.copy(scene.other / SIGNATURE_NAME, scene.package),
    "model with its hash": rename_in_manifest,
}
MANIFESTS: dict[str, Attack] = {
    "threshold": lambda scene: scene.edit_manifest(lambda document: document["decision"].update(threshold=-1)),
    "labels turned": lambda scene: scene.edit_manifest(lambda document: document["labels"].reverse()),
    "field added": lambda scene: scene.edit_manifest(lambda document: document.update(remark="")),
    "file taken out": lambda scene: scene.edit_manifest(lambda document: document["files"].pop(REPORT)),
    "field twice": lambda scene: twice(scene, MANIFEST_NAME, b'"schema_version": 2'),
    "space at the end": lambda scene: scene.write(MANIFEST_NAME, scene.read(MANIFEST_NAME) + b" "),
    "byte order mark": lambda scene: scene.write(MANIFEST_NAME, b"\xef\xbb\xbf" + scene.read(MANIFEST_NAME)),
    "line ends": lambda scene: scene.write(MANIFEST_NAME, scene.read(MANIFEST_NAME).replace(b"\n", b"\r\n")),
    "emptied": lambda scene: scene.write(MANIFEST_NAME, b""),
    "claimed": claim,
    "own signature added": add_own,
}
SIGNATURES: dict[str, Attack] = {
    "of the manifest for another purpose": lambda scene: scene.edit_signature(
        lambda it: first(it).update(value=scene.trusted.sign(scene.read(MANIFEST_NAME)).hex())
    ),
    "own key's id": lambda scene: scene.edit_signature(lambda it: first(it).update(key_id=scene.own.public.key_id)),
    "short id": lambda scene: scene.edit_signature(lambda it: first(it).update(key_id="ab")),
    "id with a line break": lambda scene: scene.edit_signature(
        lambda it: first(it).update(key_id=first(it)["key_id"] + "\n")
    ),
    "id in capitals": lambda scene: scene.edit_signature(
        lambda it: first(it).update(key_id=first(it)["key_id"].upper())
    ),
    "algorithm none": lambda scene: scene.edit_signature(lambda it: first(it).update(algorithm="none")),
    "truncated": lambda scene: scene.edit_signature(lambda it: first(it).update(value=first(it)["value"][:-2])),
    "longer": lambda scene: scene.edit_signature(lambda it: first(it).update(value=first(it)["value"] + "00")),
    "in capitals": lambda scene: scene.edit_signature(lambda it: first(it).update(value=first(it)["value"].upper())),
    "zero": lambda scene: scene.edit_signature(lambda it: first(it).update(value="0" * 128)),
    "empty": lambda scene: scene.edit_signature(lambda it: first(it).update(value="")),
    "none": lambda scene: scene.edit_signature(lambda it: it.update(signatures=[])),
    "twice the same": lambda scene: scene.edit_signature(lambda it: it["signatures"].append(first(it))),
    "field more": lambda scene: scene.edit_signature(lambda it: first(it).update(remark="")),
    "field more of the file": lambda scene: scene.edit_signature(lambda it: it.update(remark="")),
    "field less": lambda scene: scene.edit_signature(lambda it: first(it).pop("algorithm")),
    "other version": lambda scene: scene.edit_signature(lambda it: it.update(schema_version=2)),
    "key twice": lambda scene: twice(scene, SIGNATURE_NAME, b'"signatures": []'),
    "other spaces": lambda scene: scene.write(
        SIGNATURE_NAME, json.dumps(json.loads(scene.read(SIGNATURE_NAME))).encode()
    ),
    "line end": lambda scene: scene.write(SIGNATURE_NAME, scene.read(SIGNATURE_NAME) + b"\n"),
    "no JSON": lambda scene: scene.write(SIGNATURE_NAME, b"\xff"),
    "no object": lambda scene: scene.write(SIGNATURE_NAME, b"[]"),
    "deep": lambda scene: scene.write(SIGNATURE_NAME, b"[" * 10_000),
    "huge": lambda scene: scene.write(SIGNATURE_NAME, b" " * 2**20),
    "emptied": lambda scene: scene.write(SIGNATURE_NAME, b""),
}
ATTACKS = {
    f"{kind}: {name}": attack
    for kind, attacks in (("file", ALTERED | FILES), ("manifest", MANIFESTS), ("signature", SIGNATURES))
    for name, attack in attacks.items()
}


def test_untouched_it_loads(scene: Scene) -> None:
    for package in (scene.package, scene.other):
        with Recognizer(package, trusted_keys=[scene.trusted.public], engine=ONE_THREAD) as recognizer:
            assert recognizer.recognize(solid("red")).label == "red"


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_an_attack(scene: Scene, attack: Attack) -> None:
    attack(scene)
    with pytest.raises(PackageError) as raised:
        Recognizer(scene.package, trusted_keys=[scene.trusted.public])
    assert str(raised.value).startswith(f"{scene.package}: ")


@pytest.mark.parametrize("attack", [claim, add_own])
def test_two_trusted_keys_of_which_one_is_known_to_the_attacker(scene: Scene, attack: Attack) -> None:
    """The signature of the other one still has to be right: it shows that the package was altered."""
    attack(scene)
    with pytest.raises(SignatureError, match=f"key {scene.trusted.public.key_id}"):
        Recognizer(scene.package, trusted_keys=[scene.own.public, scene.trusted.public])


def test_each_byte_of_the_manifest(scene: Scene) -> None:
    data, demand = scene.read(MANIFEST_NAME), Demand((scene.trusted.public,), "the test")
    for index in range(len(data)):
        altered = bytearray(data)
        altered[index] ^= 1 << index % 8
        with pytest.raises(SignatureError, match=f"key {scene.trusted.public.key_id}"):
            check_signatures(scene.package, bytes(altered), [demand])
    assert check_signatures(scene.package, data, [demand]) == (scene.trusted.public.key_id,)


def test_each_byte_of_the_signature(scene: Scene) -> None:
    data = scene.read(SIGNATURE_NAME)
    for index in range(len(data)):
        altered = bytearray(data)
        altered[index] ^= 1 << index % 8
        scene.write(SIGNATURE_NAME, altered)
        with pytest.raises(SignatureError):
            ModelPackage.read(scene.package, [scene.trusted.public])
    scene.write(SIGNATURE_NAME, data)
    ModelPackage.read(scene.package, [scene.trusted.public])


def test_a_nested_manifest_is_not_even_parsed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """No parser reads a changed file before its signature is checked."""
    scene.write(MANIFEST_NAME, b"[" * 100_000)
    monkeypatch.setattr("partsight.runtime.package.package.Manifest.from_json", lambda *_: pytest.fail("it was parsed"))
    with pytest.raises(SignatureError, match=f"key {scene.trusted.public.key_id}"):
        Recognizer(scene.package, trusted_keys=[scene.trusted.public])
