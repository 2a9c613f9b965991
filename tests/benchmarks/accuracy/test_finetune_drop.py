"""The collapse of fine-tuning, small: three variants that lose the golden images, and partsight's own."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.accuracy import finetune_drop

Run = Callable[[str], Path]


@pytest.fixture(scope="module")
def run(small_catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Result files of eight parts, EfficientNet-Lite0 at 64 px, one epoch of four steps: a warm-up's first is void."""

    def run_variants(keys: str) -> Path:
        out = tmp_path_factory.mktemp("results")
        options = ["--classes", "8", "--side", "64", "--batch", "8", "--epochs", "1", "--copies", "3"]
        finetune_drop.main(["--data", str(small_catalog.parent), "--out", str(out), *options, "--variants", keys])
        return out

    return run_variants


@pytest.fixture(scope="module")
def written(run: Run) -> Path:
    """Run the old variant and ours; building and compiling each variant takes most of the time."""
    return run("ad")


@pytest.fixture(scope="module")
def results(written: Path) -> dict[str, Any]:
    return results_in(written)


@pytest.fixture(scope="module")
def variants(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {variant["key"]: variant for variant in results["variants"]}


@pytest.fixture(scope="module")
def all_variants(variants: dict[str, dict[str, Any]], run: Run) -> dict[str, dict[str, Any]]:
    return variants | {variant["key"]: variant for variant in results_in(run("bcp"))["variants"]}


def results_in(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "finetune_drop.json").read_text("utf-8"))["results"]
    return found


def test_both_start_from_one_network_that_knows_every_golden_image(variants: dict[str, dict[str, Any]]) -> None:
    assert [variants[key]["points"][0]["golden"] for key in "ad"] == [1.0] * 2


def test_batch_statistics_make_it_fall_before_any_step(variants: dict[str, dict[str, Any]]) -> None:
    assert variants["a"]["points"][0]["printed"] <= 0.75
    assert variants["a"]["moved"] == 0  # the old Keras kept a frozen layer's statistics, and did not use them


def test_ours_moves_none_and_does_not_fall(variants: dict[str, dict[str, Any]]) -> None:
    ours = variants["d"]
    assert ours["moved"] == 0
    assert len(ours["points"]) == 5  # before any step, and after each quarter
    assert all(point["golden"] == 1.0 for point in ours["points"])
    assert ours["points"][0]["printed"] == ours["left"] == 1.0
    assert ours["points"][-1]["printed"] >= 0.9  # of varied copies
    assert ours["trained"] == variants["a"]["trained"]


@pytest.mark.long
def test_the_other_ways(all_variants: dict[str, dict[str, Any]]) -> None:
    a, b, c, p = (all_variants[key] for key in "abcp")
    assert [variant["points"][0]["golden"] for variant in (b, c, p)] == [1.0] * 3  # one start for all
    assert c["points"][0]["printed"] == a["points"][0]["printed"]
    # What Keras prints is the mean of an epoch: of eight images, a batch's, all would be whole.
    shares = [point["printed"] * 8 for variant in (a, b, c) for point in variant["points"][2:]]
    assert any(share != round(share) for share in shares)
    # What looks frozen moves its statistics: of the last blocks in (b), all in (c), none by our plan alone.
    assert 0 < b["moved"] < b["statistics"]
    assert c["moved"] == c["statistics"] == 2 * 49
    assert p["moved"] == 0
    assert a["trained"] == p["trained"] < b["trained"] < c["trained"]


def test_the_table_shows_the_original_report(written: Path) -> None:
    text = (written / "finetune_drop.md").read_text("utf-8")
    assert "0.9937" in text and "0.0035" in text and "0.8272" in text
    assert (written / "finetune_drop.png").stat().st_size > 10_000


def test_a_network_without_batch_norm_has_nothing_to_report(results: dict[str, Any]) -> None:
    bare = [{**variant, "moved": 0, "statistics": 0} for variant in results["variants"]]
    assert finetune_drop.to_table({**results, "variants": bare}).count("| none there |") == 2


def test_a_fall_of_ours_is_not_smoothed(results: dict[str, Any]) -> None:
    *others, ours = results["variants"]
    fallen = {**ours, "points": [*ours["points"][:-1], {**ours["points"][-1], "golden": 0.9}]}
    notes = finetune_drop.to_notes({**results, "variants": [*others, fallen]})
    assert "0.9000" in notes
