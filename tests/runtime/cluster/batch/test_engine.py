"""The engine: each item once, in any order or in its order, with errors that keep their class."""

import os
import pickle
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow
import pytest

from partsight.runtime.cluster.batch import ActorPlan, RayMap, engine, plan_actors, work_on
from partsight.runtime.core import PackageError, RemoteError
from tests.runtime.cluster.batch import works
from tests.runtime.cluster.batch.conftest import RAY_DATA_WARNS

pytestmark = [pytest.mark.usefixtures("ray_here"), pytest.mark.filterwarnings(RAY_DATA_WARNS)]


def test_a_map_keeps_the_order(two_actors: ActorPlan) -> None:
    assert list(RayMap(two_actors)(works.double, range(40))) == [2 * item for item in range(40)]
    assert list(RayMap(two_actors)(works.double, [])) == []


def test_an_error_of_partsight_comes_as_it_is(two_actors: ActorPlan) -> None:
    with pytest.raises(PackageError, match="item 3: refused"):
        list(work_on(works.refuse, range(8), two_actors))


def test_another_error_is_a_remote_error_with_its_cause(two_actors: ActorPlan) -> None:
    with pytest.raises(RemoteError, match="ZeroDivisionError"):
        list(work_on(works.fail, range(8), two_actors))


def test_the_work_of_a_killed_actor_is_done_again_without_double_results(two_actors: ActorPlan, tmp_path: Path) -> None:
    mark = tmp_path / "killed"
    done = list(work_on(works.OnceKilled(mark, at=5), range(24), two_actors))
    assert mark.exists()
    assert Counter(each.result[0] for each in done) == Counter(range(24))
    assert len({each.result[1] for each in done}) >= 2


def test_work_that_hangs_is_an_error(two_actors: ActorPlan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "STALL_S", 3.0)
    with pytest.raises(RemoteError, match="ray status"):
        list(work_on(works.hang, range(8), two_actors))


@pytest.mark.parametrize(("indices", "named"), [([0, 1, 3], "without 2"), ([0, 1, 1, 2, 3], "1 twice")])
def test_a_result_that_is_missing_or_double_is_an_error(
    indices: list[int], named: str, two_actors: ActorPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stream(*_: object) -> Iterator[pyarrow.Table]:
        for index in indices:
            yield pyarrow.table({"index": [index], "result": [pickle.dumps((index, None))]})

    monkeypatch.setattr(engine, "_stream", stream)
    with pytest.raises(RemoteError, match=named):
        list(work_on(works.double, range(4), two_actors))


def test_actors_do_not_share_cores(two_actors: ActorPlan) -> None:
    results = [each.result for each in work_on(works.cores, range(32), two_actors)]
    found = {process: cores for process, cores, _ in results}
    threads = {count for *_, count in results}
    usable = os.sched_getaffinity(0)
    if len(usable) >= 2 and len(found) == 2:
        first, second = found.values()
        assert len(first) == len(second) == 1
        assert not first & second
    assert all(cores <= usable for cores in found.values())
    assert threads == {1}


def test_plans() -> None:
    assert plan_actors("cpu") == ActorPlan(actors=1, cpus=2)
    assert plan_actors("cpu", threads=1) == ActorPlan(actors=2, cpus=1)
    assert plan_actors("cpu", threads=1, actors=1) == ActorPlan(actors=1, cpus=1)
    assert plan_actors("cpu", threads=1, actors=9) == ActorPlan(actors=2, cpus=1)


@pytest.mark.parametrize(("provider", "threads"), [("cpu", 3), ("cuda", None)])
def test_no_machine_with_enough(provider: str, threads: int | None) -> None:
    with pytest.raises(RemoteError, match="2 CPUs"):
        plan_actors(provider, threads)


@pytest.mark.parametrize(
    ("provider", "machines", "plan"),
    [
        ("cpu", [{"CPU": 64.0}, {"CPU": 32.0}], ActorPlan(48, 2)),
        ("cpu", [{"CPU": 0.0}, {"CPU": 3.0}], ActorPlan(1, 2)),
        ("cuda", [{"CPU": 16.0, "GPU": 8.0}, {"CPU": 64.0}], ActorPlan(8, 2, 1)),
        ("tensorrt", [{"CPU": 32.0, "GPU": 2.0}, {"CPU": 8.0, "GPU": 1.0}], ActorPlan(3, 8, 1)),
    ],
)
def test_plans_of_larger_clusters(
    provider: str, machines: list[dict[str, float]], plan: ActorPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [{"Alive": True, "Resources": machine} for machine in machines]
    monkeypatch.setattr("ray.nodes", lambda: [*nodes, {"Alive": False, "Resources": {"CPU": 99.0}}])
    assert plan_actors(provider) == plan
