"""Export refuses every fault between training and package, and leaves no files."""

import errno
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import msgspec
import numpy as np
import onnx
import pytest

from partsight.export import conversion, exporter, folding, parity, precision
from partsight.export.exporter import export
from partsight.runtime import ModelPackage, PackageError, Recognizer, read_image
from partsight.runtime.core.errors import ExportError, OutputError, ParityError, RunError
from partsight.runtime.matching import BANK_FILE
from partsight.runtime.package.manifest import Manifest
from partsight.train.run_folder import MODEL_NAME, RECORD_NAME, RunFolder
from tests.interrupts import swallowing
from tests.processes import running
from tests.waiting import wait_until


@pytest.fixture
def refuses(tiny_run: RunFolder, tmp_path: Path) -> Callable[..., str]:
    """Export, expect an error and no output, and return the message."""

    def _refuses(error: type[BaseException], run: Path | None = None, **options: Any) -> str:
        out = tmp_path / "out" / "line.partsight"
        with pytest.raises(error) as caught:
            export(run or tiny_run.path, out, **{"precisions": ("fp32",), **options})
        assert not out.exists()
        assert list(out.parent.iterdir()) == []
        return str(caught.value)

    return _refuses


@pytest.fixture
def change_model(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[onnx.ModelProto], None]], None]:
    """Change the converted graph before it is compared."""

    def _change_model(change: Callable[[onnx.ModelProto], None]) -> None:
        original = exporter.convert

        def changed(network: Any) -> conversion.Converted:
            converted = original(network)
            change(converted.model)
            return converted

        monkeypatch.setattr(exporter, "convert", changed)

    return _change_model


def first_kernel(model: onnx.ModelProto) -> onnx.TensorProto:
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    return next(item for item in model.graph.initializer if item.name == conv.input[1])


def test_a_sound_run_becomes_a_package(small_run: RunFolder, package: ModelPackage) -> None:
    package.check_hashes()
    parity = package.model("fp32").parity
    assert parity.labels_equal == parity.images == len(small_run.record.labels)
    assert parity.max_score_difference <= 1e-4
    assert len(list((package.path / "gallery").iterdir())) == len(small_run.record.labels)
    assert {path.name for path in package.path.iterdir()} == {
        "manifest.json",
        "model.fp32.onnx",
        "gallery",
        "bank.npy",
        "matching.onnx",
        "report.html",
    }
    golden = read_image(Path(small_run.record.catalog) / small_run.record.goldens[3].file)
    for path in (package.path, package.path / "model.fp32.onnx"):
        with Recognizer(path) as recognizer:
            assert recognizer.recognize(golden).label == small_run.record.labels[3]


def test_swapped_channels(refuses: Callable[..., str], change_model: Callable[..., None]) -> None:
    def swap(model: onnx.ModelProto) -> None:
        kernel = first_kernel(model)
        values = onnx.numpy_helper.to_array(kernel)[:, ::-1]
        kernel.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(values), kernel.name))

    change_model(swap)
    message = refuses(ParityError)
    assert "channel order" in message
    assert "golden.jpg" in message


def test_a_changed_weight(refuses: Callable[..., str], change_model: Callable[..., None]) -> None:
    def change(model: onnx.ModelProto) -> None:
        kernel = first_kernel(model)
        values = onnx.numpy_helper.to_array(kernel) * np.float32(1.05)
        kernel.CopyFrom(onnx.numpy_helper.from_array(values, kernel.name))

    change_model(change)
    message = refuses(ParityError)
    assert "conversion or folding" in message
    assert "golden.jpg" in message


def test_weights_that_are_not_numbers(refuses: Callable[..., str], change_model: Callable[..., None]) -> None:
    def change(model: onnx.ModelProto) -> None:
        kernel = first_kernel(model)
        values = onnx.numpy_helper.to_array(kernel) * np.float32(np.nan)
        kernel.CopyFrom(onnx.numpy_helper.from_array(values, kernel.name))

    change_model(change)
    assert "finite" in refuses(ParityError)


