"""A model repository holds versions that answer as their packages do, and never half of one."""

import errno
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest

from partsight.export import bundle
from partsight.export.bundle_outputs import Texts
from partsight.export.triton import Instances, ModelOptions, Source, add_to_repository, check_repository
from partsight.export.triton.check import answers_of, open_model
from partsight.export.triton.config import read_config, recorded_versions, write_config
from partsight.runtime import ModelPackage
from partsight.runtime.core.errors import ExportError, OutputError, PackageError, SignatureError
from partsight.runtime.core.safe_folder import MANIFEST_NAME
from partsight.runtime.images import Region
from partsight.runtime.matching import Rule
from partsight.runtime.package import sign_package
from partsight.runtime.recognition import ANSWER_TENSORS, NETWORK_SCORE
from partsight.runtime.signing import PrivateKey, generate_key
from tests.export.triton.conftest import with_threshold
from tests.runtime.enrolment.enrolling import write_package
from tests.tiny import COLOURS_BGR, SIDE_PX, solid

NAME = "colours"
DEFAULTS = ModelOptions()


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class TestTheFirstVersion:
    """A new model."""

    def test_files(self, source: Source, tmp_path: Path) -> None:
        written = add_to_repository(source, tmp_path / "models", NAME, DEFAULTS)
        assert written.version == 1
        assert set(contents(tmp_path / "models")) == {
            f"{NAME}/config.pbtxt",
            *(f"{NAME}/1/{name}" for name in ("model.onnx", "labels.txt", "manifest.json")),
        }
        assert (written.folder / "labels.txt").read_text("utf-8").splitlines() == list(COLOURS_BGR)
        assert read_config(tmp_path / "models" / NAME / "config.pbtxt") == written.config
        assert recorded_versions(written.config) == {1: source.package.package_id}

    def test_the_model_has_what_the_configuration_names(self, source: Source, tmp_path: Path) -> None:
        written = add_to_repository(source, tmp_path, NAME, DEFAULTS)
        outputs = {
            output.name: output for output in open_model(written.folder / "model.onnx", written.config).get_outputs()
        }
        types = {"TYPE_STRING": "string", "TYPE_INT64": "int64", "TYPE_FP32": "float", "TYPE_BOOL": "bool"}
        for output in written.config.output:
            name = type(output).DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number[output.data_type].name
            found = outputs.pop(output.name)
            assert found.type == f"tensor({types[name]})"
            dims = list(output.reshape.shape) if output.HasField("reshape") else list(output.dims)
            assert [None, *dims] == [None, *(len(COLOURS_BGR) if size == -1 else size for size in found.shape[1:])] or (
                output.name == NETWORK_SCORE and found.shape[1:] == [len(COLOURS_BGR)]
            )
        assert not outputs

    def test_it_answers_with_texts(self, source: Source, tmp_path: Path) -> None:
        written = add_to_repository(source, tmp_path, NAME, DEFAULTS)
        session = open_model(written.folder / "model.onnx", written.config)
        frames = np.stack(
            [*(solid(colour, SIDE_PX, SIDE_PX) for colour in COLOURS_BGR), solid((128, 128, 128), SIDE_PX, SIDE_PX)]
        )
        found = answers_of(session, frames)
        assert found.keys() == {tensor.name for tensor in ANSWER_TENSORS}
        assert found["label"].tolist() == [*(label.encode() for label in COLOURS_BGR), b""]
        assert found["package_id"].tolist() == [source.package.package_id.encode()] * len(frames)

    def test_what_was_checked(self, source: Source, tmp_path: Path) -> None:
        """Golden images, as many varied ones, and some one by one."""
        checked = add_to_repository(source, tmp_path, NAME, DEFAULTS).checked
        assert (checked.frames, checked.provider) == (2 * len(COLOURS_BGR) + 4, "CPUExecutionProvider")
        assert 0 <= checked.difference < 1e-3

    def test_a_package_of_grey_parts(self, matching_package: Path, tmp_path: Path) -> None:
        copy = Path(shutil.copytree(matching_package, tmp_path / "grey.partsight"))
        manifest = ModelPackage.read(copy).manifest
        spec = msgspec.structs.replace(
            manifest.preprocess, color="mono", region=Region(4, 4, 30, 30), golden_hw=(40, 40)
        )
        (copy / MANIFEST_NAME).write_bytes(msgspec.structs.replace(manifest, preprocess=spec).to_json())
        written = add_to_repository(Source(ModelPackage.read(copy)), tmp_path / "models", NAME, DEFAULTS)
        assert written.checked.frames == 2 * len(COLOURS_BGR) + 4

    def test_options(self, source: Source, tmp_path: Path) -> None:
        options = ModelOptions(batch=4, instances=Instances(2, "cpu"), tensorrt="/engines")
        config = add_to_repository(source, tmp_path, NAME, options).config
        assert config.max_batch_size == 4
        assert config.instance_group[0].count == 2
        assert [item.name for item in config.optimization.execution_accelerators.gpu_execution_accelerator] == [
            "tensorrt",
            "cuda",
        ]

    @pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..", "with space", "x" * 101, "Größe"])
    def test_names_that_are_no_folder(self, name: str, source: Source, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="expected letters"):
            add_to_repository(source, tmp_path, name, DEFAULTS)

    def test_tensorrt_would_halve_the_precision_of_matching(self, source: Source, tmp_path: Path) -> None:
        half = Source(source.package, "fp16")
        with pytest.raises(ValueError, match="fp32"):
            add_to_repository(half, tmp_path, NAME, ModelOptions(tensorrt="/engines"))

    def test_a_package_that_no_graph_holds(self, tiny_package: Path, tmp_path: Path) -> None:
        searched = write_package(tmp_path / "many.partsight", is_searched=True)
        for path, error in ((tiny_package, PackageError), (searched, ExportError)):
            with pytest.raises(error):
                add_to_repository(Source(ModelPackage.read(path)), tmp_path / "models", NAME, DEFAULTS)
        assert contents(tmp_path / "models") == {}


