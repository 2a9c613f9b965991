import shutil
from pathlib import Path

import onnx
import pytest

from partsight.runtime.core.errors import PackageError
from partsight.runtime.package.digest import DIGEST_KEY, check_digest, with_digest
from partsight.runtime.package.package import ModelPackage
from partsight.runtime.recognition.recognizer import Recognizer
from tests.tiny import COLOURS_BGR, solid, tiny_model

MODEL = tiny_model()


def is_refused(data: bytes) -> bool:
    try:
        check_digest(data, "here")
    except PackageError:
        return True
    return False


def test_whole() -> None:
    check_digest(MODEL, "here")
    check_digest(with_digest(b"anything"), "here")


def test_it_is_metadata_of_the_file() -> None:
    texts = {item.key: item.value for item in onnx.load_from_string(MODEL).metadata_props}
    assert MODEL.endswith(texts[DIGEST_KEY].encode())


def test_each_bit_flipped_in_turn_is_refused() -> None:
    taken = []
    for index in range(len(MODEL)):
        for bit in range(8):
            data = bytearray(MODEL)
            data[index] ^= 1 << bit
            if not is_refused(bytes(data)):
                taken.append((index, bit))
    assert taken == []


def test_each_truncation_is_refused() -> None:
    assert [size for size in range(len(MODEL)) if not is_refused(MODEL[:size])] == []


@pytest.mark.parametrize("more", [b"\0", MODEL, MODEL[-150:]])
def test_more_at_the_end_is_refused(more: bytes) -> None:
    assert is_refused(MODEL + more)
    assert is_refused(more + MODEL)


def test_a_damaged_weight_is_not_answered_by(tiny_package: Path, tmp_path: Path) -> None:
    """The file would load, and call every red part something else."""
    data = bytearray(MODEL.replace(_weights(), _weights()[::-1]))
    assert len(data) == len(MODEL) and data != MODEL
    path = tmp_path / "alone.onnx"
    path.write_bytes(data)
    onnx.load(path)
    with pytest.raises(PackageError, match=r"alone\.onnx: .*SHA-256"):
        Recognizer(path)
    path.write_bytes(MODEL[:-20])
    with pytest.raises(PackageError, match=r"alone\.onnx: .*SHA-256"):
        Recognizer(path)
    path.write_bytes(MODEL)
    with Recognizer(path) as recognizer:
        assert [recognizer.recognize(solid(colour)).label for colour in COLOURS_BGR] == list(COLOURS_BGR)
    package = Path(shutil.copytree(tiny_package, tmp_path / "p.partsight"))
    (package / "model.fp32.onnx").write_bytes(data)
    with pytest.raises(PackageError, match=r"model\.fp32\.onnx .*SHA-256"):
        Recognizer(package)


def _weights() -> bytes:
    (tensor,) = [item for item in onnx.load_from_string(MODEL).graph.initializer if item.name == "weights"]
    return bytes(tensor.raw_data)


def test_each_bit_of_a_packages_model_is_checked(tiny_package: Path, tmp_path: Path) -> None:
    package = Path(shutil.copytree(tiny_package, tmp_path / "p.partsight"))
    read, path = ModelPackage.read(package), package / "model.fp32.onnx"
    whole = path.read_bytes()
    for index in range(len(whole)):
        data = bytearray(whole)
        data[index] ^= 1 << index % 8
        path.write_bytes(data)
        with pytest.raises(PackageError, match="SHA-256"):
            read.model_bytes("fp32")
