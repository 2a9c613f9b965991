"""The collapse of fine-tuning, small: three ways that lose the golden images, and partsight's own."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark() -> Any:
    """The script, which finds its neighbours as it does when it is run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        import finetune_drop

        yield finetune_drop
    for name in [name for name, module in sys.modules.items() if _is_benchmark(module)]:
        del sys.modules[name]


def _is_benchmark(module: ModuleType) -> bool:
    return str(getattr(module, "__file__", None) or "").startswith(str(BENCHMARKS))


@pytest.fixture(scope="module")
def written(benchmark: Any, small_catalog: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Result files of eight parts, EfficientNet-Lite0 at 64 px, one epoch of four steps: a warm-up's first is void."""
    out = tmp_path_factory.mktemp("results")
    options = ["--classes", "8", "--side", "64", "--batch", "8", "--epochs", "1", "--copies", "3"]
    benchmark.main(["--data", str(small_catalog.parent), "--out", str(out), *options])
    return out


@pytest.fixture(scope="module")
def results(written: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((written / "finetune_drop.json").read_text("utf-8"))["results"]
    return found


@pytest.fixture(scope="module")
def variants(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {variant["key"]: variant for variant in results["variants"]}


def test_all_start_from_one_network_that_knows_every_golden_image(variants: dict[str, dict[str, Any]]) -> None:
    assert [variants[key]["points"][0]["golden"] for key in "abcpd"] == [1.0] * 5


def test_batch_statistics_make_it_fall_before_any_step(variants: dict[str, dict[str, Any]]) -> None:
    assert variants["a"]["points"][0]["printed"] <= 0.75
    assert variants["a"]["moved"] == 0  # the old Keras kept a frozen layer's statistics, and did not use them
    assert variants["c"]["points"][0]["printed"] == variants["a"]["points"][0]["printed"]


def test_what_keras_prints_is_the_mean_of_an_epoch_and_not_its_last_batch(variants: dict[str, dict[str, Any]]) -> None:
    shares = [point["printed"] * 8 for key in "abc" for point in variants[key]["points"][2:]]
    assert any(share != round(share) for share in shares)  # of eight images, a batch's, all would be whole


def test_what_looks_frozen_moves_its_statistics(variants: dict[str, dict[str, Any]]) -> None:
    assert 0 < variants["b"]["moved"] < variants["b"]["statistics"]  # of the last blocks
    assert variants["c"]["moved"] == variants["c"]["statistics"] == 2 * 49


def test_ours_moves_none_and_does_not_fall(variants: dict[str, dict[str, Any]]) -> None:
    ours = variants["d"]
    assert ours["moved"] == 0
    assert len(ours["points"]) == 5  # before any step, and after each quarter
    assert all(point["golden"] == 1.0 for point in ours["points"])
    assert ours["points"][0]["printed"] == ours["left"] == 1.0
    assert ours["points"][-1]["printed"] >= 0.9  # of varied copies


def test_the_plan_alone_moves_no_statistics_either(variants: dict[str, dict[str, Any]]) -> None:
    assert variants["p"]["moved"] == 0
    assert variants["p"]["trained"] == variants["a"]["trained"]


def test_every_variant_trains_the_last_blocks(variants: dict[str, dict[str, Any]]) -> None:
    a, b, c, d = (variants[key]["trained"] for key in "abcd")
    assert a == d < b < c  # in ours the prototypes follow the golden images where in the others they train


def test_the_table_shows_the_original_report_and_every_difference_is_stated(written: Path) -> None:
    text = (written / "finetune_drop.md").read_text("utf-8")
    assert "0.9937" in text and "0.0035" in text and "0.8272" in text
    assert text.count("- Different: ") == 2
    assert "golden accuracy of (d) stayed at or above" in text
    assert (written / "finetune_drop.png").stat().st_size > 10_000


def test_a_network_without_batch_norm_has_nothing_to_report(benchmark: Any, results: dict[str, Any]) -> None:
    bare = [{**variant, "moved": 0, "statistics": 0} for variant in results["variants"]]
    assert benchmark.to_table({**results, "variants": bare}).count("| none there |") == 5


def test_a_fall_of_ours_is_said_and_not_smoothed(benchmark: Any, results: dict[str, Any]) -> None:
    *others, ours = results["variants"]
    fallen = {**ours, "points": [*ours["points"][:-1], {**ours["points"][-1], "golden": 0.9}]}
    notes = benchmark.to_notes({**results, "variants": [*others, fallen]})
    assert "FELL BELOW stage 1's less 0.001 (lowest 0.9000" in notes
