"""Activations at the cut: the same copies for the same seed, whole files or none, and no more disk than allowed."""

import errno
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partsight.runtime.calibration.variation import Variation
from partsight.runtime.core.errors import OutputError, TrainingError
from partsight.runtime.images.image_file import read_image
from partsight.runtime.images.preprocessing import preprocess
from partsight.train import activations as module
from partsight.train.activations import ActivationCache, Copies
from partsight.train.catalog import read_catalog
from partsight.train.catalog_checks import PartImage
from partsight.train.cuts import Split, split
from partsight.train.features import Extractor
from partsight.train.recipe import TRAINED_VARIATION

CUT = "b10_add"


@pytest.fixture(scope="module")
def goldens(small_catalog: Path) -> tuple[PartImage, ...]:
    return read_catalog(small_catalog).goldens[:5]


@pytest.fixture(scope="module")
def parts(extractor: Extractor) -> Split:
    return split(extractor.network, CUT)


@pytest.fixture(scope="module")
def trunk(extractor: Extractor, parts: Split) -> Extractor:
    return Extractor.of(parts.trunk, extractor.spec, f"Lite0 up to {CUT}")


@pytest.fixture
def copies(goldens: tuple[PartImage, ...], trunk: Extractor) -> Copies:
    return Copies(goldens, TRAINED_VARIATION, 0, trunk)


@pytest.fixture
def cache(tmp_path: Path) -> ActivationCache:
    return ActivationCache(tmp_path, 1e9)


class Broken:
    """A trunk that fails in its second batch, or at once."""

    def __init__(self, network: Any, batches: int) -> None:
        self.network, self.batches = network, batches
        self.outputs = network.outputs

    def predict_on_batch(self, batch: Any) -> Any:
        if self.batches == 0:
            raise KeyboardInterrupt
        self.batches -= 1
        return self.network.predict_on_batch(batch)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_what_is_stored(cache: ActivationCache, copies: Copies, parts: Split, extractor: Extractor) -> None:
    source = cache.open(copies, 2)
    assert (source.classes, source.copies) == (5, 2)
    assert source.goldens.shape == source.held_out.shape == (5, 4, 4, 112)
    assert (source.goldens.dtype, source.held_out.dtype, source.stored[0].dtype) == ("float32", "float16", "float16")
    assert all(isinstance(rows, np.memmap) for rows in (source.goldens, source.held_out, *source.stored))
    images = [read_image(golden.path) for golden in copies.goldens]
    expected = extractor.run(preprocess(images, extractor.spec))
    np.testing.assert_allclose(parts.tail.predict_on_batch(np.array(source.goldens)), expected, atol=1e-4)


def test_a_batch_takes_its_items_from_copies_and_golden_images(cache: ActivationCache, copies: Copies) -> None:
    source = cache.open(copies, 2)
    rows = source.batch(1, np.array([3, 5 + 4, 10 + 1]))
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows[0], source.stored[0][3])
    np.testing.assert_array_equal(rows[1], source.stored[1][4])
    np.testing.assert_array_equal(rows[2], source.goldens[1])


def test_a_copy_depends_on_its_image_its_number_and_the_seed_alone(copies: Copies) -> None:
    alone = replace(copies, goldens=copies.goldens[3:4])
    np.testing.assert_array_equal(alone.prepared(0, 1), copies.prepared(3, 1))
    assert np.any(copies.prepared(3, 1) != copies.prepared(3, 2))
    assert np.any(copies.prepared(3, 1) != replace(copies, seed=1).prepared(3, 1))
    assert np.any(copies.prepared(3, 1) != copies.prepared(3, None))


def test_all_copies_differ_from_the_held_out_one(cache: ActivationCache, copies: Copies) -> None:
    source = cache.open(copies, 2)
    kinds = [source.goldens, source.held_out, *source.stored]
    for index, first in enumerate(kinds):
        for second in kinds[index + 1 :]:
            assert not np.allclose(first, second, atol=0.01)


def test_the_same_seed_gives_the_same_files(tmp_path: Path, copies: Copies) -> None:
    first, second = (ActivationCache(tmp_path / name, 1e9).open(copies, 1) for name in "ab")
    np.testing.assert_array_equal(first.stored[0], second.stored[0])


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"variation": Variation()},
        {"goldens": ()},
    ],
)
def test_what_changes_the_identity(copies: Copies, change: dict[str, Any]) -> None:
    assert replace(copies, **change).identity != copies.identity
    other = replace(copies.trunk, identity="another trunk")
    assert replace(copies, trunk=other).identity != copies.identity


def test_the_second_time_computes_nothing_but_what_is_new(cache: ActivationCache, copies: Copies) -> None:
    first = cache.open(copies, 1)
    idle = replace(copies, trunk=replace(copies.trunk, network=Broken(copies.trunk.network, 0)))
    np.testing.assert_array_equal(cache.open(idle, 1).stored[0], first.stored[0])
    once = replace(copies, trunk=replace(copies.trunk, network=Broken(copies.trunk.network, 1)))
    assert cache.open(once, 2).copies == 2