class TestTheNextVersion:
    """A retrained package."""

    def test_both_answer(self, source: Source, retrained: Source, tmp_path: Path) -> None:
        first = add_to_repository(source, tmp_path / "models", NAME, ModelOptions(batch=8, instances=Instances(3)))
        before = contents(first.folder)
        second = add_to_repository(retrained, tmp_path / "models", NAME, DEFAULTS)
        assert second.version == 2
        assert contents(first.folder) == before
        assert recorded_versions(second.config) == {1: source.package.package_id, 2: retrained.package.package_id}
        assert (second.config.max_batch_size, second.config.instance_group[0].count) == (8, 3)
        for written in (first, second):
            found = answers_of(
                open_model(written.folder / "model.onnx", second.config), np.zeros((1, 36, 36, 3), np.uint8)
            )
            assert found["package_id"][0].decode() == recorded_versions(second.config)[written.version]

    def test_the_number_of_a_removed_version_is_not_used_again(
        self, source: Source, retrained: Source, matching_package: Path, tmp_path: Path
    ) -> None:
        add_to_repository(source, tmp_path / "models", NAME, DEFAULTS)
        second = add_to_repository(retrained, tmp_path / "models", NAME, DEFAULTS)
        second.folder.rename(second.folder.with_name(".2-removed"))
        other = Source(ModelPackage.read(with_threshold(matching_package, tmp_path / "third.partsight", 0.7)))
        third = add_to_repository(other, tmp_path / "models", NAME, DEFAULTS)
        assert third.version == 3
        assert set(recorded_versions(third.config)) == {1, 3}

    def test_the_same_package_keeps_its_version(self, source: Source, retrained: Source, tmp_path: Path) -> None:
        add_to_repository(source, tmp_path / "models", NAME, DEFAULTS)
        add_to_repository(retrained, tmp_path / "models", NAME, DEFAULTS)
        again = add_to_repository(source, tmp_path / "models", NAME, ModelOptions(batch=2))
        assert again.version == 1
        assert read_config(tmp_path / "models" / NAME / "config.pbtxt").max_batch_size == 2
        assert not (tmp_path / "models" / NAME / "3").exists()

    def test_the_same_package_with_another_model(self, source: Source, tmp_path: Path) -> None:
        written = add_to_repository(source, tmp_path, NAME, DEFAULTS)
        (written.folder / "model.onnx").write_bytes(b"other")
        with pytest.raises(OutputError, match="--name"):
            add_to_repository(source, tmp_path, NAME, DEFAULTS)

    def test_changes_by_hand_stay(self, source: Source, retrained: Source, tmp_path: Path) -> None:
        config = add_to_repository(source, tmp_path / "models", NAME, DEFAULTS).config
        config.dynamic_batching.max_queue_delay_microseconds = 700
        config.instance_group[0].rate_limiter.priority = 3
        write_config(config, tmp_path / "models" / NAME / "config.pbtxt")
        config = add_to_repository(retrained, tmp_path / "models", NAME, DEFAULTS).config
        assert config.dynamic_batching.max_queue_delay_microseconds == 700
        assert config.instance_group[0].rate_limiter.priority == 3

    def test_another_size(self, source: Source, tmp_path: Path) -> None:
        add_to_repository(source, tmp_path / "models", NAME, DEFAULTS)
        before = contents(tmp_path / "models")
        larger = Source(ModelPackage.read(write_package(tmp_path / "larger.partsight")))
        with pytest.raises(ExportError, match=r"36×36 px.*66×48 px.*--name"):
            add_to_repository(larger, tmp_path / "models", NAME, DEFAULTS)
        assert contents(tmp_path / "models") == before

    def test_a_folder_of_another_program(self, source: Source, tmp_path: Path) -> None:
        (tmp_path / NAME / "1").mkdir(parents=True)
        with pytest.raises(ExportError, match=r"config\.pbtxt"):
            add_to_repository(source, tmp_path, NAME, DEFAULTS)
        assert contents(tmp_path) == {}

    def test_a_version_of_another_program(self, source: Source, retrained: Source, tmp_path: Path) -> None:
        add_to_repository(source, tmp_path / "models", NAME, DEFAULTS)
        (tmp_path / "models" / NAME / "7").mkdir()
        with pytest.raises(ExportError, match=NAME):
            add_to_repository(retrained, tmp_path / "models", NAME, DEFAULTS)


