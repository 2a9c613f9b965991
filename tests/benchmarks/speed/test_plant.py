"""The simulation of a plant agrees with what queueing theory proves."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.speed.plant_queue import Cards, Plant, arrivals, capacity, serve, times_by_size
from benchmarks.speed.plant_sizing import Server, cards_needed, simulate, size_plant
from tests.benchmarks.conftest import RunBenchmark
from tests.benchmarks.speed.conftest import RunSpeed

FRAMES = 200_000


def poisson(rate: float, count: int = FRAMES, seed: int = 0) -> np.ndarray:
    return np.cumsum(np.random.default_rng(seed).exponential(1 / rate, count))


@pytest.mark.parametrize("load", [0.3, 0.6, 0.8])
def test_one_card_without_batches_is_m_d_1(load: float) -> None:
    """Pollaczek and Khinchine: with random arrivals the mean wait is load / (2 (1 - load)) times of service."""
    served = serve(poisson(load), [0.0, 1.0], Cards(1, 1))
    assert served.latency_s.mean() - 1 == pytest.approx(load / (2 * (1 - load)), rel=0.05)
    assert (served.latency_s == 1).mean() == pytest.approx(1 - load, abs=0.01)  # who finds no queue


@pytest.mark.parametrize(("cards", "load"), [(2, 0.7), (4, 0.8), (16, 0.9)])
def test_several_cards_are_m_d_c(cards: int, load: float) -> None:
    served = serve(poisson(load * cards), [0.0, 1.0], Cards(cards, 1))
    assert served.latency_s.mean() - 1 == pytest.approx(waiting_m_d_c(cards, load), rel=0.08)


def waiting_m_d_c(cards: int, load: float) -> float:
    """Return the mean wait in times of service: Erlang's formula, with Cosmetatos' correction for a fixed time."""
    offered = cards * load
    queued = offered**cards / math.factorial(cards) / (1 - load)
    waits = queued / (sum(offered**count / math.factorial(count) for count in range(cards)) + queued)
    correction = 1 + (1 - load) * (cards - 1) * (math.sqrt(4 + 5 * cards) - 2) / (16 * load * cards)
    return correction / 2 * waits / (cards * (1 - load))


def test_a_batch_that_costs_no_more_than_a_frame_never_overloads() -> None:
    """Each frame waits for the batch before it, and its own: at most two times of service."""
    served = serve(poisson(50, 20_000), [0.0, *[1.0] * 1000], Cards(1, 1000))
    assert served.latency_s.max() <= 2
    assert served.latency_s.mean() == pytest.approx(1.5, abs=0.05)
    assert served.batches.mean() == pytest.approx(50, rel=0.05)


def test_every_frame_is_answered_once_and_after_it_came() -> None:
    times = times_by_size({1: 0.02, 4: 0.03, 8: 0.05}, 8)
    served = serve(poisson(100, 5_000), times, Cards(2, 8, 0.004))
    assert served.batches.sum() == len(served.latency_s) == 5_000
    assert served.batches.max() <= 8
    assert served.latency_s.min() >= 0.02


def test_an_idle_card_waits_for_a_full_batch_or_the_delay() -> None:
    arriving = np.array([0.0, 0.001, 0.002, 1.0])
    served = serve(arriving, [0.0, 0.1, 0.1, 0.1], Cards(1, 3, 0.05))
    assert served.batches.tolist() == [3, 1]
    np.testing.assert_allclose(served.latency_s, [0.102, 0.101, 0.1, 0.15])


def test_cameras_are_periodic_with_jitter() -> None:
    still = arrivals(Plant(50, 2.0, 0.0), 10, seed=3)
    assert len(still) == 50 * 2 * 10
    gaps = np.diff(np.sort(still % 0.5))
    assert (gaps > 1e-6).sum() == 49  # each camera at the same phase of every period
    shaken = arrivals(Plant(50, 2.0, 0.2), 10, seed=3)
    assert (np.diff(shaken) >= 0).all()
    assert np.abs(shaken[100:-100] - still[100 : len(shaken) - 100]).max() > 0
    np.testing.assert_array_equal(shaken, arrivals(Plant(50, 2.0, 0.2), 10, seed=3))
    assert not np.array_equal(still, arrivals(Plant(50, 2.0, 0.0), 10, seed=4))


def test_times_between_measured_sizes() -> None:
    times = times_by_size({1: 0.010, 4: 0.025, 16: 0.085}, 8)
    np.testing.assert_allclose(times, [0, 0.010, 0.015, 0.020, 0.025, 0.030, 0.035, 0.040, 0.045])
    assert capacity(times) == pytest.approx(8 / 0.045)


@pytest.mark.parametrize("measured", [{}, {2: 0.1, 16: 0.2}, {1: 0.1, 8: 0.2}, {1: 0.0, 16: 0.2}])
def test_times_that_are_missing(measured: dict[int, float]) -> None:
    with pytest.raises(ValueError, match="expected times"):
        times_by_size(measured, 16)


def test_more_cards_answer_sooner_until_the_limit_is_met() -> None:
    server = Server(times_by_size({1: 0.02, 16: 0.16}, 16), Cards(1, 16), 20, range(2))
    plant = Plant(400, 1.0)
    rows = size_plant(plant, server, 60)
    assert [row.cards for row in rows] == list(range(4, 4 + len(rows)))
    assert rows[0].load >= 1
    assert rows[0].p99_ms is None
    latencies = [row.p99_ms for row in rows if row.p99_ms is not None]
    assert latencies == sorted(latencies, reverse=True)
    needed = cards_needed(rows, 60)
    assert needed is not None
    assert not simulate(plant, server, needed - 1).meets(60)
    assert cards_needed(size_plant(plant, server, 1), 1) is None


def test_a_package_is_measured_and_its_times_can_be_used_again(
    run_speed: RunSpeed, run: RunBenchmark, matching_package: Path, tmp_path: Path
) -> None:
    options = ("--cameras", "30", "--seconds", "3", "--seeds", "1", "--batch", "2", "--rounds", "1", "--rate", "0.5")
    results = run_speed("plant", str(matching_package), *options, frames=False)
    assert set(results["times"]["batch_ms"]) == {"1", "2"}
    assert results["cards_needed"] == 1
    assert results["rows"][0]["p50_ms"] <= results["rows"][0]["p99_ms"] <= results["rows"][0]["max_ms"]
    assert set(results["curves"]) == {"1", "4", "16"}
    kept = tmp_path / "kept.json"
    kept.write_text(json.dumps({"results": results}))
    again = run("speed.plant", "--times", str(kept), *options)
    assert again == results


@pytest.mark.parametrize("options", [[], ["p", "--times", "t"], ["p", "--cameras", "0"], ["p", "--jitter", "0.5"]])
def test_wrong_usage(options: list[str]) -> None:
    from benchmarks.speed import plant

    with pytest.raises(SystemExit) as ended:
        plant.main(options)
    assert ended.value.code == 2
