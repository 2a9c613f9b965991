import dataclasses
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import keras
import numpy as np
import pytest

from partsight.runtime.core.arrays import Pixels
from partsight.runtime.core.errors import OutputError
from partsight.runtime.images.image_file import read_image
from partsight.runtime.images.preprocessing import PreprocessSpec, Region, preprocess
from partsight.train import features as module
from partsight.train.backbones import find_backbone
from partsight.train.catalog import Catalog, read_catalog
from partsight.train.features import BATCH, Extractor, FeatureCache
from partsight.train.heads import find_head
from partsight.train.stack import build_extractor
from tests.pickled import map_pickled
from tests.train.conftest import SPEC


@pytest.fixture
def catalog(small_catalog: Path, tmp_path: Path) -> Catalog:
    return read_catalog(shutil.copytree(small_catalog, tmp_path / "golden"))


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "cache")


def cached_files(cache: FeatureCache) -> list[Path]:
    return sorted(path for path in cache.folder.rglob("*") if path.is_file())


def test_features_of_golden_images(extractor: Extractor, catalog: Catalog, cache: FeatureCache) -> None:
    found, computed = cache.golden_features(extractor, catalog.goldens)
    assert computed == 12
    assert found.shape == (12, 1280)
    assert found.dtype == np.float32
    direct = extractor.network.predict_on_batch(preprocess(catalog.images[:], SPEC))
    np.testing.assert_allclose(found, direct, atol=1e-4)
    assert len(np.unique(found, axis=0)) == 12


def test_another_process_computes_the_same_features(
    extractor: Extractor, catalog: Catalog, cache: FeatureCache, tmp_path: Path
) -> None:
    here, _ = cache.golden_features(extractor, catalog.goldens)
    there, computed = FeatureCache(tmp_path / "there").golden_features(extractor, catalog.goldens, map_pickled)
    assert computed == 12
    np.testing.assert_array_equal(there, here)


def test_the_second_run_computes_nothing(extractor: Extractor, catalog: Catalog, cache: FeatureCache) -> None:
    first, _ = cache.golden_features(extractor, catalog.goldens)
    no_network = dataclasses.replace(extractor, network=None)
    second, computed = FeatureCache(cache.folder).golden_features(no_network, catalog.goldens)
    assert computed == 0
    np.testing.assert_array_equal(second, first)
    assert len(cached_files(cache)) == 12


def test_one_changed_image_is_computed_again(extractor: Extractor, catalog: Catalog, cache: FeatureCache) -> None:
    before, _ = cache.golden_features(extractor, catalog.goldens)
    golden = catalog.goldens[7]
    cv2.imwrite(str(golden.path), 255 - read_image(golden.path))
    after, computed = cache.golden_features(extractor, read_catalog(catalog.root).goldens)
    assert computed == 1
    np.testing.assert_array_equal(np.delete(after, 7, axis=0), np.delete(before, 7, axis=0))
    expected = extractor.features([read_image(golden.path)], 1, "")
    np.testing.assert_allclose(after[7], expected[0], atol=1e-4)
    assert np.abs(after[7] - before[7]).max() > 0.1


def test_the_content_counts_and_not_the_name(extractor: Extractor, catalog: Catalog, cache: FeatureCache) -> None:
    before, _ = cache.golden_features(extractor, catalog.goldens)
    first = catalog.goldens[0].path.parent
    first.rename(first.with_name("zzz"))
    after, computed = cache.golden_features(extractor, read_catalog(catalog.root).goldens)
    assert computed == 0
    np.testing.assert_array_equal(after, np.roll(before, -1, axis=0))


def no_end(data: bytes) -> bytes:
    return data.replace(b"}", b" ", 1)  # of the header


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda data: data[:7],
        lambda data: data[:128],
        lambda data: data[:-1],
        lambda _: b"no features",
        lambda data: b"PK\x03\x04" + data,
        lambda data: b"\xff" * len(data),
        no_end,
        lambda data: data[:999] + bytes([data[999] ^ 1]) + data[1000:],
    ],
    ids=["empty", "cut in the header", "header alone", "last byte", "text", "zip", "other bytes", "header", "one bit"],
)
def test_a_damaged_file_is_computed_again(
    extractor: Extractor, catalog: Catalog, cache: FeatureCache, damage: Any
) -> None:
    before, _ = cache.golden_features(extractor, catalog.goldens)
    path = cached_files(cache)[3]
    path.write_bytes(damage(path.read_bytes()))
    after, computed = cache.golden_features(extractor, catalog.goldens)
    assert computed == 1
    np.testing.assert_allclose(after, before, atol=1e-4)
    assert cache.golden_features(extractor, catalog.goldens)[1] == 0