class TestFailures:
    """A call that fails leaves the repository as it was."""

    @pytest.mark.parametrize("defect", ["label", "threshold"])
    @pytest.mark.parametrize("is_first", [True, False])
    def test_answers_that_differ(
        self, defect: str, is_first: bool, source: Source, retrained: Source, tmp_path: Path, monkeypatch: Any
    ) -> None:
        models = tmp_path / "models"
        if not is_first:
            add_to_repository(source, models, NAME, DEFAULTS)
        before, right = contents(models), bundle.join

        def wrong(*arguments: Any, **options: Any) -> onnx.ModelProto:
            if defect == "label":
                labels = list(options["texts"].labels)
                options["texts"] = Texts([*labels[:-1], "another"], options["texts"].package_id)
            else:
                options["rule"] = Rule(options["rule"].threshold + 0.01)
            return right(*arguments, **options)

        monkeypatch.setattr(bundle, "join", wrong)
        with pytest.raises(ExportError, match=f"model's {defect} is"):
            add_to_repository(retrained, models, NAME, DEFAULTS)
        assert contents(models) == before

    def test_a_full_disk(self, source: Source, retrained: Source, tmp_path: Path, monkeypatch: Any) -> None:
        models = tmp_path / "models"
        add_to_repository(source, models, NAME, DEFAULTS)
        before = contents(models)

        def full(config: Any, path: Path) -> None:
            assert (path.parent / "2" / "model.onnx").exists()
            raise OutputError(f"{path}: {errno.ENOSPC}")

        monkeypatch.setattr("partsight.export.triton.repository.write_config", full)
        with pytest.raises(OutputError):
            add_to_repository(retrained, models, NAME, DEFAULTS)
        assert contents(models) == before

    def test_a_killed_call_left_a_version_without_its_record(
        self, source: Source, retrained: Source, tmp_path: Path
    ) -> None:
        models = tmp_path / "models"
        old = add_to_repository(source, models, NAME, DEFAULTS).config
        add_to_repository(retrained, models, NAME, DEFAULTS)
        write_config(old, models / NAME / "config.pbtxt")
        again = add_to_repository(retrained, models, NAME, DEFAULTS)
        assert again.version == 2
        assert recorded_versions(again.config) == {1: source.package.package_id, 2: retrained.package.package_id}