def test_an_interruption_leaves_whole_files_only(cache: ActivationCache, copies: Copies) -> None:
    broken = replace(copies, trunk=replace(copies.trunk, network=Broken(copies.trunk.network, 2)))
    with pytest.raises(KeyboardInterrupt):
        cache.open(broken, 2)
    assert files(cache.folder) == ["golden.npy", "held_out.npy"]


def test_what_a_killed_process_left_is_not_read(cache: ActivationCache, copies: Copies) -> None:
    whole = cache.open(copies, 1)
    path = next(cache.folder.rglob("copy_1.npy"))
    expected = np.array(whole.stored[0])
    path.rename(path.with_name(".copy_1.npy.1.partial"))
    np.testing.assert_array_equal(cache.open(copies, 1).stored[0], expected)


def test_what_killed_processes_left_is_removed(cache: ActivationCache, copies: Copies) -> None:
    """It may be gigabytes each time."""
    cache.open(copies, 1)
    path = next(cache.folder.rglob("copy_1.npy"))
    whole = files(cache.folder)
    for leftover in (".copy_1.npy.99999999.partial", ".copy_1.npy.99999998-3.partial"):
        path.with_name(leftover).write_bytes(b"half")
    path.unlink()
    cache.open(copies, 1)
    assert files(cache.folder) == whole


@pytest.mark.parametrize("damage", [lambda _: b"", lambda data: data[:50], lambda data: data[:-1]])
def test_a_damaged_file_is_computed_again(
    cache: ActivationCache, copies: Copies, damage: Callable[[bytes], bytes]
) -> None:
    expected = np.array(cache.open(copies, 1).stored[0])
    path = next(cache.folder.rglob("copy_1.npy"))
    path.write_bytes(damage(path.read_bytes()))
    np.testing.assert_array_equal(cache.open(copies, 1).stored[0], expected)


def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(
    cache: ActivationCache, copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a write to a mapped file would be."""

    def mapped(*_: Any, **__: Any) -> Any:
        raise AssertionError("is mapped to be written")

    def full(*_: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np.lib.format, "open_memmap", mapped)
    monkeypatch.setattr(module, "_append", full)
    with pytest.raises(OutputError, match=r"golden\.npy"):
        cache.open(copies, 1)
    assert files(cache.folder) == []


def test_the_limit_lowers_the_copies_and_logs_it(
    tmp_path: Path, copies: Copies, caplog: pytest.LogCaptureFixture
) -> None:
    values = 5 * 4 * 4 * 112
    limit = values * (4 + 2 + 2 * 2)  # golden images in float32, held-out and two copies in float16
    with caplog.at_level(logging.WARNING):
        assert ActivationCache(tmp_path, limit).open(copies, 3).copies == 2
    assert re.findall(r"\d+", caplog.records[-1].getMessage())[-1] == "2"
    assert sum(path.stat().st_size - 128 for path in tmp_path.rglob("*.npy")) <= limit


def test_a_limit_below_one_copy_is_refused(tmp_path: Path, copies: Copies) -> None:
    with pytest.raises(TrainingError, match=r"0\.00 GB"):
        ActivationCache(tmp_path, 1e4).open(copies, 3)
    assert not files(tmp_path)


@pytest.mark.parametrize("value", [1e5, np.nan])
def test_activations_that_float16_cannot_hold_are_refused(tmp_path: Path, copies: Copies, value: float) -> None:
    class Huge(Broken):
        def predict_on_batch(self, batch: Any) -> Any:
            return np.full_like(self.network.predict_on_batch(batch), value)

    huge = replace(copies, trunk=replace(copies.trunk, network=Huge(copies.trunk.network, 0)))
    with pytest.raises(TrainingError):
        ActivationCache(tmp_path, 1e9).open(huge, 1)
    assert "held_out.npy" not in files(tmp_path)


def test_fresh_copies_are_new_in_each_epoch_and_the_same_again(cache: ActivationCache, copies: Copies) -> None:
    source = cache.fresh(copies, 2)
    assert files(cache.folder) == ["golden.npy", "held_out.npy"]
    items = np.array([0, 5 + 0, 10 + 0])
    first, second, again = source.batch(1, items), source.batch(2, items), source.batch(1, items)
    np.testing.assert_allclose(first[2], source.goldens[0], atol=1e-4)
    np.testing.assert_array_equal(first, again)
    varied = [*first[:2], *second[:2]]
    assert all(not np.allclose(varied[i], varied[j], atol=0.01) for i in range(4) for j in range(i))


def test_fresh_and_cached_copies_of_the_first_epoch_are_the_same(cache: ActivationCache, copies: Copies) -> None:
    items = np.arange(10)
    cached, fresh = cache.open(copies, 2).batch(1, items), cache.fresh(copies, 2).batch(1, items)
    np.testing.assert_allclose(cached, fresh, atol=0.02, rtol=0.002)
