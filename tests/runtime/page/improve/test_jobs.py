"""Jobs next to the line: one at a time, in a process of their own."""

import queue
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from partsight.runtime import Recognizer
from partsight.runtime.core import PageError
from partsight.runtime.line import Line
from partsight.runtime.page.improve import jobs as jobs_module
from partsight.runtime.page.improve.jobs import Jobs, JobState
from partsight.runtime.page.improve.package_shelf import PackageShelf
from tests.runtime.calibration.commissioning.lines import write_frames, write_package
from tests.runtime.line.scripted import ScriptedCamera
from tests.tiny import ONE_THREAD
from tests.waiting import HANG_S, wait_until

SLEEPING = "import sys; sys.stdin.buffer.read()"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package(tmp_path_factory.mktemp("packages") / "old.partsight")


@pytest.fixture
def shelf(package: Path, tmp_path: Path) -> Iterator[PackageShelf]:
    (tmp_path / "data").mkdir()
    with Line(Recognizer(package, engine=ONE_THREAD), {"c": lambda: ScriptedCamera([], ends=False)}) as line:
        yield PackageShelf(line, package, tmp_path / "data", None)


@pytest.fixture
def jobs(shelf: PackageShelf) -> Iterator[Jobs]:
    made = Jobs(shelf)
    yield made
    made.close()


@pytest.fixture
def ended() -> "queue.Queue[JobState]":
    return queue.Queue()


def confirm(kept: Path, count: int = 5) -> None:
    """Write frames of each part that a person has confirmed."""
    for path in sorted(write_frames(kept / "confirmed", count).glob("*/*.png")):
        path.rename(path.with_stem(f"{path.parent.name} {path.stem}"))


def run(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the child run other code."""
    monkeypatch.setattr(jobs_module, "_COMMAND", (sys.executable, "-c", code))


def test_a_commissioning(jobs: Jobs, shelf: PackageShelf, tmp_path: Path, ended: "queue.Queue[JobState]") -> None:
    confirm(tmp_path / "kept")
    started = jobs.start("commission", tmp_path / "kept", "emil", ended.put)
    assert (started.outcome, started.who) == ("running", "emil")
    state = ended.get(timeout=HANG_S)
    assert (state.outcome, state.error) == ("done", "")
    assert state.result is not None
    assert state.result.taught > 20
    assert {rate.name for rate in state.result.rates} == {"refused", "wrong", "siblings"}
    made = shelf.find(state.result.package_id)
    assert (made.made_by, made.facts.kind, made.facts.origin) == ("emil", "commissioned", started.package_id)
    assert b"<html" in shelf.report(state.result.package_id)
    assert jobs.history == (state,)


def test_a_job_that_is_not_possible_says_why(jobs: Jobs, tmp_path: Path, ended: "queue.Queue[JobState]") -> None:
    jobs.start("commission", tmp_path / "missing", "emil", ended.put)
    state = ended.get(timeout=HANG_S)
    assert state.outcome == "failed"
    assert "exit code" not in state.error


def test_a_crash_has_its_exit_code_and_last_lines(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ended: "queue.Queue[JobState]"
) -> None:
    run("import sys; print('x' * 9999, *range(99), 'no memory', sep='\\n', file=sys.stderr); sys.exit(7)", monkeypatch)
    jobs.start("commission", tmp_path, "emil", ended.put)
    state = ended.get(timeout=HANG_S)
    assert state.outcome == "failed"
    assert "exit code 7" in state.error
    assert state.error.endswith("no memory")
    assert len(state.error) < 1000


def test_a_child_that_talks_nonsense_is_ended(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ended: "queue.Queue[JobState]"
) -> None:
    run(f"print('nonsense', flush=True); {SLEEPING}", monkeypatch)
    jobs.start("commission", tmp_path, "emil", ended.put)
    assert ended.get(timeout=HANG_S).outcome == "failed"


def test_its_progress(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ended: "queue.Queue[JobState]"
) -> None:
    event = '{"type":"progress","work":"reading","done":3,"total":7,"per_s":0.5,"left_s":8}'
    run(f"print('{event}', flush=True); {SLEEPING}", monkeypatch)
    jobs.start("commission", tmp_path, "emil", ended.put)
    wait_until(lambda: jobs.last and jobs.last.progress)
    assert jobs.last is not None
    assert jobs.last.progress is not None
    assert (jobs.last.progress.work, jobs.last.progress.done, jobs.last.progress.left_s) == ("reading", 3, 8)


def test_one_at_a_time_until_it_is_cancelled(
    jobs: Jobs, shelf: PackageShelf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ended: "queue.Queue[JobState]"
) -> None:
    run(SLEEPING, monkeypatch)
    jobs.start("commission", tmp_path, "emil", ended.put)
    with pytest.raises(PageError):
        jobs.start("enroll", tmp_path, "erna", ended.put)
    partial = shelf.folder / ".a.partsight.99999999-1.partial"
    partial.mkdir(parents=True)
    jobs.cancel("erna")
    state = ended.get(timeout=HANG_S)
    assert (state.outcome, state.who, state.cancelled_by) == ("cancelled", "emil", "erna")
    assert not partial.exists()
    jobs.cancel("erna")  # nothing runs
    jobs.start("enroll", tmp_path, "erna", ended.put)


def test_it_ends_with_the_page(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ended: "queue.Queue[JobState]"
) -> None:
    run(SLEEPING, monkeypatch)
    jobs.start("commission", tmp_path, "emil", ended.put)
    jobs.close()
    jobs.close()
    assert ended.get_nowait().outcome == "cancelled"
    with pytest.raises(PageError):
        jobs.start("commission", tmp_path, "emil", ended.put)


def test_it_needs_the_folder_of_the_running_package(
    jobs: Jobs, shelf: PackageShelf, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(shelf, "active", lambda: None)
    with pytest.raises(PageError):
        jobs.start("commission", tmp_path, "emil", lambda _: None)
    assert jobs.last is None


def test_it_remembers_few(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, ended: "queue.Queue[JobState]"
) -> None:
    monkeypatch.setattr(
        jobs_module, "_COMMAND", ("/bin/true",) if Path("/bin/true").exists() else ("cmd", "/c", "exit")
    )
    for _ in range(jobs_module.MAX_HISTORY + 2):
        jobs.start("commission", tmp_path, "emil", ended.put)
        ended.get(timeout=HANG_S)
        wait_until(lambda: jobs._child is None)
    assert len(jobs.history) == jobs_module.MAX_HISTORY
