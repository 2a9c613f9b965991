"""One Ray for all tests of this folder, which a batch uses in place of a session of its own."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from partsight.runtime.cluster.batch import ActorPlan
from tests.ray_session import local_ray
from tests.runtime.cluster.batch.archives import write_folder
from tests.tiny import COLOURS_BGR, tiny_matching, write_tiny_package

RAY_DATA_WARNS = "ignore::DeprecationWarning:ray.data.context"
"""Filter of the warnings about its own settings that Ray Data gives for its defaults."""

COUNT = 90
"""Frames of the archive, and one that cannot be read."""


@pytest.fixture(scope="package")
def ray_here() -> Iterator[str]:
    """Ray on this machine, with room for two actors of one core; gone when tests elsewhere start their own."""
    with local_ray(cpus=2) as address:
        yield address


@pytest.fixture
def batch_here(ray_here: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let `recognize_archive` use the Ray of the tests: a start takes seconds."""
    monkeypatch.setattr("partsight.runtime.cluster.batch.batch.ray_session", lambda _: nullcontext())
    return ray_here


@pytest.fixture(scope="session")
def two_actors() -> ActorPlan:
    return ActorPlan(actors=2, cpus=1)


@pytest.fixture(scope="session")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_package(tmp_path_factory.mktemp("new") / "new.partsight", matching=tiny_matching())


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("archive") / "frames", COUNT)


@pytest.fixture(scope="session")
def altered(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package with the golden images of red and blue mixed up, and a network that does the same."""
    labels = tuple({"red": "blue", "blue": "red"}.get(label, label) for label in COLOURS_BGR)
    matching = tiny_matching()
    return write_tiny_package(tmp_path_factory.mktemp("altered") / "mixed.partsight", matching=matching, labels=labels)
