"""`partsight batch`: the command, its exit codes and its words."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from tests.cli.command import loaded_by, without
from tests.cli.conftest import Ended
from tests.processes import running
from tests.runtime.cluster.batch.archives import write_folder
from tests.waiting import HANG_S, wait_until

Call = Callable[..., Ended]


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process do the work of the actors."""
    from partsight.runtime.cluster.batch import ActorPlan, Finished

    def work_here(work: Any, items: Sequence[Any], _: ActorPlan) -> Iterator[Finished[Any]]:
        yield from (Finished(index, work(item)) for index, item in enumerate(items))

    module = "partsight.runtime.cluster.batch.batch"
    monkeypatch.setattr(f"{module}.ray_session", lambda _: nullcontext())
    monkeypatch.setattr(f"{module}.plan_actors", lambda *_: ActorPlan(1, 1))
    monkeypatch.setattr(f"{module}.work_on", work_here)


@pytest.mark.usefixtures("in_this_process")
def test_an_archive(call: Call, matching_package: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.parquet"
    ended = call("batch", matching_package, photos, "--out", out)
    assert ended.code == 0
    assert ended.out.splitlines() == ["frames:     4: 3 recognised, 1 unknown, 0 failed", f"results:    {out}"]
    rows = pyarrow.parquet.read_table(out).to_pylist()
    assert [row["label"] for row in rows] == ["red", "blue", None, "green"]


@pytest.mark.usefixtures("in_this_process")
def test_frames_that_cannot_be_read_and_a_comparison(
    call: Call, matching_package: Path, tiny_package: Path, photos: Path, tmp_path: Path
) -> None:
    (photos / "broken.png").write_bytes(b"\x89PNG")
    out = tmp_path / "results.parquet"
    ended = call("batch", matching_package, photos, "--out", out, "--compare", tiny_package)
    assert ended.code == 4
    lines = dict(line.split(": ", 1) for line in ended.out.splitlines()[1:])
    assert lines["frames"].endswith("1 failed")
    assert Path(lines["report"].strip()).is_file()
    assert Path(lines["changes"].strip()).is_file()
    assert call("batch", matching_package, photos, "--out", out).code == 1


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--batch", "0"], 2),
        (["--precision", "fp8"], 2),
        (["--column", "image"], 1),
        (["--compare", "gone.partsight"], 1),
    ],
)
def test_wrong_options(
    arguments: list[str], code: int, call: Call, matching_package: Path, photos: Path, tmp_path: Path
) -> None:
    ended = call("batch", matching_package, photos, "--out", tmp_path / "results.parquet", *arguments)
    assert (ended.code, ended.out) == (code, "")
    assert not (tmp_path / "results.parquet").exists()
    if code == 1:
        assert ended.err.startswith("partsight: error: ")


def test_an_interrupt_says_how_to_go_on(matching_package: Path, tmp_path: Path) -> None:
    archive, out = write_folder(tmp_path / "archive", 600), tmp_path / "results.parquet"
    command = [
        sys.executable,
        "-m",
        "partsight.cli",
        "batch",
        matching_package,
        archive,
        "--out",
        out,
        "--threads",
        "1",
    ]
    work = tmp_path / "results.parquet.work"
    with running(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_until(lambda: len(list(work.glob("*.parquet"))) >= 1 or process.poll() is not None)
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=HANG_S)
    assert process.returncode == 130
    assert "run the same command again" in err
    assert "Traceback" not in err
    assert list(work.glob("*.parquet"))
    assert not out.exists()


def test_without_ray_it_names_the_command_that_installs_it(
    matching_package: Path, photos: Path, tmp_path: Path
) -> None:
    for library in ("pyarrow", "ray"):
        done = without(library, "batch", matching_package, photos, "--out", tmp_path / f"{library}.parquet")
        assert (done.returncode, done.stdout) == (1, "")
        assert "pip install 'partsight[ray]'" in done.stderr
        assert "Traceback" not in done.stderr


def test_help_loads_nothing_heavy() -> None:
    heavy = {"ray", "pyarrow", "numpy", "cv2", "onnxruntime", "partsight.runtime"}
    assert loaded_by("batch", "--help").isdisjoint(heavy)
