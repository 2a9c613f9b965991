"""Signed packages: which ones load, by which keys, and the error if a package does not load."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from partsight.runtime import DependencyError, EngineSettings, ModelPackage, PackageError, Recognizer, SignatureError
from partsight.runtime.core.errors import KeyFileError, OutputError
from partsight.runtime.core.safe_folder import SIGNATURE_NAME, read_file
from partsight.runtime.enrolment.enrolment import enroll
from partsight.runtime.package import package
from partsight.runtime.package.sign import sign_package
from partsight.runtime.recognition import loading
from partsight.runtime.signing.keys import PrivateKey
from partsight.runtime.signing.signature import MAX_SIGNATURES, read_signatures
from tests.runtime.enrolment.enrolling import picture, write_package
from tests.runtime.package.signed import new_key, public, set_machine, signed_copy
from tests.tiny import ONE_THREAD, solid, write_tiny_package

POSIX = pytest.mark.skipif(os.name == "nt", reason="Windows keeps rights elsewhere")


@pytest.fixture
def first(tmp_path: Path) -> PrivateKey:
    """Its public key is `tmp_path / "first.pub"`."""
    return new_key(tmp_path / "first")


@pytest.fixture
def second(tmp_path: Path) -> PrivateKey:
    return new_key(tmp_path / "second")


@pytest.fixture
def signed(matching_package: Path, tmp_path: Path, first: PrivateKey) -> Path:
    """By the first key."""
    return signed_copy(matching_package, tmp_path / "line3.partsight", first)


def ids(*keys: PrivateKey) -> tuple[str, ...]:
    return tuple(key.public.key_id for key in keys)


def test_a_signed_package_answers(signed: Path, first: PrivateKey, tmp_path: Path) -> None:
    with Recognizer(signed, trusted_keys=[tmp_path / "first.pub"], engine=ONE_THREAD) as recognizer:
        assert recognizer.signed_by == ids(first)
        assert recognizer.trusted_keys == (first.public,)
        assert recognizer.recognize(solid("red")).label == "red"


def test_a_signature_changes_nothing_else(signed: Path, matching_package: Path) -> None:
    before, after = (
        {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} for root in (matching_package, signed)
    )
    names = {path.relative_to(signed).as_posix() for path in after}
    assert names - {path.relative_to(matching_package).as_posix() for path in before} == {"signature.json"}
    assert all(after[signed / path.relative_to(matching_package)] == data for path, data in before.items())
    assert ModelPackage.read(signed).package_id == ModelPackage.read(matching_package).package_id


def test_no_signer_is_named_without_a_check(signed: Path, tiny_package: Path) -> None:
    for path in (signed, tiny_package):
        with Recognizer(path, engine=ONE_THREAD) as recognizer:
            assert (recognizer.signed_by, recognizer.trusted_keys) == ((), None)


def test_keys_may_be_given_as_such_or_by_path(signed: Path, first: PrivateKey, tmp_path: Path) -> None:
    for key in (first.public, tmp_path / "first.pub", str(tmp_path / "first.pub")):
        assert ModelPackage.read(signed, [key]).signed_by == ids(first)


def test_one_of_several_trusted_keys_is_enough(signed: Path, first: PrivateKey, second: PrivateKey) -> None:
    assert ModelPackage.read(signed, [second.public, first.public]).signed_by == ids(first)


def test_several_keys_sign(signed: Path, first: PrivateKey, second: PrivateKey) -> None:
    sign_package(signed, second)
    assert ModelPackage.read(signed, [second.public]).signed_by == ids(second)
    assert ModelPackage.read(signed, [second.public, first.public]).signed_by == ids(first, second)
    before = (signed / SIGNATURE_NAME).read_bytes()
    sign_package(signed, first)  # again: its signature moves to the end, there is none more
    assert [item.key_id for item in read_signatures(signed)] == [*ids(second), *ids(first)]
    sign_package(signed, second)
    assert (signed / SIGNATURE_NAME).read_bytes() == before  # Ed25519 signs the same bytes alike


def test_an_unsigned_package(tiny_package: Path, first: PrivateKey) -> None:
    with pytest.raises(SignatureError, match=rf"tiny\.partsight: .*{ids(first)[0]}.*partsight sign"):
        Recognizer(tiny_package, trusted_keys=[first.public])


def test_a_key_that_is_not_trusted(signed: Path, first: PrivateKey, second: PrivateKey) -> None:
    with pytest.raises(SignatureError, match=f"key {ids(first)[0]}.* key {ids(second)[0]}"):
        Recognizer(signed, trusted_keys=[second.public])


def test_a_file_alone(signed: Path, first: PrivateKey, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    model = signed / "model.fp32.onnx"
    with pytest.raises(SignatureError, match=re.escape(str(model))):
        Recognizer(model, trusted_keys=[first.public])
    Recognizer(model, engine=ONE_THREAD).close()
    set_machine(monkeypatch, tmp_path / "machine", public(tmp_path / "first"))
    with pytest.raises(SignatureError, match=re.escape(str(model))):
        Recognizer(model)


@pytest.mark.parametrize("keys", [[], (), "first.pub", Path("first.pub")])
def test_no_keys(tiny_package: Path, keys: object) -> None:
    with pytest.raises(ValueError, match=re.escape(f"trusted_keys is {keys!r}")):
        Recognizer(tiny_package, trusted_keys=keys)  # type: ignore[arg-type]


def test_a_trusted_key_that_cannot_be_read(signed: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"nothing\.pub: "):
        Recognizer(signed, trusted_keys=[tmp_path / "nothing.pub"])


def test_without_the_library_nothing_loads(signed: Path, first: PrivateKey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric.ed25519", None)
    with pytest.raises(DependencyError, match=r"pip install 'partsight\[sign\]'"):
        Recognizer(signed, trusted_keys=[first.public])
    Recognizer(signed, engine=ONE_THREAD).close()  # what demands nothing needs no library


# The machine's own keys.


def test_a_machine_with_trusted_keys(
    signed: Path, tiny_package: Path, first: PrivateKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = set_machine(monkeypatch, tmp_path / "machine", public(tmp_path / "first"))
    with Recognizer(signed, engine=ONE_THREAD) as recognizer:
        assert (recognizer.signed_by, recognizer.trusted_keys) == (ids(first), None)
    with pytest.raises(SignatureError, match=rf"tiny\.partsight: .*{folder}"):
        Recognizer(tiny_package)
    with pytest.raises(SignatureError, match=r"tiny\.partsight: "):
        ModelPackage.read(tiny_package)


def test_who_loads_may_not_trust_more_than_the_machine_does(
    signed: Path,
    tiny_package: Path,
    first: PrivateKey,
    second: PrivateKey,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = signed_copy(tiny_package, tmp_path / "own.partsight", second)
    folder = set_machine(monkeypatch, tmp_path / "machine", public(tmp_path / "first"))
    with pytest.raises(SignatureError, match=f"key {ids(second)[0]}.*{folder}"):
        Recognizer(own, trusted_keys=[second.public])
    with pytest.raises(SignatureError, match=f"key {ids(first)[0]}.*: key {ids(second)[0]}"):
        Recognizer(signed, trusted_keys=[second.public])
    sign_package(signed, second)
    assert ModelPackage.read(signed, [second.public]).signed_by == ids(first, second)


def test_keys_are_rotated(
    signed: Path, first: PrivateKey, second: PrivateKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = set_machine(monkeypatch, tmp_path / "machine", public(tmp_path / "first"), public(tmp_path / "second"))
    assert ModelPackage.read(signed).signed_by == ids(first)
    sign_package(signed, second)
    (folder / "first.pub").rename(folder / "first.pub.old")  # no longer a *.pub
    assert ModelPackage.read(signed).signed_by == ids(second)


def broken(kind: str, folder: Path, key: Path) -> None:
    match kind:
        case "empty":
            folder.mkdir(mode=0o755)
        case "a file":
            folder.write_text("")
        case "below a file":
            folder.parent.rmdir()
            folder.parent.write_text("")
        case "dangling link":
            folder.symlink_to(folder.parent / "nothing")
        case "no key":
            folder.mkdir(mode=0o755)
            (folder / "a.pub").write_bytes(key.read_bytes())
            (folder / "b.pub").write_text("hello")
        case "a folder for a key":
            (folder / "a.pub").mkdir(mode=0o755, parents=True)
        case "others may write":
            folder.mkdir()
            folder.chmod(0o775)
            (folder / "a.pub").write_bytes(key.read_bytes())
        case "others may write a key":
            folder.mkdir(mode=0o755)
            (folder / "a.pub").write_bytes(key.read_bytes())
            (folder / "a.pub").chmod(0o666)


BROKEN = ["empty", "a file", "below a file", "dangling link", "no key", "a folder for a key"]
RIGHTS = ["others may write", "others may write a key"]


@pytest.mark.parametrize("kind", [*BROKEN, *(pytest.param(kind, marks=POSIX) for kind in RIGHTS)])
def test_a_broken_setting_lets_nothing_load(
    signed: Path, first: PrivateKey, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "etc" / "trusted_keys.d"
    folder.parent.mkdir()
    broken(kind, folder, public(tmp_path / "first"))
    monkeypatch.setattr("partsight.runtime.signing.trust.machine_folder", lambda: folder)
    for keys in (None, [first.public]):
        with pytest.raises(KeyFileError, match=r"trusted_keys\.d"):
            Recognizer(signed, trusted_keys=keys)


def test_a_machine_without_a_setting(tiny_package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("partsight.runtime.signing.trust.machine_folder", lambda: tmp_path / "etc" / "trusted_keys.d")
    Recognizer(tiny_package, engine=ONE_THREAD).close()


def test_no_variable_of_the_environment_moves_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    from partsight.runtime.signing.trust import machine_folder

    before = machine_folder()
    for name in (
        "HOME",
        "PROGRAMDATA",
        "ALLUSERSPROFILE",
        "XDG_CONFIG_HOME",
        "XDG_CONFIG_DIRS",
        "PARTSIGHT_TRUSTED_KEYS",
    ):
        monkeypatch.setenv(name, "/tmp")
    assert machine_folder() == before
    assert before.is_absolute()


# Signing.


def test_an_enrolled_package_is_unsigned(tmp_path: Path, first: PrivateKey, monkeypatch: pytest.MonkeyPatch) -> None:
    package, out = write_package(tmp_path / "old.partsight"), tmp_path / "new.partsight"
    image = picture(tmp_path / "orange.png", (0, 128, 255))
    set_machine(monkeypatch, tmp_path / "machine", public(tmp_path / "first"))
    with pytest.raises(SignatureError, match=r"old\.partsight: "):
        enroll(package, out, additions={"orange": [image]})
    assert not out.exists()
    sign_package(package, first)
    enrolled = enroll(package, out, additions={"orange": [image]})
    assert not (out / SIGNATURE_NAME).exists()
    change = enrolled.package.manifest.provenance.enrolments[-1]
    assert (change.from_package, change.from_keys) == (ModelPackage.read(package).package_id, ids(first))
    with pytest.raises(SignatureError, match=r"new\.partsight: "):
        Recognizer(out)
    shutil.copy(package / SIGNATURE_NAME, out)  # the old one's
    with pytest.raises(SignatureError, match=f"key {ids(first)[0]}"):
        Recognizer(out)
    (out / SIGNATURE_NAME).unlink()
    sign_package(out, first)
    Recognizer(out, engine=ONE_THREAD).close()


@pytest.mark.parametrize("name", ["model.fp32.onnx", "gallery/red.png", "report.html"])
def test_what_was_altered_is_not_signed(tiny_package: Path, tmp_path: Path, first: PrivateKey, name: str) -> None:
    package = signed_copy(tiny_package, tmp_path / "p.partsight")
    (package / name).write_bytes((package / name).read_bytes() + b" ")
    with pytest.raises(PackageError, match=f"{name} .*SHA-256"):
        sign_package(package, first)
    assert not (package / SIGNATURE_NAME).exists()


@pytest.mark.parametrize("name", [".signature.json.99999999-1.partial", ".signature.json.99999998.partial"])
def test_what_a_killed_signing_left_is_no_matter(
    tiny_package: Path, tmp_path: Path, first: PrivateKey, second: PrivateKey, name: str
) -> None:
    """The signature of before still counts, and the next signing removes it."""
    package = signed_copy(tiny_package, tmp_path / "p.partsight", first)
    (package / name).write_bytes(b"half")
    trusted = [first.public]
    assert ModelPackage.read(package, trusted_keys=trusted).signed_by == (first.public.key_id,)
    sign_package(package, second)
    assert not (package / name).exists()
    assert ModelPackage.read(package, trusted_keys=trusted)


@pytest.mark.parametrize(
    "name",
    [
        "notes.txt",
        "gallery/more.png",
        ".signature.json.1234",
        ".signature.json.1.partial.x",
        ".manifest.json.1.partial",
        "empty/",
    ],
)
def test_what_is_not_in_the_manifest_is_not_signed(
    tiny_package: Path, tmp_path: Path, first: PrivateKey, name: str
) -> None:
    package = signed_copy(tiny_package, tmp_path / "p.partsight")
    (package / name).mkdir() if name.endswith("/") else (package / name).touch()
    with pytest.raises(SignatureError, match=re.escape(f": {name} ")):
        sign_package(package, first)
    Recognizer(package, engine=ONE_THREAD).close()  # it is never read: where no signature is demanded it does no harm


def test_a_damaged_signature_is_not_added_to(signed: Path, second: PrivateKey) -> None:
    (signed / SIGNATURE_NAME).write_bytes(b"{}")
    with pytest.raises(SignatureError, match=r"signature\.json "):
        sign_package(signed, second)
    assert (signed / SIGNATURE_NAME).read_bytes() == b"{}"


def test_signatures_that_cannot_be_read_are_not_taken_for_none(
    signed: Path, second: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a new signature would take their place."""
    before, opened = (signed / SIGNATURE_NAME).read_bytes(), os.open

    def fail(path: Path, *args: object, **options: object) -> int:
        if str(path).endswith(SIGNATURE_NAME):
            raise OSError(5, "Input/output error")
        return opened(path, *args, **options)  # type: ignore[arg-type]

    with monkeypatch.context() as context:
        context.setattr(os, "open", fail)
        with pytest.raises(PackageError, match=r"signature\.json .*Input/output error"):
            sign_package(signed, second)
    assert (signed / SIGNATURE_NAME).read_bytes() == before