class TestCheck:
    """`check_repository` changes nothing."""

    def test_a_sound_version(self, source: Source, retrained: Source, tmp_path: Path) -> None:
        for each in (source, retrained):
            add_to_repository(each, tmp_path / "models", NAME, DEFAULTS)
        before = contents(tmp_path / "models")
        found = check_repository(source, tmp_path / "models", NAME)
        assert (found.version, found.is_as_written) == (1, True)
        assert contents(tmp_path / "models") == before

    def test_no_such_version(self, source: Source, retrained: Source, tmp_path: Path) -> None:
        add_to_repository(source, tmp_path / "models", NAME, DEFAULTS)
        with pytest.raises(ExportError, match=f"1 of {source.package.package_id}"):
            check_repository(retrained, tmp_path / "models", NAME)
        with pytest.raises(ExportError):
            check_repository(source, tmp_path / "models", "another")

    def test_another_models_file(self, source: Source, retrained: Source, tmp_path: Path) -> None:
        first = add_to_repository(source, tmp_path / "models", NAME, DEFAULTS)
        second = add_to_repository(retrained, tmp_path / "models", NAME, DEFAULTS)
        shutil.copy(first.folder / "model.onnx", second.folder / "model.onnx")
        with pytest.raises(ExportError, match=r"package_id|threshold"):
            check_repository(retrained, tmp_path / "models", NAME)

    def test_a_damaged_file(self, source: Source, tmp_path: Path) -> None:
        written = add_to_repository(source, tmp_path, NAME, DEFAULTS)
        (written.folder / "model.onnx").write_bytes(b"damaged")
        with pytest.raises(ExportError, match=r"model\.onnx"):
            check_repository(source, tmp_path, NAME)

    def test_a_file_of_another_version_of_partsight(self, source: Source, tmp_path: Path) -> None:
        written = add_to_repository(source, tmp_path, NAME, DEFAULTS)
        model = onnx.load(written.folder / "model.onnx")
        model.producer_version = "older"
        onnx.save(model, written.folder / "model.onnx")
        assert not check_repository(source, tmp_path, NAME).is_as_written

    def test_a_record_of_another_package(self, source: Source, tmp_path: Path) -> None:
        config = add_to_repository(source, tmp_path, NAME, DEFAULTS).config
        config.parameters["package_id.1"].string_value = "0" * 16
        write_config(config, tmp_path / NAME / "config.pbtxt")
        with pytest.raises(ExportError, match=source.package.package_id):
            check_repository(source, tmp_path, NAME)


class TestSignature:
    """A demanded signature goes along, and holds for the server's files."""

    def test_it_goes_along(self, signed: Source, key: PrivateKey, tmp_path: Path) -> None:
        written = add_to_repository(signed, tmp_path / "models", NAME, DEFAULTS)
        assert written.config.parameters["signed_by.1"].string_value == key.public.key_id
        for name in ("manifest.json", "signature.json"):
            assert (written.folder / name).read_bytes() == (signed.package.path / name).read_bytes()
        assert check_repository(signed, tmp_path / "models", NAME).is_as_written

    def test_an_altered_file(self, signed: Source, tmp_path: Path) -> None:
        """Its answers are the same, but nobody signed it."""
        written = add_to_repository(signed, tmp_path / "models", NAME, DEFAULTS)
        model = onnx.load(written.folder / "model.onnx")
        model.doc_string = "altered"
        onnx.save(model, written.folder / "model.onnx")
        with pytest.raises(ExportError, match="signed"):
            check_repository(signed, tmp_path / "models", NAME)

    def test_a_removed_signature(self, signed: Source, tmp_path: Path) -> None:
        written = add_to_repository(signed, tmp_path / "models", NAME, DEFAULTS)
        (written.folder / "signature.json").unlink()
        with pytest.raises(SignatureError):
            check_repository(signed, tmp_path / "models", NAME)

    def test_an_unverified_signature_is_not_recorded(self, signed: Source, tmp_path: Path) -> None:
        unasked = Source(ModelPackage.read(signed.package.path))
        written = add_to_repository(unasked, tmp_path / "models", NAME, DEFAULTS)
        assert (written.folder / "signature.json").exists()
        assert "signed_by.1" not in written.config.parameters


@pytest.fixture
def key(tmp_path: Path) -> PrivateKey:
    generate_key(tmp_path / "factory")
    return PrivateKey.read(tmp_path / "factory")


@pytest.fixture
def signed(matching_package: Path, key: PrivateKey, tmp_path: Path) -> Source:
    copy = Path(shutil.copytree(matching_package, tmp_path / "signed.partsight"))
    sign_package(copy, key)
    keys = [key.public]
    return Source(ModelPackage.read(copy, keys), "fp32", keys)
