"""The verb `commission`: what it takes, what it prints, and how it fails."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from partsight.runtime import ModelPackage, Recognizer, read_image
from partsight.runtime.feedback import decide, read_feedback
from partsight.runtime.sinks import open_sink
from tests.cli.command import HEAVY, loaded_by
from tests.cli.conftest import Ended
from tests.pickled import map_pickled
from tests.runtime.calibration.commissioning.lines import write_frames, write_package
from tests.runtime.sinks.kinds import event

Call = Callable[..., Ended]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package(tmp_path_factory.mktemp("packages") / "old.partsight", threshold=0.8)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_frames(tmp_path_factory.mktemp("line"))


@pytest.fixture
def new(tmp_path: Path) -> Path:
    return tmp_path / "new.partsight"


def printed(ended: Ended) -> dict[str, str]:
    lines = [line.split(":", 1) for line in ended.out.splitlines() if ":" in line]
    return {name: value.strip() for name, value in lines}


def test_frames_fit_a_package(call: Call, package: Path, frames: Path, new: Path, tmp_path: Path) -> None:
    unknown = write_frames(tmp_path / "unknown", count=1, seed=7)
    ended = call("commission", package, frames, "--unknown", unknown, "--out", new)
    assert (ended.code, ended.err) == (0, "")
    facts = printed(ended)
    assert facts["frames"].startswith("30 of 6 parts, 6 of unknown parts")
    assert {"refused", "wrong", "not taught", "unknown", "line", "parts"} <= set(facts)
    assert facts["report"] == str(new / "commissioning.html")
    assert ModelPackage.read(new).package_id in call("inspect", new).out


def test_undo(call: Call, package: Path, frames: Path, new: Path, tmp_path: Path) -> None:
    assert call("commission", package, frames, "--out", new).code == 0
    ended = call("commission", new, "--undo", "--out", tmp_path / "before.partsight")
    assert ended.code == 0
    before, old = (ModelPackage.read(path).manifest for path in (tmp_path / "before.partsight", package))
    assert before.matching == old.matching


@pytest.mark.parametrize(
    "arguments",
    [[], ["frames", "--undo"], ["frames", "--max-false-reject", "0"], ["frames", "--max-false-reject", "2"]],
)
def test_wrong_usage(call: Call, package: Path, new: Path, arguments: list[str]) -> None:
    assert call("commission", package, *arguments, "--out", new).code == 2


def test_an_unknown_part_ends_with_an_error(call: Call, package: Path, new: Path, tmp_path: Path) -> None:
    write_frames(tmp_path / "line", labels=["red"]).joinpath("red").rename(tmp_path / "line" / "rd")
    ended = call("commission", package, tmp_path / "line", "--out", new)
    assert ended.code == 1
    assert "'rd'" in ended.err and "red" in ended.err
    assert not new.exists()


def keep(package: Path, frames: Path, folder: Path, *, refused_alone: bool) -> Path:
    """Let a sink keep frames as a line does, and confirm each."""
    with Recognizer(package) as recognizer, open_sink(f"images:{folder}{'' if refused_alone else '?every=1'}") as sink:
        for number, path in enumerate(sorted(frames.rglob("*.png"))):
            image = read_image(path)
            answer = recognizer.recognize(image)
            if not (refused_alone and answer.accepted):
                found = event(number, path.parent.name if answer.accepted else None, margin=answer.margin)
                sink.write(replace(found, frame=replace(found.frame, image=image)))
    labels = [path.parent.name for path in sorted(frames.rglob("*.png"))]
    for frame in read_feedback(folder).frames:
        assert frame.record is not None
        decide(folder, frame, "confirmed", labels[frame.record.sequence])
    return folder


def test_reviewed_frames_fit_a_package(call: Call, frames: Path, new: Path, tmp_path: Path) -> None:
    package = write_package(tmp_path / "old.partsight", threshold=0.5)
    kept = keep(package, frames, tmp_path / "kept", refused_alone=False)
    ended = call("commission", package, kept, "--out", new)
    assert ended.code == 0, ended.err
    assert printed(ended)["frames"].startswith("30 of 6 parts")


def test_refused_frames_alone_are_no_sample(call: Call, package: Path, frames: Path, new: Path, tmp_path: Path) -> None:
    kept = keep(package, frames, tmp_path / "kept", refused_alone=True)
    ended = call("commission", package, kept, "--out", new)
    assert ended.code == 1
    assert str(kept) in ended.err


def test_a_half_reviewed_folder_is_no_sample(call: Call, frames: Path, new: Path, tmp_path: Path) -> None:
    package = write_package(tmp_path / "old.partsight", threshold=0.5)
    kept = keep(package, frames, tmp_path / "kept", refused_alone=False)
    confirmed = read_feedback(kept).of("confirmed")
    for frame in confirmed[5:15]:
        decide(kept, frame, "open")
    assert call("commission", package, kept, "--out", new).code == 1
    assert not new.exists()


def test_frames_that_the_line_keeps_meanwhile_may_wait(call: Call, frames: Path, new: Path, tmp_path: Path) -> None:
    package = write_package(tmp_path / "old.partsight", threshold=0.5)
    kept = keep(package, frames, tmp_path / "kept", refused_alone=False)
    for frame in read_feedback(kept).of("confirmed")[-6:]:
        decide(kept, frame, "open")
    assert call("commission", package, kept, "--out", new).code == 0


def test_help_loads_nothing_heavy() -> None:
    assert not loaded_by("commission", "--help") & set(HEAVY)


def test_frames_shared_by_ray(
    call: Call, package: Path, frames: Path, new: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[str | None] = []

    @contextmanager
    def session(address: str | None) -> Iterator[str]:
        used.append(address)
        yield ""

    monkeypatch.setattr("partsight.runtime.cluster.ray_session.ray_session", session)
    monkeypatch.setattr("partsight.runtime.cluster.batch.plan_actors", lambda _: None)
    monkeypatch.setattr("partsight.runtime.cluster.batch.RayMap", lambda _: map_pickled)
    ended = call("commission", package, frames, "--out", new, "--address", "local")
    assert (ended.code, used) == (0, [None])
    assert (new / "commissioning.html").is_file()


def test_a_cluster_that_does_not_answer(call: Call, package: Path, frames: Path, new: Path) -> None:
    ended = call("commission", package, frames, "--out", new, "--address", "127.0.0.1:1")
    assert ended.code == 1
    assert "127.0.0.1:1" in ended.err
    assert not new.exists()
