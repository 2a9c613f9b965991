"""Package folders with missing, foreign and changed files."""

import contextlib
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from partsight.runtime.core.storage import sha256_bytes
from partsight.runtime.package.package import ModelPackage
from partsight.runtime.recognition.recognizer import Recognizer
from tests.fuzz import wild
from tests.fuzz.damage import damaged
from tests.fuzz.surface import Case, check
from tests.tiny import ONE_THREAD, solid, tiny_matching, write_tiny_package


@contextlib.contextmanager
def open_folders(folder: Path) -> Iterator[Case]:
    """Folders with missing, replaced, linked or renamed files, and manifests with valid hashes of other files."""
    whole = write_tiny_package(folder / "whole.partsight", matching=tiny_matching(), is_searched=True)
    plain = {path.relative_to(whole): path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    facts = json.loads(plain[Path("manifest.json")])
    facts.pop("sha256", None)
    work = folder / "work.partsight"
    outside = folder / "outside"
    outside.write_bytes(b"secret")

    def case(rng: random.Random) -> None:
        _remove(work)
        for name, data in plain.items():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_bytes(data)
        if rng.random() < 0.5:
            _alter_manifest(rng, work, facts)
        for _ in range(rng.choice((0, 1, 1, 2))):
            rng.choice(_INJURIES)(rng, work, outside)
        package = ModelPackage.read(work)
        package.check_hashes()
        with Recognizer(work, engine=ONE_THREAD) as recognizer:
            answer = recognizer.recognize(solid("red"))
            check(answer.label is None or answer.label in recognizer.labels, "a label that was never taught")

    yield case


def _remove(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
    elif folder.exists() or folder.is_symlink():
        folder.unlink()


def _alter_manifest(rng: random.Random, work: Path, facts: Any) -> None:
    """Write an altered manifest, sometimes with further files and their valid hashes."""
    document = wild.altered(rng, facts) if rng.random() < 0.6 else json.loads(json.dumps(facts))
    if rng.random() < 0.6 and isinstance(document, dict) and isinstance(document.get("files"), dict):
        name = rng.choice(("x", "a/b", "../outside", "/etc/passwd", "manifest.json", "CON", "a\\b", wild.text(rng, 8)))
        with contextlib.suppress(OSError, ValueError):
            if ".." not in name and not name.startswith("/"):
                (work / name).parent.mkdir(parents=True, exist_ok=True)
                (work / name).write_bytes(b"x")
        document["files"][name] = sha256_bytes(rng.choice((b"x", b"secret")))
        if rng.random() < 0.5 and isinstance(document.get("search"), dict):
            document["search"]["file"] = name
    with contextlib.suppress(UnicodeEncodeError):
        (work / "manifest.json").write_bytes(json.dumps(document, ensure_ascii=rng.random() < 0.5).encode())


_SMALL = 2**20


def _is_small(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size <= _SMALL


def _pick(rng: random.Random, work: Path) -> Path:
    return rng.choice(
        sorted(path for path in work.rglob("*") if not path.is_dir() or path.is_symlink()) or [work / "x"]
    )


def _lose(rng: random.Random, work: Path, _outside: Path) -> None:
    _pick(rng, work).unlink(missing_ok=True)


def _injure(rng: random.Random, work: Path, _outside: Path) -> None:
    path = _pick(rng, work)
    if _is_small(path):
        path.write_bytes(damaged(rng, path.read_bytes()))


def _empty(rng: random.Random, work: Path, _outside: Path) -> None:
    path = _pick(rng, work)
    path.unlink(missing_ok=True)
    path.write_bytes(b"")


def _swap(rng: random.Random, work: Path, _outside: Path) -> None:
    first, second = _pick(rng, work), _pick(rng, work)
    if _is_small(first) and _is_small(second):
        one, other = first.read_bytes(), second.read_bytes()
        first.write_bytes(other)
        second.write_bytes(one)


def _link(rng: random.Random, work: Path, outside: Path) -> None:
    path = _pick(rng, work)
    path.unlink(missing_ok=True)
    path.symlink_to(rng.choice((outside, Path("/dev/zero"), Path("/proc/self/environ"), path, work, Path("nowhere"))))


def _pipe(rng: random.Random, work: Path, _outside: Path) -> None:
    path = _pick(rng, work)
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def _folder(rng: random.Random, work: Path, _outside: Path) -> None:
    path = _pick(rng, work)
    path.unlink(missing_ok=True)
    path.mkdir()


def _swell(rng: random.Random, work: Path, _outside: Path) -> None:
    """Make a sparse file of up to 100 GB."""
    path = _pick(rng, work)
    if path.is_file() and not path.is_symlink():
        os.truncate(path, rng.choice((2**21, 2**24, 2**30, 2**33, 10**11)))


def _add(rng: random.Random, work: Path, _outside: Path) -> None:
    with contextlib.suppress(OSError, ValueError):
        (work / wild.text(rng, 8).replace("/", "_").replace("..", "_")).write_bytes(b"x")


_INJURIES: tuple[Callable[[random.Random, Path, Path], None], ...] = (
    _lose, _injure, _injure, _empty, _swap, _link, _pipe if hasattr(os, "mkfifo") else _folder, _folder, _swell, _add,
)  # fmt: skip