def test_a_manifest_that_changes_while_it_is_signed(
    tiny_package: Path, tmp_path: Path, first: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = signed_copy(tiny_package, tmp_path / "p.partsight")
    other = write_tiny_package(tmp_path / "other.partsight", labels=tuple("abcdef"))
    monkeypatch.setattr(
        "partsight.runtime.package.sign.read_file", lambda _, name, largest: read_file(other, name, largest)
    )
    with pytest.raises(SignatureError, match=r"p\.partsight: .*manifest\.json"):
        sign_package(package, first)


def test_too_many_signatures(tiny_package: Path, tmp_path: Path) -> None:
    keys = [new_key(tmp_path / str(index)) for index in range(MAX_SIGNATURES + 1)]
    package = signed_copy(tiny_package, tmp_path / "p.partsight", *keys[:-1])
    before = (package / SIGNATURE_NAME).read_bytes()
    with pytest.raises(SignatureError, match=f"{MAX_SIGNATURES} keys"):
        sign_package(package, keys[-1])
    assert (package / SIGNATURE_NAME).read_bytes() == before


def test_a_disk_that_is_full(
    tiny_package: Path, tmp_path: Path, first: PrivateKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = signed_copy(tiny_package, tmp_path / "p.partsight")

    def fail(self: Path, _: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OutputError, match="No space left"):
        sign_package(package, first)
    assert SIGNATURE_NAME not in {path.name for path in package.iterdir()}
    package_names = {path.name for path in package.iterdir()}
    assert package_names == {path.name for path in tiny_package.iterdir()}


# The package uses the bytes that it checked.


@pytest.mark.parametrize(("provider", "is_searched"), [("cpu", False), ("cpu", True), ("openvino", False)])
def test_what_is_loaded_is_not_read_again(
    tmp_path: Path, first: PrivateKey, provider: str, is_searched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = write_tiny_package(tmp_path / "p.partsight", is_searched=is_searched)
    sign_package(package, first)
    opened = loading.open_session

    def open_without_files(*args: object) -> object:
        shutil.rmtree(package)
        return opened(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(loading, "open_session", open_without_files)
    with Recognizer(package, provider=provider, engine=ONE_THREAD, trusted_keys=[first.public]) as recognizer:
        assert recognizer.recognize(solid("red")).label == "red"


def test_the_manifest_is_read_once(signed: Path, first: PrivateKey, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []

    def watched(folder: Path, name: str, largest: int) -> bytes:
        names.append(name)
        return read_file(folder, name, largest)

    monkeypatch.setattr(package, "read_file", watched)
    read = ModelPackage.read(signed, [first.public])
    read.model_bytes("fp32")
    assert names == ["manifest.json", "model.fp32.onnx"]


@pytest.mark.parametrize("name", ["model.fp32.onnx", "gallery/red.png"])
def test_what_changes_after_the_check_is_not_used(signed: Path, first: PrivateKey, name: str) -> None:
    read = ModelPackage.read(signed, [first.public])
    (signed / name).write_bytes((signed / "model.fp32.onnx").read_bytes() + b"\0")
    with pytest.raises(PackageError, match=f"{name} .*SHA-256"):
        read.file_bytes(name)


def test_a_golden_image_that_changes_while_the_line_runs(signed: Path, first: PrivateKey) -> None:
    with Recognizer(signed, trusted_keys=[first.public], engine=ONE_THREAD) as recognizer:
        (signed / "gallery" / "red.png").write_bytes((signed / "gallery" / "green.png").read_bytes())
        with pytest.raises(PackageError, match=r"red\.png .*SHA-256"):
            recognizer.golden_image("red")
        assert recognizer.recognize(solid("red")).label == "red"


def test_a_bank_that_changes_after_the_check_is_not_used(signed: Path, first: PrivateKey) -> None:
    read = ModelPackage.read(signed, [first.public])
    data = bytearray((signed / "bank.npy").read_bytes())
    data[-1] ^= 1
    (signed / "bank.npy").write_bytes(data)
    with pytest.raises(PackageError, match=r"bank\.npy .*SHA-256"):
        read.bank_records()


@POSIX
@pytest.mark.parametrize("mode", [0o777, 0o775])
def test_a_cache_that_others_may_write_to(signed: Path, first: PrivateKey, tmp_path: Path, mode: int) -> None:
    """A file in the cache would replace the checked model."""
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(mode)
    with pytest.raises(KeyFileError, match=f"cache: .*mode {mode:o}"):
        Recognizer(signed, trusted_keys=[first.public], engine=EngineSettings(cache=cache))
    Recognizer(signed, engine=EngineSettings(threads=1, cache=cache)).close()
    cache.chmod(0o755)
    Recognizer(signed, trusted_keys=[first.public], engine=EngineSettings(threads=1, cache=cache)).close()
    Recognizer(signed, trusted_keys=[first.public], engine=EngineSettings(threads=1, cache=tmp_path / "new")).close()


def test_the_file_is_for_people_too(signed: Path, first: PrivateKey) -> None:
    document = json.loads((signed / SIGNATURE_NAME).read_bytes())
    assert document["schema_version"] == 1
    (item,) = document["signatures"]
    assert (item["key_id"], item["algorithm"], len(item["value"])) == (ids(first)[0], "ed25519", 128)