def test_another_resize(refuses: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    resize = cv2.resize

    def nearest(*args: Any, **options: Any) -> Any:
        return resize(*args, **{**options, "interpolation": cv2.INTER_NEAREST})

    monkeypatch.setattr(cv2, "resize", nearest)
    assert "preprocessing" in refuses(ParityError)


def test_shuffled_labels(refuses: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    original = exporter._manifest

    def shuffled(record: Any) -> Manifest:
        manifest = original(record)
        return msgspec.structs.replace(manifest, labels=(*manifest.labels[1:], manifest.labels[0]))

    monkeypatch.setattr(exporter, "_manifest", shuffled)
    assert "labels" in refuses(ParityError)


def test_a_batch_norm_left(refuses: Callable[..., str], small_run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    original, calls = folding._fold_one, iter(range(3))

    def fold_some(model: onnx.ModelProto) -> bool:
        return next(calls, None) is not None and original(model)

    monkeypatch.setattr(folding, "_fold_one", fold_some)
    assert "affine nodes behind a convolution are left" in refuses(ExportError, small_run.path)


def test_a_golden_image_that_changed(refuses: Callable[..., str], tiny_run: RunFolder, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(tiny_run.record.catalog, moved)
    golden = moved / tiny_run.record.goldens[2].file
    cv2.imwrite(str(golden), 255 - cv2.imread(str(golden)))
    assert str(golden) in refuses(ExportError, catalog_folder=moved)
    golden.unlink()
    assert "--catalog" in refuses(ExportError, catalog_folder=moved)


def test_a_run_of_partsight_0_1_has_no_gallery(tiny_run: RunFolder, tmp_path: Path) -> None:
    run = Path(shutil.copytree(tiny_run.path, tmp_path / "run", ignore=shutil.ignore_patterns("gallery", BANK_FILE)))
    record = msgspec.structs.replace(tiny_run.record, gallery_sha256=None, tolerances=None)
    (run / RECORD_NAME).write_bytes(msgspec.json.encode(record))
    package = export(run, tmp_path / "line.partsight", precisions=("fp32",))
    for name in (BANK_FILE, *(f"gallery/{index:05d}.jpg" for index in range(len(record.labels)))):
        assert (package.path / name).read_bytes() == (tiny_run.path / name).read_bytes()


def test_a_catalogue_that_moved(tiny_run: RunFolder, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(tiny_run.record.catalog, moved)
    assert export(tiny_run.path, tmp_path / "line.partsight", moved, precisions=("fp32",)).manifest.labels == (
        tiny_run.record.labels
    )


@pytest.mark.parametrize("name", [MODEL_NAME, RECORD_NAME, BANK_FILE])
def test_a_damaged_run(refuses: Callable[..., str], tiny_run: RunFolder, tmp_path: Path, name: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(tiny_run.path, run)
    data = (run / name).read_bytes()
    (run / name).write_bytes(data[: len(data) // 2])
    assert name in refuses(RunError, run)
    (run / name).unlink()
    refuses(RunError, run)


def test_a_model_that_answers_differently_than_it_was_trained_to(
    refuses: Callable[..., str], tiny_run: RunFolder, tmp_path: Path
) -> None:
    run, goldens = tmp_path / "run", list(tiny_run.record.goldens)
    shutil.copytree(tiny_run.path, run)
    goldens[3] = msgspec.structs.replace(goldens[3], predicted=goldens[4].label)
    record = msgspec.structs.replace(tiny_run.record, goldens=tuple(goldens))
    (run / RECORD_NAME).write_bytes(msgspec.json.encode(record))
    message = refuses(RunError, run)
    for datum in ("1 of 12", goldens[3].file, goldens[3].label, goldens[4].label):
        assert datum in message


def test_a_full_disk(refuses: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name == "00007.jpg":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    assert "No space left" in refuses(OutputError)


def test_nothing_is_overwritten(tiny_run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "keep.txt").write_text("mine")
    with pytest.raises(OutputError, match=re.escape(str(tmp_path))):
        export(tiny_run.path, tmp_path)
    assert (tmp_path / "keep.txt").read_text() == "mine"


@pytest.mark.usefixtures("pythons_sigint")
@pytest.mark.parametrize(
    ("module", "name"),
    [(conversion, "_trace"), (parity, "compare"), (precision, "named"), (exporter, "package_report")],
)
def test_ctrl_c_that_is_swallowed(
    refuses: Callable[..., str], monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str
) -> None:
    """At every stage."""
    monkeypatch.setattr(module, name, swallowing(getattr(module, name)))
    refuses(KeyboardInterrupt, precisions=("fp16",) if module is precision else ("fp32",))


_SLOW_EXPORT = """
import sys, time
from pathlib import Path
from partsight.export.exporter import export
write = Path.write_bytes
def slow(path, data):
    write(path, data)
    time.sleep(1000 if path.parent.name == "gallery" else 0)  # until it is killed
Path.write_bytes = slow
export(sys.argv[1], sys.argv[2], precisions=("fp32",))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_kill_leaves_nothing_that_loads(tiny_run: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "line.partsight"
    with running(sys.executable, "-c", _SLOW_EXPORT, tiny_run.path, out) as process:
        wait_until(lambda: process.poll() is not None or list(tmp_path.glob(".*.partial/gallery/*")))
        partial = list(tmp_path.glob(".*.partial/gallery/*"))
        assert partial
        process.kill()
    assert not out.exists()
    with pytest.raises(PackageError):
        ModelPackage.read(partial[0].parents[1])
    export(tiny_run.path, out, precisions=("fp32",))
    assert [path.name for path in tmp_path.iterdir()] == ["line.partsight"]