def test_objects_in_a_cached_file_are_not_run(extractor: Extractor, catalog: Catalog, cache: FeatureCache) -> None:
    cache.golden_features(extractor, catalog.goldens)
    stream = io.BytesIO()
    np.save(stream, np.array([{"an": "object"}], object), allow_pickle=True)
    cached_files(cache)[0].write_bytes(stream.getvalue())
    assert cache.golden_features(extractor, catalog.goldens)[1] == 1


def test_an_interruption_keeps_what_was_computed(
    extractor: Extractor, catalog: Catalog, cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 5)
    run, calls = Extractor.run, iter(range(2))

    def interrupted(self: Extractor, batch: Pixels) -> Any:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return run(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Extractor, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cache.golden_features(extractor, catalog.goldens)
    found, computed = cache.golden_features(extractor, catalog.goldens)
    assert computed == 2  # of 12, after two batches of 5
    whole = extractor.network.predict_on_batch(preprocess(catalog.images[:], SPEC))
    np.testing.assert_allclose(found, whole, atol=1e-4)


def test_no_temporary_file_is_left(extractor: Extractor, catalog: Catalog, cache: FeatureCache) -> None:
    cache.golden_features(extractor, catalog.goldens)
    assert {path.stem for path in cached_files(cache)} == {golden.sha256 for golden in catalog.goldens}


def test_a_cache_that_cannot_be_written(extractor: Extractor, catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        FeatureCache(tmp_path / "file").golden_features(extractor, catalog.goldens)


def test_features_of_more_images_than_a_batch(
    extractor: Extractor, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCH", 5)
    asked: list[int] = []

    def images() -> Iterator[Pixels]:
        for index, image in enumerate(catalog.images):
            asked.append(index)
            yield image

    found = extractor.features(images(), 12, "golden images")
    assert asked == list(range(12))
    np.testing.assert_allclose(
        found, extractor.network.predict_on_batch(preprocess(catalog.images[:], SPEC)), atol=1e-4
    )


def test_neighbours_in_a_batch_change_nothing(extractor: Extractor, catalog: Catalog) -> None:
    batch = preprocess(catalog.images[:], SPEC)
    together = extractor.run(batch)
    for index in (0, 11):
        np.testing.assert_allclose(extractor.run(batch[index : index + 1])[0], together[index], atol=1e-5)
    assert len(extractor.run(np.repeat(batch[:1], BATCH, axis=0))) == BATCH


def test_identity_is_of_what_features_depend_on(extractor: Extractor) -> None:
    network, architecture = extractor.network, "a network"
    same = Extractor.of(network, SPEC, architecture).identity
    assert Extractor.of(network, SPEC, architecture).identity == same
    others = [
        Extractor.of(network, SPEC, "another network"),
        Extractor.of(network, PreprocessSpec(height=64, width=64, color="mono"), architecture),
        Extractor.of(network, PreprocessSpec(height=64, width=64, region=Region(0, 0, 9, 9)), architecture),
        Extractor.of(network, PreprocessSpec(height=64, width=32), architecture),
        Extractor.of(network, PreprocessSpec(height=64, width=64), architecture),
        Extractor.of(network, PreprocessSpec(height=64, width=64, via=(192, 186)), architecture),
    ]
    assert len({same, *(other.identity for other in others)}) == 7


def test_identity_is_of_every_layer_whatever_its_name() -> None:
    """Rescaling and activations have no weights to be known by, and names count up within a process."""

    def identity(scale: float, activation: str) -> str:
        frames, inputs = keras.Input((64, 64, 3)), keras.Input((64, 64, 3))
        inner = keras.Model(inputs, keras.layers.Rescaling(scale)(inputs))
        network = keras.Model(frames, keras.layers.Activation(activation)(keras.layers.Flatten()(inner(frames))))
        return Extractor.of(network, SPEC, "a network").identity

    assert identity(0.5, "relu") == identity(0.5, "relu")
    assert len({identity(0.5, "relu"), identity(0.25, "relu"), identity(0.5, "tanh")}) == 3


def test_identity_of_the_same_network_built_twice(extractor: Extractor) -> None:
    lite0, cosine = find_backbone("EfficientNetLite0"), find_head("cosine")
    assert build_extractor(lite0, "embedded", cosine, SPEC).identity == extractor.identity
    assert build_extractor(lite0, "none", cosine, SPEC).identity != extractor.identity


def test_heads_that_pool_differently_do_not_share(extractor: Extractor, catalog: Catalog, cache: FeatureCache) -> None:
    flat = build_extractor(find_backbone("EfficientNetLite0"), "embedded", find_head("dense"), SPEC)
    pooled, _ = cache.golden_features(extractor, catalog.goldens)
    wide, computed = cache.golden_features(flat, catalog.goldens)
    assert computed == 12
    assert wide.shape == (12, 2 * 2 * 1280)
    np.testing.assert_allclose(wide.reshape(12, 4, 1280).mean(axis=1), pooled, atol=1e-4)


def test_the_network_is_frozen(extractor: Extractor) -> None:
    assert extractor.network.trainable_weights == []
